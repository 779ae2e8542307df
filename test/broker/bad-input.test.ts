import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { publishMethod } from "../support/methods.ts";
import { RawClient } from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";
import { badInputs, type BadInput } from "./bad-inputs.ts";

type Send = (client: RawClient, parts: readonly Uint8Array[]) => Promise<void>;

const ways: readonly { way: string; staticReads: boolean; send: Send }[] = [
  { way: "at once", staticReads: true, send: atOnce },
  { way: "byte by byte", staticReads: true, send: byteByByte },
  { way: "at once, read by data events", staticReads: false, send: atOnce },
  { way: "byte by byte, read by data events", staticReads: false, send: byteByByte },
];

describe.each(ways)("bad input, $way", ({ staticReads, send }) => {
  let broker: Broker;
  let witness: RawClient;
  beforeAll(async () => {
    broker = await startBroker({ port: 0, staticReads });
    witness = await RawClient.login(broker.port);
  });
  afterAll(async () => {
    await witness.close();
    await broker.stop();
  });

  test.each(badInputs)("$name ends the $ends with $code", async (input) => {
    const attacker = await RawClient.login(broker.port);
    onTestFinished(() => attacker.close());
    expect(await answerTo(input, attacker, send)).toBe(input.code);
    await expectServed(witness);
    await expect
      .poll(() => broker.usage())
      .toMatchObject({ connections: 1, queues: 0, messages: 0, unsentBytes: 0 });
  });
});

describeEachBroker("bad input", (broker, name) => {
  const inputs = badInputs.filter(({ rabbitmq }) => name === "warren" || rabbitmq === undefined);

  test.each(inputs)("$name ends the $ends with $code", async (input) => {
    expect(await answerTo(input, await login(broker()), atOnce)).toBe(input.code);
    await expectServed(await login(broker()));
  });
});

test.each([
  { how: "in one frame", frames: 1 },
  { how: "in two frames", frames: 2 },
])("a body larger than maxMessageBytes, $how, closes the channel with 406", async ({ frames }) => {
  const broker = await startBroker({ port: 0, maxMessageBytes: 1000 });
  onTestFinished(() => broker.stop());
  const client = await RawClient.login(broker.port);
  onTestFinished(() => client.close());
  const queue = await ownQueue(client);
  client.publish(1, "", queue, new Uint8Array(1000), { frameMax: 1000 / frames + 8 });
  client.publish(1, "", queue, new Uint8Array(1002), { frameMax: 1002 / frames + 8 });
  expect(await client.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: 406 });
  expect(broker.usage().messages).toBe(1);
});

test("announcing bodies takes no memory", async () => {
  const broker = await startBroker({ port: 0 });
  onTestFinished(() => broker.stop());
  const client = await RawClient.login(broker.port);
  onTestFinished(() => client.close());
  const channels = 2000;
  for (let channel = 2; channel <= channels; channel++) await client.openChannel(channel);
  const before = process.memoryUsage().arrayBuffers;
  for (let channel = 2; channel <= channels; channel++) {
    client.method(channel, publishMethod("", "nowhere"));
    client.header(channel, 128 << 20);
  }
  await ownQueue(client);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
});

/** The code with which the broker ends the channel or, as it should, the whole connection. */
async function answerTo(input: BadInput, attacker: RawClient, send: Send): Promise<number> {
  await send(attacker, input.bytes);
  if (input.ends === "channel") {
    const { replyCode } = await attacker.expect(MethodId.ChannelClose);
    attacker.method(1, { id: MethodId.ChannelCloseOk });
    await attacker.openChannel(1);
    await attacker.close();
    return replyCode;
  }
  const { replyCode } = await attacker.expect(MethodId.ConnectionClose);
  attacker.method(0, { id: MethodId.ConnectionCloseOk });
  expect(await attacker.next()).toEqual({ kind: "end" });
  return replyCode;
}

/** A message goes to a queue and comes back. */
async function expectServed(client: RawClient): Promise<void> {
  const queue = await ownQueue(client);
  client.publish(1, "", queue, "still here");
  const get = { id: MethodId.BasicGet, queue, noAck: true } as const;
  client.method(1, get);
  expect(Buffer.from((await client.content(MethodId.BasicGetOk)).body).toString()).toBe("still here");
  const drop = { id: MethodId.QueueDelete, queue, ifUnused: false, ifEmpty: false, noWait: false } as const;
  await client.call(1, drop, MethodId.QueueDeleteOk);
}

function atOnce(client: RawClient, parts: readonly Uint8Array[]): Promise<void> {
  client.bytes(Buffer.concat(parts));
  return Promise.resolve();
}

async function byteByByte(client: RawClient, parts: readonly Uint8Array[]): Promise<void> {
  for (const byte of Buffer.concat(parts)) {
    client.bytes(Uint8Array.of(byte));
    await new Promise(setImmediate);
  }
}

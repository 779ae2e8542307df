import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
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
    await expectAnswer(attacker, input, send);
    await expectServed(witness);
    await expect
      .poll(() => broker.usage())
      .toMatchObject({ connections: 1, queues: 0, messages: 0, unsentBytes: 0 });
  });
});

describeEachBroker("bad input", (broker, name) => {
  const inputs = badInputs.filter(({ rabbitmq }) => name === "warren" || rabbitmq === undefined);

  test.each(inputs)("$name ends the $ends with $code", async (input) => {
    await expectAnswer(await login(broker()), input, atOnce);
    await expectServed(await login(broker()));
  });
});

async function expectAnswer(attacker: RawClient, input: BadInput, send: Send): Promise<void> {
  await send(attacker, input.bytes);
  if (input.ends === "channel") {
    expect(await attacker.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: input.code });
    attacker.method(1, { id: MethodId.ChannelCloseOk });
    await attacker.openChannel(1);
    await attacker.close();
    return;
  }
  expect(await attacker.expect(MethodId.ConnectionClose)).toMatchObject({ replyCode: input.code });
  attacker.method(0, { id: MethodId.ConnectionCloseOk });
  expect(await attacker.next()).toEqual({ kind: "end" });
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

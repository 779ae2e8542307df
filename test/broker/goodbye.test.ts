/** What a client does after connection.close. */
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { silentLogger } from "../../src/base/index.ts";
import { FrameType, MethodId, type Method } from "../../src/wire/index.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { declareExchange, declareQueue } from "../support/methods.ts";
import { encodeFrame, encodeMethod, protocolHeader, RawClient, startOk } from "../support/raw-client.ts";
import { login } from "../support/raw-login.ts";

const close = {
  id: MethodId.ConnectionClose,
  replyCode: 200,
  replyText: "bye",
  classId: 0,
  methodId: 0,
} as const;

describeEachBroker("after connection.close", (broker) => {
  test("what follows is not carried out", async () => {
    const queue = broker().queueName("too-late");
    const client = await login(broker());
    client.bytes(frames([0, close], [1, { id: MethodId.ChannelOpen }], [1, declareQueue(queue)]));
    await client.expect(MethodId.ConnectionCloseOk);
    await client.close();
    expect(await queueState(broker(), queue)).toBeUndefined();
  });
});

test("what follows connection.close in the middle of a login is no internal error", async () => {
  const errors: unknown[] = [];
  const logger = { ...silentLogger, error: (fields: object) => errors.push(fields) };
  const broker = await startBroker({ port: 0, logger });
  onTestFinished(() => broker.stop());
  const client = await RawClient.open(broker.port);
  onTestFinished(() => client.close());
  client.bytes(protocolHeader);
  await client.expect(MethodId.ConnectionStart);
  client.bytes(
    frames(
      [0, startOk("guest", "guest")],
      [0, { id: MethodId.ConnectionTuneOk, channelMax: 10, frameMax: 4096, heartbeat: 0 }],
      [0, close],
      [1, { id: MethodId.ChannelOpen }],
      [1, declareExchange("too-late", "topic")],
    ),
  );
  await client.expect(MethodId.ConnectionTune);
  await client.expect(MethodId.ConnectionCloseOk);
  expect(await client.next()).toEqual({ kind: "end" });
  expect(errors).toEqual([]);
});

test("a client that closes its connection but not its socket is cut", async () => {
  const clock = new ManualClock();
  const broker = await startBroker({ port: 0, clock });
  onTestFinished(() => broker.stop(0));
  const client = await RawClient.open(broker.port, "127.0.0.1", true);
  onTestFinished(() => client.close());
  await client.handshake({ heartbeat: 0 });
  client.method(0, close);
  await client.expect(MethodId.ConnectionCloseOk);
  clock.advance(5_000);
  await expect.poll(() => broker.usage().connections).toBe(0);
});

function frames(...methods: [channel: number, method: Method][]): Uint8Array {
  return Buffer.concat(
    methods.map(([channel, method]) => encodeFrame(FrameType.Method, channel, encodeMethod(method))),
  );
}

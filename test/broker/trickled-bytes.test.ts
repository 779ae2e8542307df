import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { FrameType, MethodId, type Method } from "../../src/wire/index.ts";
import { ack, consume, declareQueue, publishMethod } from "../support/methods.ts";
import {
  encodeFrame,
  encodeHeader,
  encodeMethod,
  protocolHeader,
  RawClient,
  startOk,
} from "../support/raw-client.ts";

const body = Uint8Array.from({ length: 300 }, (_unused, index) => index & 255);
const properties = { contentType: "application/octet-stream", deliveryMode: 2 };

/** A whole conversation: login, publish, get, consume, ack, close. */
const conversation: readonly Uint8Array[] = [
  protocolHeader,
  method(0, startOk("guest", "guest")),
  method(0, { id: MethodId.ConnectionTuneOk, channelMax: 10, frameMax: 4096, heartbeat: 0 }),
  method(0, { id: MethodId.ConnectionOpen, virtualHost: "/" }),
  method(1, { id: MethodId.ChannelOpen }),
  method(1, declareQueue("trickle", { exclusive: true })),
  ...message(),
  method(1, { id: MethodId.BasicGet, queue: "trickle", noAck: false }),
  encodeFrame(FrameType.Heartbeat, 0, new Uint8Array(0)),
  method(1, ack(1)),
  method(1, consume("trickle", { consumerTag: "c" })),
  ...message(),
  method(1, ack(2)),
  method(0, { id: MethodId.ConnectionClose, replyCode: 200, replyText: "", classId: 0, methodId: 0 }),
];

test.each([
  { how: "byte by byte", staticReads: true, step: 1 },
  { how: "byte by byte, read by data events", staticReads: false, step: 1 },
  { how: "seven bytes at a time", staticReads: true, step: 7 },
  { how: "seven bytes at a time, read by data events", staticReads: false, step: 7 },
])("a conversation that comes $how is understood", async ({ staticReads, step }) => {
  const broker = await startBroker({ port: 0, staticReads });
  onTestFinished(() => broker.stop());
  const client = await RawClient.open(broker.port);
  onTestFinished(() => client.close());
  await trickle(client, Buffer.concat(conversation), step);

  await client.expect(MethodId.ConnectionStart);
  await client.expect(MethodId.ConnectionTune);
  await client.expect(MethodId.ConnectionOpenOk);
  await client.expect(MethodId.ChannelOpenOk);
  await client.expect(MethodId.QueueDeclareOk);
  const got = await client.content(MethodId.BasicGetOk);
  expect(Buffer.compare(got.body, body)).toBe(0);
  await client.expect(MethodId.BasicConsumeOk);
  const delivered = await client.content(MethodId.BasicDeliver);
  expect(Buffer.compare(delivered.header, encodeHeader(body.length, properties))).toBe(0);
  expect(Buffer.compare(delivered.body, body)).toBe(0);
  await client.expect(MethodId.ConnectionCloseOk);
  expect(await client.next()).toEqual({ kind: "end" });
  await expect.poll(() => broker.usage()).toMatchObject({ connections: 0, queues: 0, messages: 0 });
});

/** Sends a few bytes at a time, each time giving the broker a turn to read them. */
async function trickle(client: RawClient, bytes: Uint8Array, step: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += step) {
    client.bytes(bytes.subarray(at, at + step));
    await new Promise(setImmediate);
  }
}

/** A message of two body frames. */
function message(): Uint8Array[] {
  return [
    method(1, publishMethod("", "trickle")),
    encodeFrame(FrameType.Header, 1, encodeHeader(body.length, properties)),
    encodeFrame(FrameType.Body, 1, body.subarray(0, 100)),
    encodeFrame(FrameType.Body, 1, body.subarray(100)),
  ];
}

function method(channel: number, content: Method): Uint8Array {
  return encodeFrame(FrameType.Method, channel, encodeMethod(content));
}

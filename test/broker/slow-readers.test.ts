/** Clients that do not read what they asked for. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { FrameType, MethodId, type Method } from "../../src/wire/index.ts";
import { consume, declareQueue, publishMethod } from "../support/methods.ts";
import { NumberedPublisher, NumberedReader } from "../support/numbered-messages.ts";
import { encodeFrame, encodeHeader, encodeMethod, RawClient } from "../support/raw-client.ts";
import { ownQueue } from "../support/raw-login.ts";

const mebibyte = 1 << 20;
const queue = "unread";
let broker: Broker;
const clients: RawClient[] = [];

beforeEach(async () => {
  broker = await startBroker({ port: 0 });
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await broker.stop();
});

async function login(): Promise<RawClient> {
  const client = await RawClient.login(broker.port);
  clients.push(client);
  return client;
}

/** A message of another connection goes to its queue and comes back. */
async function expectOthersServed(): Promise<void> {
  const other = await login();
  const its = await ownQueue(other);
  other.publish(1, "", its, "served");
  await other.call(1, declareQueue(its, { passive: true }), MethodId.QueueDeclareOk);
  other.method(1, { id: MethodId.BasicGet, queue: its, noAck: true });
  const { body } = await other.content(MethodId.BasicGetOk);
  expect(Buffer.from(body).toString()).toBe("served");
}

test.each([
  { consumer: "without acknowledgements", noAck: true, ackEvery: 0 },
  { consumer: "without a prefetch limit", noAck: false, ackEvery: 100 },
])(
  "a consumer $consumer that does not read leaves 200 MB in its queue",
  async ({ noAck, ackEvery }) => {
    const [count, bodyBytes] = [20_000, 10_000];
    const consumer = await login();
    await consumer.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
    await consumer.call(1, consume(queue, { noAck }), MethodId.BasicConsumeOk);
    consumer.socket.pause();
    const publishing = await login();
    let mostUnsent = 0;
    const publisher = new NumberedPublisher(publishing, queue, { bodyBytes });
    for (let step = 1; step <= 20; step++) {
      await publisher.publishUpTo((count / 20) * step);
      await publishing.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);
      mostUnsent = Math.max(mostUnsent, broker.usage().unsentBytes);
    }
    expect(mostUnsent).toBeGreaterThan(0);
    expect(mostUnsent).toBeLessThan(4 * mebibyte);
    // The system holds some for the consumer, up to a few MB; without acknowledgements the broker forgets those.
    expect(broker.usage().messages).toBeGreaterThan(noAck ? count * 0.9 : count - 1);
    await expectOthersServed();

    const reader = new NumberedReader(consumer, { ackEvery });
    consumer.socket.resume();
    await reader.until(count);
    expect(reader.outOfOrder).toBeUndefined();
    await expect.poll(() => broker.usage()).toMatchObject({ messages: 0, unsentBytes: 0 });
  },
  60_000,
);

test("a client that publishes unroutable messages and never reads is not read from any more", async () => {
  const client = await login();
  client.socket.pause();
  const publisher = new NumberedPublisher(client, "no such queue", { bodyBytes: 10_000, mandatory: true });
  // It never ends: the broker stops reading.
  publisher.publishUpTo(1_000_000).catch(() => {});
  await expectStandstill(() => publisher.published);
  expect(broker.usage().unsentBytes).toBeLessThan(20 * mebibyte);
  await expectOthersServed();
  expect(publisher.published).toBeLessThan(10_000);
}, 30_000);

test("a client whose unroutable messages each arrive whole is held as well", async () => {
  const client = await login();
  client.socket.pause();
  const body = new Uint8Array(30_000);
  const publish = Buffer.concat([
    method(publishMethod("", "no such queue", true)),
    encodeFrame(FrameType.Header, 1, encodeHeader(body.length)),
    encodeFrame(FrameType.Body, 1, body),
  ]);
  for (let count = 0; count < 1500; count++) {
    client.bytes(publish);
    // In between, so that each is a read of its own.
    if (!client.socket.writableNeedDrain) await expectOthersServed();
  }
  expect(broker.usage().unsentBytes).toBeGreaterThan(mebibyte);
  expect(broker.usage().unsentBytes).toBeLessThan(20 * mebibyte);
}, 30_000);

test("a client that gets the same message again and again, and never reads, does not fill the memory", async () => {
  const client = await login();
  await client.call(1, declareQueue(queue, { exclusive: true }), MethodId.QueueDeclareOk);
  client.publish(1, "", queue, new Uint8Array(900_000));
  client.socket.pause();
  const times = 500;
  const requests: Uint8Array[] = [];
  for (let tag = 1; tag <= times; tag++) {
    requests.push(method({ id: MethodId.BasicGet, queue, noAck: false }));
    requests.push(
      method({ id: MethodId.BasicNack, deliveryTag: BigInt(tag), multiple: false, requeue: true }),
    );
  }
  client.bytes(Buffer.concat(requests));
  await expect.poll(() => broker.usage().unsentBytes).toBeGreaterThan(mebibyte);
  await expectOthersServed();
  expect(broker.usage().unsentBytes).toBeLessThan(20 * mebibyte);

  client.socket.resume();
  for (let count = 0; count < times; count++) await client.content(MethodId.BasicGetOk);
  await expect.poll(() => broker.usage().unsentBytes).toBe(0);
}, 30_000);

/** The number stays what it is over many turns in which others are served. */
async function expectStandstill(read: () => number): Promise<void> {
  await expect
    .poll(
      async () => {
        const before = read();
        await expectOthersServed();
        await expectOthersServed();
        return read() - before;
      },
      { timeout: 10_000 },
    )
    .toBe(0);
}

function method(content: Method): Uint8Array {
  return encodeFrame(FrameType.Method, 1, encodeMethod(content));
}

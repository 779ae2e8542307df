import { expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { FaultyDisk } from "../support/faulty-disk.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { ack, consume, declareQueue } from "../support/methods.ts";
import { NumberedPublisher, NumberedReader } from "../support/numbered-messages.ts";
import { Random } from "../support/random.ts";
import { RawClient, type LoginOptions } from "../support/raw-client.ts";

const mebibyte = 1 << 20;
const queue = "alarming";
const blockable: LoginOptions = { capabilities: ["connection.blocked"] };

async function started(options: BrokerOptions): Promise<Broker> {
  const broker = await startBroker({ port: 0, ...options });
  onTestFinished(() => broker.stop(100));
  return broker;
}

async function login(broker: { port: number }, options: LoginOptions = {}): Promise<RawClient> {
  const client = await RawClient.login(broker.port, options);
  onTestFinished(() => client.close());
  return client;
}

/** Gets all that is in the queue, which is not empty. */
async function empty(client: RawClient): Promise<number> {
  for (let count = 1; ; count++) {
    client.method(1, { id: MethodId.BasicGet, queue, noAck: true });
    const { method } = await client.content(MethodId.BasicGetOk);
    if (method.messageCount === 0) return count;
  }
}

test("memory runs short: publishers wait and are told, consumers go on, and then so do the publishers", async () => {
  const clock = new ManualClock();
  const broker = await started({ clock, memoryLimitBytes: 8 * mebibyte });
  const [publishing, quiet, consuming] = [
    await login(broker, blockable),
    await login(broker, blockable),
    await login(broker),
  ];
  await publishing.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
  for (let number = 0; number < 10; number++) publishing.publish(1, "", queue, new Uint8Array(mebibyte));
  await publishing.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);
  clock.advance(500);
  expect(broker.usage().alarms).toEqual(["memory"]);

  publishing.publish(1, "", queue, "one too many");
  expect(await publishing.expect(MethodId.ConnectionBlocked)).toMatchObject({ reason: "low on memory" });
  publishing.method(1, declareQueue(queue, { passive: true }));
  // Who does not publish is not concerned.
  await quiet.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);

  expect(await empty(consuming)).toBe(10);
  expect(publishing.inbox).toEqual([]);
  clock.advance(500);
  expect(broker.usage().alarms).toEqual([]);
  await publishing.expect(MethodId.ConnectionUnblocked);
  expect(await publishing.expect(MethodId.QueueDeclareOk)).toMatchObject({ messageCount: 1 });
  expect(quiet.inbox).toEqual([]);
});

test("a client that cannot be told waits all the same, and one that is stopped can be shut down", async () => {
  const clock = new ManualClock();
  const broker = await started({ clock, memoryLimitBytes: mebibyte });
  const client = await login(broker);
  await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
  client.publish(1, "", queue, new Uint8Array(2 * mebibyte));
  await client.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);
  clock.advance(500);
  client.publish(1, "", queue, "waits");
  client.method(1, declareQueue(queue, { passive: true }));
  await expect.poll(() => client.inbox.length, { timeout: 200 }).toBe(0);
  const stopped = broker.stop();
  await client.expect(MethodId.ConnectionClose);
  client.method(0, { id: MethodId.ConnectionCloseOk });
  await stopped;
});

test("the disk runs short: the same, with its own words", async () => {
  const clock = new ManualClock();
  const disk = new FaultyDisk(new Random(1), { capacityBytes: 500 * mebibyte });
  const broker = await started({ clock, disk, diskFreeLimitBytes: 300 * mebibyte });
  const client = await login(broker, blockable);
  await client.call(1, declareQueue(queue, { durable: true }), MethodId.QueueDeclareOk);
  clock.advance(500);
  expect(broker.usage().alarms).toEqual([]);
  disk.capacityBytes = 300 * mebibyte;
  clock.advance(500);
  await expect.poll(() => broker.usage().alarms).toEqual(["disk"]);
  client.publish(1, "", queue, "waits", { properties: { deliveryMode: 2 } });
  expect(await client.expect(MethodId.ConnectionBlocked)).toMatchObject({ reason: "low on disk" });
  disk.capacityBytes = 500 * mebibyte;
  clock.advance(500);
  await client.expect(MethodId.ConnectionUnblocked);
});

test("a full disk: publishers wait, consumers drain, publishing goes on, and nothing is lost", async () => {
  const total = 20_000;
  const disk = new FaultyDisk(new Random(2), { capacityBytes: 120 * mebibyte });
  const broker = await started({ disk, diskFreeLimitBytes: 0 });
  const [publishing, consuming] = [await login(broker), await login(broker)];
  await publishing.call(1, declareQueue(queue, { durable: true }), MethodId.QueueDeclareOk);
  await publishing.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  const publisher = new NumberedPublisher(publishing, queue, {
    bodyBytes: 10_000,
    persistent: true,
    confirmWindow: 1000,
  });
  const published = publisher.publishUpTo(total);
  await expect.poll(() => broker.usage().alarms, { timeout: 20_000 }).toEqual(["disk"]);
  const confirmedWhenFull = publisher.confirmed;
  expect(confirmedWhenFull).toBeLessThan(12_000);

  const reader = new NumberedReader(consuming, { ackEvery: 10 });
  consuming.method(1, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 50, global: false });
  consuming.method(1, consume(queue));
  await reader.until(total);
  await published;
  expect(reader.outOfOrder).toBeUndefined();
  expect(publisher.confirmed).toBe(total);
  await expect.poll(() => broker.usage().messages).toBe(0);
  await expect.poll(() => broker.usage().alarms).toEqual([]);
}, 60_000);

test("a disk that is small: the alarm ends when the queues are empty", async () => {
  const total = 9_000;
  const disk = new FaultyDisk(new Random(4), { capacityBytes: 190 * mebibyte });
  const broker = await started({ disk });
  const [publishing, consuming] = [await login(broker), await login(broker)];
  await publishing.call(1, declareQueue(queue, { durable: true }), MethodId.QueueDeclareOk);
  await publishing.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  const publisher = new NumberedPublisher(publishing, queue, {
    bodyBytes: 20_000,
    persistent: true,
    confirmWindow: 500,
  });
  const published = publisher.publishUpTo(total);
  await expect.poll(() => broker.usage().alarms, { timeout: 20_000 }).toEqual(["disk"]);
  const reader = new NumberedReader(consuming, { ackEvery: 10 });
  consuming.method(1, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 50, global: false });
  consuming.method(1, consume(queue));
  await reader.until(total);
  await published;
  await expect.poll(() => broker.usage().alarms, { timeout: 10_000 }).toEqual([]);
}, 60_000);

test("a disk that fails ends the broker with a message, and confirms nothing more", async () => {
  const disk = new FaultyDisk(new Random(3));
  const failures: string[] = [];
  const broker = await startBroker({
    port: 0,
    disk,
    onStorageFailure: (error) => failures.push(error.message),
  });
  const client = await login(broker);
  await client.call(1, declareQueue(queue, { durable: true }), MethodId.QueueDeclareOk);
  await client.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  client.publish(1, "", queue, "confirmed", { properties: { deliveryMode: 2 } });
  await client.expect(MethodId.BasicAck);
  disk.fail({ operation: "sync", file: /segment-00001/, code: "EIO" });
  client.publish(1, "", queue, "not confirmed", { properties: { deliveryMode: 2 } });
  expect(await client.next()).toEqual({ kind: "end" });
  expect(failures).toEqual([
    expect.stringMatching(/Cannot write to the data directory[\s\S]*Nothing has been confirmed since/),
  ]);
});

test("one connection publishes and acknowledges under a memory alarm that it has caused", async () => {
  const broker = await startBrokerProcess({ memoryLimitBytes: 2 * mebibyte });
  const client = await login(broker);
  await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
  await client.call(1, consume(queue), MethodId.BasicConsumeOk);
  const publisher = new NumberedPublisher(client, queue, { bodyBytes: 200 });
  const seen = { alarms: 0 };
  let reads = 0;
  const reader = new NumberedReader(client, {
    ackEvery: 500,
    onRead: () => {
      if (++reads % 50 === 0) void broker.usage().then(({ alarms }) => (seen.alarms += alarms.length));
    },
  });
  let total = 0;
  while (seen.alarms === 0 && total < 10_000_000) {
    total += 100_000;
    await publisher.publishUpTo(total);
  }
  expect(seen.alarms).toBeGreaterThan(0);
  total += 50_000;
  await publisher.publishUpTo(total);
  await reader.until(total);
  expect(reader.outOfOrder).toBeUndefined();
  await expect.poll(async () => (await broker.usage()).messages).toBe(0);
}, 60_000);

test("messages that the alarm has stopped are not lost when their consumer acknowledges late", async () => {
  const clock = new ManualClock();
  const broker = await started({ clock, memoryLimitBytes: mebibyte });
  const client = await login(broker, blockable);
  await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
  await client.call(1, consume(queue), MethodId.BasicConsumeOk);
  client.publish(1, "", queue, new Uint8Array(2 * mebibyte));
  await client.content(MethodId.BasicDeliver);
  clock.advance(500);
  // Stopped by the alarm, with the acknowledgement behind the publish.
  client.publish(1, "", queue, "second");
  client.method(1, ack(1));
  await client.expect(MethodId.ConnectionBlocked);
  clock.advance(25);
  expect(await client.content(MethodId.BasicDeliver)).toBeDefined();
  await expect.poll(() => broker.usage().messages).toBe(1);
  // It went on slowly, and does not publish any more: it must be told all the same.
  clock.advance(500);
  await client.expect(MethodId.ConnectionUnblocked);
});

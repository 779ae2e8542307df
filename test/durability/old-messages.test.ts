/** Messages that nobody acknowledges stay; they must keep neither the disk nor the memory of all that came after them. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkDataDirectory } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess, type BrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ack, consume, declareQueue } from "../support/methods.ts";
import { Random } from "../support/random.ts";
import { RawClient } from "../support/raw-client.ts";
import { Traffic } from "../support/traffic.ts";

const mebibyte = 1 << 20;
const gibibyte = 1 << 30;
/** WARREN_KILL_SEED=n repeats a run as far as time allows; WARREN_SOAK_GB=20 sends more. */
const seed = Number(process.env["WARREN_KILL_SEED"] ?? Date.now() % 1_000_000);
const soakGigabytes = Number(process.env["WARREN_SOAK_GB"] ?? 2);
const persistent = { properties: { deliveryMode: 2 } };

/** The most memory and disk that a broker was seen to take. */
class Peaks {
  residentBytes = 0;
  diskBytes = 0;

  look(broker: BrokerProcess, dataDir?: string): void {
    this.residentBytes = Math.max(this.residentBytes, broker.residentBytes());
    if (dataDir) this.diskBytes = Math.max(this.diskBytes, sizeOf(dataDir));
  }

  describe(): string {
    return `RSS at most ${inMebibytes(this.residentBytes)}, disk at most ${inMebibytes(this.diskBytes)}`;
  }
}

test(
  "one unacknowledged message does not pin the log, and is there exactly once after each kill -9",
  async () => {
    const random = new Random(seed);
    const total = soakGigabytes * gibibyte;
    const dataDir = dataDirectory();
    const peaks = new Peaks();
    const traffic = new Traffic({ persistent: true });
    const beganMs = performance.now();
    let broker = await startBrokerProcess({ dataDir });
    let holder = await RawClient.login(broker.port);
    await holder.call(1, declareQueue("old", { durable: true }), MethodId.QueueDeclareOk);
    holder.publish(1, "", "old", "the old message", persistent);
    await hold(holder, false);
    await traffic.connect(broker.port);

    let kills = 0;
    let killAt = 0;
    while (traffic.publishedBytes < total) {
      killAt = Math.min(total, killAt + 32 * mebibyte + random.below(512 * mebibyte));
      while (traffic.publishedBytes < killAt) {
        await traffic.publishUpTo(Math.min(killAt, traffic.publishedBytes + 4 * mebibyte));
        peaks.look(broker, dataDir);
      }
      await broker.kill();
      kills++;
      await traffic.disconnect();
      expect(broker.errors).toEqual([]);
      broker = await startBrokerProcess({ dataDir });
      holder = await RawClient.login(broker.port);
      await hold(holder, true);
      await traffic.connect(broker.port);
    }
    await traffic.finish();
    peaks.look(broker, dataDir);
    await expect.poll(async () => (await broker.usage()).messages).toBe(1);
    const seconds = (performance.now() - beganMs) / 1000;
    console.log(
      `seed ${seed}: ${soakGigabytes} GiB in ${Math.round(seconds)} s, ${kills} kills, ` +
        `${traffic.cameAgain} of ${traffic.published} came again although acknowledged; ${peaks.describe()}`,
    );
    expect(traffic.wrong).toBeUndefined();
    expect(peaks.diskBytes).toBeLessThan(gibibyte);
    expect(peaks.residentBytes).toBeLessThan(250 * mebibyte);

    holder.method(1, ack(1));
    await expect.poll(async () => (await broker.usage()).messages).toBe(0);
    await traffic.disconnect();
    await broker.stop();
    // Free segments stay for a while; the log itself is down to those that it ends in.
    const { messages, segments } = await checkDataDirectory(dataDir);
    const segmentsInLog = segments.filter(({ isInLog }) => isInLog);
    expect(messages).toBe(0);
    expect(segmentsInLog.length).toBeLessThanOrEqual(2);
    expect(sizeOf(dataDir)).toBeLessThan(200 * mebibyte);
    console.log(
      `acknowledged: ${segmentsInLog.length} segment(s) in the log, disk ${inMebibytes(sizeOf(dataDir))}`,
    );
    broker = await startBrokerProcess({ dataDir });
    expect(await countOf(await RawClient.login(broker.port), "old")).toBe(0);
    expect((await broker.usage()).messages).toBe(0);
    expect(broker.errors).toEqual([]);
  },
  60_000 + soakGigabytes * 30_000,
);

/** Gets the old message, which must be the only one in its queue, and does not acknowledge it. */
async function hold(holder: RawClient, redelivered: boolean): Promise<void> {
  expect(await countOf(holder, "old")).toBe(1);
  await holder.call(1, consume("old"), MethodId.BasicConsumeOk);
  const { method, body } = await holder.content(MethodId.BasicDeliver);
  expect([Buffer.from(body).toString(), method.redelivered]).toEqual(["the old message", redelivered]);
  expect(await countOf(holder, "old")).toBe(0);
}

const oldQueues = Array.from({ length: 1000 }, (_, number) => `old-${number}`);
/** Each stands in another place of the log, or of memory, with so much traffic between them. */
const apartBytes = mebibyte;

test("a thousand queues, each with one old unacknowledged message amid traffic: RSS ≤ 200 MiB", async () => {
  const random = new Random(seed);
  const dataDir = dataDirectory();
  const traffic = new Traffic({ persistent: true });
  const peaks = new Peaks();
  let broker = await startBrokerProcess({ dataDir });
  let holder = await holdOneInEach(broker, traffic, true, () => peaks.look(broker, dataDir));
  console.log(`seed ${seed}: ${peaks.describe()}`);
  expect(peaks.residentBytes).toBeLessThan(200 * mebibyte);
  expect(peaks.diskBytes).toBeLessThan(500 * mebibyte);

  for (let kills = 0; kills < 5; kills++) {
    await traffic.publishUpTo(traffic.publishedBytes + (16 + random.below(64)) * mebibyte);
    peaks.look(broker, dataDir);
    await broker.kill();
    await traffic.disconnect();
    expect(broker.errors).toEqual([]);
    broker = await startBrokerProcess({ dataDir });
    holder = await RawClient.login(broker.port);
    await takeOneFromEach(holder);
    await traffic.connect(broker.port);
  }
  await traffic.finish();
  expect(traffic.wrong).toBeUndefined();
  holder.method(1, ack(0, true));
  await expect.poll(async () => (await broker.usage()).messages).toBe(0);
  console.log(`after 5 kills: ${peaks.describe()}`);
  expect(peaks.residentBytes).toBeLessThan(200 * mebibyte);
  expect(peaks.diskBytes).toBeLessThan(500 * mebibyte);
}, 120_000);

test("the same with transient messages in a broker without a data directory: RSS ≤ 200 MiB", async () => {
  const broker = await startBrokerProcess();
  const traffic = new Traffic({ persistent: false });
  const peaks = new Peaks();
  const holder = await holdOneInEach(broker, traffic, false, () => peaks.look(broker));
  console.log(`in memory: ${peaks.describe()}`);
  expect(peaks.residentBytes).toBeLessThan(200 * mebibyte);
  expect(traffic.wrong).toBeUndefined();
  // Their bytes may have been moved by now: back to the queues with them, to see them again.
  await holder.call(1, { id: MethodId.BasicRecover, requeue: true }, MethodId.BasicRecoverOk);
  await expectOneOfEach(holder, true);
  holder.method(1, ack(0, true));
  await expect.poll(async () => (await broker.usage()).messages).toBe(0);
}, 120_000);

/** Publishes one message to each of the queues, with traffic between them, and holds them unacknowledged. */
async function holdOneInEach(
  broker: BrokerProcess,
  traffic: Traffic,
  durable: boolean,
  look: () => void,
): Promise<RawClient> {
  const holder = await RawClient.login(broker.port);
  for (const queue of oldQueues) holder.method(1, declareQueue(queue, { durable }));
  for (const _ of oldQueues) await holder.expect(MethodId.QueueDeclareOk);
  for (const queue of oldQueues) holder.method(1, consume(queue));
  for (const _ of oldQueues) await holder.expect(MethodId.BasicConsumeOk);
  await traffic.connect(broker.port);
  const publisher = await RawClient.login(broker.port);
  await publisher.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  for (const queue of oldQueues) {
    publisher.publish(1, "", queue, bodyFor(queue), durable ? persistent : {});
    await publisher.expect(MethodId.BasicAck);
    await traffic.publishUpTo(traffic.publishedBytes + apartBytes);
    look();
  }
  await expectOneOfEach(holder, false);
  await traffic.finish();
  look();
  await publisher.close();
  await expect.poll(async () => (await broker.usage()).messages).toBe(oldQueues.length);
  return holder;
}

async function expectOneOfEach(holder: RawClient, redelivered: boolean): Promise<void> {
  const received: string[] = [];
  for (const _ of oldQueues) {
    const { method, body } = await holder.content(MethodId.BasicDeliver);
    expect(method.redelivered).toBe(redelivered);
    received.push(Buffer.from(body).toString());
  }
  expect(received.toSorted()).toEqual(oldQueues.map(bodyFor).toSorted());
  // One more would have come before the answer.
  await countOf(holder, oldQueues[0]);
}

/** After a kill: each queue has its message, once. */
async function takeOneFromEach(holder: RawClient): Promise<void> {
  for (const queue of oldQueues) holder.method(1, { id: MethodId.BasicGet, queue, noAck: false });
  for (const queue of oldQueues) {
    const { method, body } = await holder.content(MethodId.BasicGetOk);
    expect([Buffer.from(body).toString(), method.redelivered]).toEqual([bodyFor(queue), true]);
    expect(method.messageCount).toBe(0);
  }
}

function bodyFor(queue: string): string {
  return `the message of ${queue} ${queue.repeat(queue.length)}`;
}

async function countOf(client: RawClient, queue: string): Promise<number> {
  const declare = declareQueue(queue, { durable: true, passive: true });
  return (await client.call(1, declare, MethodId.QueueDeclareOk)).messageCount;
}

function sizeOf(directory: string): number {
  return readdirSync(directory).reduce(
    (sum, name) => sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

function inMebibytes(bytes: number): string {
  return `${Math.round(bytes / mebibyte)} MiB`;
}

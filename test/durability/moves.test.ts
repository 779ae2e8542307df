/** What queues know of their messages, and messages that the broker moves itself, over kill -9, stops and repairs. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { connect, type ChannelModel, type ConfirmChannel } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { repairDataDirectory, startBroker } from "../../src/broker/index.ts";
import { Session } from "../differential/session.ts";
import { startBrokerProcess, type BrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { Random } from "../support/random.ts";

const rounds = Number(process.env["WARREN_KILL_ROUNDS"] ?? 12);
const attempts = 3;

test(`tasks that are retried by dead-lettering and delays are neither lost nor doubled by ${rounds} times kill -9`, async () => {
  const dataDir = dataDirectory();
  const random = new Random(Number(process.env["WARREN_KILL_SEED"] ?? 1));
  const confirmed = new Set<string>();
  const done = new Set<string>();
  let published = 0;
  for (let round = 0; round < rounds; round++) {
    const broker = await startBrokerProcess({ dataDir });
    const { connection, channel } = await open(broker);
    await declare(channel);
    await channel.prefetch(20);
    await channel.consume("work", (message) => {
      if (!message) return;
      const deaths = message.properties.headers?.["x-death"] as { count: number }[] | undefined;
      const tries = deaths?.[0]?.count ?? 0;
      if (tries < attempts) return channel.nack(message, false, false);
      channel.ack(message);
      done.add(message.properties.messageId as string);
    });
    const before = confirmed.size;
    const doneBefore = done.size;
    const enough = 60 + random.below(100);
    for (let count = 0; count < enough; count++) {
      const messageId = String(published++);
      const isDelayed = random.chance(0.2);
      channel.publish(
        isDelayed ? "later" : "",
        "work",
        Buffer.alloc(random.below(2000), "x"),
        {
          persistent: true,
          messageId,
          priority: random.below(5),
          headers: isDelayed ? { "x-delay": 1 + random.below(60) } : {},
        },
        (error) => void (error ? undefined : confirmed.add(messageId)),
      );
      if (count % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => confirmed.size - before, { timeout: 10_000 }).toBeGreaterThan(enough / 2);
    await expect.poll(() => done.size - doneBefore, { timeout: 10_000 }).toBeGreaterThan(random.below(40));
    expect(broker.errors).toEqual([]);
    await broker.kill();
    await connection.close().catch(() => {});
  }

  const broker = await startBrokerProcess({ dataDir });
  const { channel } = await open(broker);
  const found: string[] = [];
  // What waits for its time comes to `work` soon; nothing is acknowledged, so that each comes once.
  await channel.consume("work", (message) => found.push(message!.properties.messageId as string));
  const expectedAtLeast = [...confirmed].filter((id) => !done.has(id));
  await expect
    .poll(
      async () => [(await channel.checkQueue("wait")).messageCount, (await broker.usage()).delayedMessages],
      {
        timeout: 10_000,
      },
    )
    .toEqual([0, 0]);
  await expect.poll(async () => found.length === (await broker.usage()).messages).toBe(true);
  expect(new Set(found).size, "a message is there twice").toBe(found.length);
  const there = new Set(found);
  expect(expectedAtLeast.filter((id) => !there.has(id))).toEqual([]);
  console.log(
    `${confirmed.size} confirmed, ${done.size} done, ${found.length} left, of which ${found.filter((id) => done.has(id)).length} had been acknowledged in the last moments before a kill`,
  );
}, 180_000);

for (const end of ["stop", "kill", "repair"] as const) {
  test(`times, priorities, delays and counts of deliveries outlive a ${end}`, async () => {
    const dataDir = dataDirectory();
    const startMs = 1_700_000_000_000;
    const clock = new ManualClock(startMs);
    const before = await startBroker({ port: 0, clock, heartbeatSeconds: 0, dataDir });
    const session = await Session.open(before.port, "");
    await declareAll(session);
    for (const [body, priority] of [
      ["low", 1],
      ["high", 9],
      ["middle", 5],
    ] as const)
      await session.publish("", "ranked", body, { priority, deliveryMode: 2 });
    await session.publish("", "mortal", "expires at 10 s", { deliveryMode: 2 });
    await session.publish("", "counted", "came back twice", { deliveryMode: 2 });
    for (let times = 0; times < 2; times++) session.nack((await session.get("counted"))!, true);
    const headers = new Map([["x-delay", { type: "signedint", value: 20_000 } as const]]);
    await session.publish("later", "", "due at 20 s", { deliveryMode: 2, headers });
    clock.advance(100);
    await session.publish("", "counted", "whose confirm covers what was before", { deliveryMode: 2 });
    await before.stop(0);
    if (end !== "stop") rmSync(join(dataDir, "checkpoint"));
    if (end === "repair")
      expect(await repairDataDirectory(dataDir)).toMatchObject({ messages: 7, incomplete: 0 });

    const later = new ManualClock(startMs + 9_000);
    const after = await startBroker({ port: 0, clock: later, heartbeatSeconds: 0, dataDir });
    onTestFinished(() => after.stop(100));
    const again = await Session.open(after.port, "");
    expect(await bodies(again, "ranked")).toEqual(["high", "middle", "low"]);
    expect(await bodies(again, "dead")).toEqual([]);
    later.advance(1_000);
    await again.until("dead", 1);
    expect(await bodies(again, "dead")).toEqual(["expires at 10 s"]);
    const counted = await again.get("counted");
    expect(counted?.shown).toMatchObject({ headers: [["x-delivery-count", "long", 2]] });
    again.nack(counted!, true);
    await again.until("dead", 1);
    expect(await bodies(again, "dead")).toEqual(["came back twice"]);
    later.advance(9_999);
    expect(await bodies(again, "dead")).toEqual([]);
    later.advance(1);
    await again.until("dead", 1);
    expect(await bodies(again, "dead")).toEqual(["due at 20 s"]);
  });
}

async function open(broker: BrokerProcess): Promise<{ connection: ChannelModel; channel: ConfirmChannel }> {
  const connection = await connect(`amqp://guest:guest@127.0.0.1:${broker.port}`);
  connection.on("error", () => {});
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  return { connection, channel };
}

async function declare(channel: ConfirmChannel): Promise<void> {
  await channel.assertExchange("retry", "fanout", { durable: true });
  await channel.assertExchange("later", "x-delayed-message", {
    durable: true,
    arguments: { "x-delayed-type": "direct" },
  });
  await channel.assertQueue("work", { durable: true, deadLetterExchange: "retry", maxPriority: 5 });
  await channel.assertQueue("wait", {
    durable: true,
    deadLetterExchange: "",
    deadLetterRoutingKey: "work",
    messageTtl: 20,
  });
  await channel.bindQueue("wait", "retry", "");
  await channel.bindQueue("work", "later", "work");
}

async function declareAll(session: Session): Promise<void> {
  const durable = { durable: true };
  const toDead = { "x-dead-letter-exchange": "to-dead" };
  await session.declareExchange("to-dead", "fanout", {}, durable);
  await session.declareExchange("later", "x-delayed-message", { "x-delayed-type": "fanout" }, durable);
  await session.declare("dead", {}, durable);
  await session.bind("dead", "to-dead", "");
  await session.bind("dead", "later", "");
  await session.declare("ranked", { "x-max-priority": 10 }, durable);
  await session.declare("mortal", { "x-message-ttl": 10_000, ...toDead }, durable);
  await session.declare("counted", { "x-queue-type": "quorum", "x-delivery-limit": 2, ...toDead }, durable);
}

async function bodies(session: Session, queue: string): Promise<string[]> {
  session.transcript.length = 0;
  await session.drain(queue);
  const [[, messages]] = session.transcript as [string, { body: string }[]][];
  return messages.map(({ body }) => body);
}

test("a message that expires in eleven thousand queues is there after a crash", async () => {
  const dataDir = dataDirectory();
  const count = 11_000;
  const broker = await startBrokerProcess({ dataDir });
  const { channel } = await open(broker);
  await channel.assertExchange("all", "fanout", { durable: true });
  const declarations: Promise<unknown>[] = [];
  for (let number = 0; number < count; number++)
    declarations.push(
      channel.assertQueue(`q${number}`, { durable: true }),
      channel.bindQueue(`q${number}`, "all", ""),
    );
  await Promise.all(declarations);
  channel.publish("all", "", Buffer.from("to all"), { persistent: true, expiration: "3600000" });
  await channel.waitForConfirms();
  await broker.kill();

  const again = await startBrokerProcess({ dataDir });
  const { channel: later } = await open(again);
  expect(await again.usage()).toMatchObject({ queues: count });
  for (const number of [0, 5_000, 9_999, 10_000, count - 1]) {
    const message = await later.get(`q${number}`, { noAck: true });
    expect(message && message.content.toString()).toBe("to all");
  }
}, 120_000);

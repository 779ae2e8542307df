import { connect, type GetMessage } from "amqplib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { startManagement, type Management } from "../../src/management/index.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

let broker: Broker;
let management: Management;
const clock = new ManualClock();

beforeEach(async () => {
  broker = await startBroker({ port: 0 });
  management = await startManagement({ port: 0, host: "127.0.0.1", broker, logger: silentLogger, clock });
});
afterEach(async () => {
  await management.stop();
  await broker.stop();
});

type Json = { readonly [name: string]: Json } & number;

async function get(path: string): Promise<Json> {
  const authorization = `Basic ${Buffer.from("guest:guest").toString("base64")}`;
  const response = await fetch(`${management.url}${path}`, { headers: { authorization } });
  return (await response.json()) as Json;
}

async function publish(count: number): Promise<void> {
  const client = broker.as("guest", "/");
  for (let number = 0; number < count; number++) await client.publish("", "q", {}, Buffer.from("x"));
}

test("rates are those of the last five to ten seconds, and end when nothing comes any more", async () => {
  await broker
    .as("guest", "/")
    .declareQueue("q", { durable: false, autoDelete: false, arguments: new Map() });
  const rateOf = async (path: string, ...names: string[]): Promise<number> => {
    const rate = [...names.slice(0, -1), `${names.at(-1)}_details`, "rate"];
    return rate.reduce((value, name) => value[name], await get(path));
  };
  clock.advance(5_000);
  await publish(20);
  clock.advance(2_000);
  // Twenty in the seven seconds since the sample before the last.
  expect(await rateOf("/api/queues/%2F/q", "message_stats", "publish")).toBeCloseTo(20 / 7);
  clock.advance(3_000);
  await publish(10);
  for (const path of ["/api/queues/%2F/q", "/api/vhosts/%2F", "/api/overview"])
    expect([path, await rateOf(path, "message_stats", "publish")]).toEqual([path, 30 / 5]);
  expect(await rateOf("/api/exchanges/%2F/amq.default", "message_stats", "publish_in")).toBe(6);
  expect(await rateOf("/api/queues/%2F/q", "messages")).toBe(6);
  expect(await rateOf("/api/overview", "queue_totals", "messages_ready")).toBe(6);
  clock.advance(15_000);
  expect(await rateOf("/api/queues/%2F/q", "message_stats", "publish")).toBe(0);
  expect(await rateOf("/api/overview", "message_stats", "publish")).toBe(0);
});

test("what is gone goes on counting in its virtual host", async () => {
  const connection = await connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("q", { durable: false });
  channel.sendToQueue("q", Buffer.from("x"));
  channel.publish("", "nowhere", Buffer.from("x"));
  channel.publish("", "nowhere", Buffer.from("x"), { mandatory: true });
  await channel.waitForConfirms();
  const message = await channel.get("q");
  if (message) channel.nack(message);
  const again = await channel.get("q");
  if (again) channel.ack(again);
  await channel.get("q", { noAck: true });
  await channel.deleteQueue("q");
  await connection.close();
  const { message_stats: stats, queue_totals: depth } = await get("/api/overview");
  expect(stats).toMatchObject({
    publish: 3,
    confirm: 3,
    drop_unroutable: 1,
    return_unroutable: 1,
    get: 2,
    get_empty: 1,
    redeliver: 1,
    ack: 1,
    deliver_get: 2,
  });
  expect(depth).toEqual({});
  const { churn_rates: churn } = await get("/api/overview");
  expect(churn).toMatchObject({
    connection_created: 1,
    connection_closed: 1,
    channel_created: 1,
    channel_closed: 1,
    queue_created: 1,
    queue_deleted: 1,
  });
});

test("unacknowledged messages are counted until they are settled in whatever way", async () => {
  const connection = await connect(broker.url);
  const channel = await connection.createChannel();
  await channel.assertQueue("q", { durable: false });
  await publish(6);
  const unacked = async (): Promise<[ready: number, unacknowledged: number]> => {
    const queue = await get("/api/queues/%2F/q");
    return [queue.messages_ready, queue.messages_unacknowledged];
  };
  const taken = [];
  for (let count = 0; count < 4; count++) taken.push(await channel.get("q"));
  const [acked, rejected, returned] = taken.map((message) => message as GetMessage);
  expect(await unacked()).toEqual([2, 4]);
  channel.ack(acked);
  channel.nack(rejected, false, false);
  channel.nack(returned);
  await channel.checkQueue("q");
  expect(await unacked()).toEqual([3, 1]);
  const other = await connection.createChannel();
  await other.consume("q", () => {});
  await channel.close();
  await other.checkQueue("q");
  expect(await unacked()).toEqual([0, 4]);
  await connection.close();
  await expect.poll(unacked).toEqual([4, 0]);
});

import { connect } from "amqplib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { startManagement, type Management } from "../../src/management/index.ts";

let broker: Broker;
let management: Management;

beforeAll(async () => {
  broker = await startBroker({ port: 0 });
  management = await startManagement({ port: 0, host: "127.0.0.1", broker, logger: silentLogger });
});
afterAll(async () => {
  await management.stop();
  await broker.stop();
});

/** Values by name and labels. @throws Error for a line that is not Prometheus's text format. */
async function scrape(path: string, user?: string): Promise<Map<string, number>> {
  const headers: Record<string, string> =
    user === undefined ? {} : { authorization: `Basic ${Buffer.from(user).toString("base64")}` };
  const response = await fetch(`${management.url}${path}`, { headers });
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  const values = new Map<string, number>();
  const types = new Set<string>();
  for (const line of (await response.text()).trimEnd().split("\n")) {
    const [, typed] = /^# TYPE (\w+) (?:counter|gauge|untyped)$/.exec(line) ?? [];
    if (typed !== undefined) {
      expect(types.has(typed)).toBe(false);
      types.add(typed);
    }
    if (line.startsWith("#")) continue;
    const [, name, labels = "", value] =
      /^(\w+)(\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[\d.e+-]+)$/.exec(line) ?? [];
    if (name === undefined || !types.has(name)) throw new Error(`not in the text format: ${line}`);
    values.set(name + labels, Number(value));
  }
  return values;
}

/** What RabbitMQ's Grafana dashboard queries. https://grafana.com/grafana/dashboards/10991-rabbitmq-overview/ */
const dashboard: readonly string[] = [
  "rabbitmq_identity_info",
  "rabbitmq_build_info",
  "rabbitmq_queue_messages_ready",
  "rabbitmq_queue_messages_unacked",
  "rabbitmq_global_messages_received_total",
  "rabbitmq_global_messages_confirmed_total",
  "rabbitmq_global_messages_routed_total",
  "rabbitmq_global_messages_unroutable_dropped_total",
  "rabbitmq_global_messages_unroutable_returned_total",
  "rabbitmq_global_messages_delivered_total",
  "rabbitmq_global_messages_delivered_consume_auto_ack_total",
  "rabbitmq_global_messages_delivered_consume_manual_ack_total",
  "rabbitmq_global_messages_delivered_get_auto_ack_total",
  "rabbitmq_global_messages_delivered_get_manual_ack_total",
  "rabbitmq_global_messages_redelivered_total",
  "rabbitmq_global_messages_acknowledged_total",
  "rabbitmq_global_messages_get_empty_total",
  "rabbitmq_global_publishers",
  "rabbitmq_global_consumers",
  "rabbitmq_connections",
  "rabbitmq_connections_opened_total",
  "rabbitmq_connections_closed_total",
  "rabbitmq_channels",
  "rabbitmq_channels_opened_total",
  "rabbitmq_channels_closed_total",
  "rabbitmq_queues",
  "rabbitmq_queues_declared_total",
  "rabbitmq_queues_created_total",
  "rabbitmq_queues_deleted_total",
  "rabbitmq_consumers",
  "rabbitmq_process_resident_memory_bytes",
  "rabbitmq_resident_memory_limit_bytes",
  "rabbitmq_disk_space_available_limit_bytes",
  "rabbitmq_process_open_tcp_sockets",
];

test("has what the overview dashboard asks for, for anybody", async () => {
  const names = new Set([...(await scrape("/metrics")).keys()].map((key) => key.replace(/\{.*/, "")));
  expect(dashboard.filter((name) => !names.has(name))).toEqual([]);
});

test("counts messages, and a counter does not fall when what it counted at is gone", async () => {
  const connection = await connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange("e", "fanout", { durable: false });
  await channel.assertQueue("q", { durable: false });
  await channel.assertQueue("quorum", { arguments: { "x-queue-type": "quorum" } });
  await channel.bindQueue("q", "e", "");
  await channel.bindQueue("quorum", "e", "");
  channel.publish("e", "", Buffer.from("x"));
  channel.publish("", "nowhere", Buffer.from("x"));
  await channel.waitForConfirms();
  const message = await channel.get("quorum");
  if (message) channel.ack(message);
  await channel.get("q", { noAck: true });
  const expected = {
    rabbitmq_connections: 1,
    rabbitmq_queues: 2,
    [`rabbitmq_global_messages_received_total{protocol="amqp091"}`]: 2,
    [`rabbitmq_global_messages_routed_total{protocol="amqp091"}`]: 2,
    [`rabbitmq_global_messages_unroutable_dropped_total{protocol="amqp091"}`]: 1,
    [`rabbitmq_global_messages_acknowledged_total{protocol="amqp091",queue_type="rabbit_quorum_queue"}`]: 1,
    [`rabbitmq_global_messages_delivered_get_auto_ack_total{protocol="amqp091",queue_type="rabbit_classic_queue"}`]: 1,
  };
  const pick = async (): Promise<object> => {
    const values = await scrape("/metrics");
    return Object.fromEntries(Object.keys(expected).map((key) => [key, values.get(key)]));
  };
  expect(await pick()).toEqual(expected);
  await channel.deleteQueue("q");
  await channel.deleteQueue("quorum");
  await channel.deleteExchange("e");
  await connection.close();
  await expect.poll(pick).toEqual({ ...expected, rabbitmq_connections: 0, rabbitmq_queues: 0 });
});

test("names queues to monitors only", async () => {
  const client = broker.as("guest", "/");
  await client.declareQueue('odd "q"\\', { durable: false, autoDelete: false, arguments: new Map() });
  await client.publish("", 'odd "q"\\', {}, Buffer.from("x"));
  const values = await scrape("/metrics/per-object", "guest:guest");
  expect(values.get(String.raw`rabbitmq_queue_messages_ready{vhost="/",queue="odd \"q\"\\"}`)).toBe(1);
  expect(values.get(`rabbitmq_exchange_messages_published_total{vhost="/",exchange=""}`)).toBeGreaterThan(0);
  expect([...(await scrape("/metrics")).keys()].some((key) => key.includes("odd"))).toBe(false);
  expect((await fetch(`${management.url}/metrics/per-object`)).status).toBe(401);
  expect((await fetch(`${management.url}/metrics/nothing`)).status).toBe(404);
});

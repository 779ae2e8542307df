/** What hostile or unlucky clients may bring about in queues that move messages: each was once a defect. */
import { connect } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerOptions, type Logger } from "../../src/broker/index.ts";
import { ConsumerTurns } from "../../src/broker/queues/consumer-turns.ts";
import { MethodId, type FieldTable, type FieldValue } from "../../src/wire/index.ts";
import { Session } from "../differential/session.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { declareQueue, publishMethod } from "../support/methods.ts";

/** Bytes that are not UTF-8, as property texts bring them: 0xff 0xfe 0x41. */
const binary = "\udcff\udcfeA";
const text = (value: string): FieldValue => ({ type: "longstr", value });
const delay = (value: number): FieldTable => new Map([["x-delay", { type: "signedint", value }]]);

async function start(
  options: BrokerOptions = {},
): Promise<{ broker: Broker; session: Session; errors: string[] }> {
  const errors: string[] = [];
  const logger: Logger = {
    debug() {},
    info() {},
    warn() {},
    error: (fields, message) => void errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  const broker = await startBroker({ port: 0, logger, ...options });
  onTestFinished(() => broker.stop(100));
  return { broker, session: await Session.open(broker.port, ""), errors };
}

async function deadLetters(session: Session): Promise<void> {
  await session.declareExchange("dlx", "fanout");
  await session.declare("dead");
  await session.bind("dead", "dlx", "");
}

async function bodies(session: Session, queue: string): Promise<string[]> {
  session.transcript.length = 0;
  await session.drain(queue);
  const [[, messages]] = session.transcript as [string, { body: string }[]][];
  return messages.map(({ body }) => body);
}

test("messages that go round for ever, since one was rejected once, do not keep the broker from anything else", async () => {
  const { session } = await start();
  const to = (queue: string) => ({
    "x-dead-letter-exchange": text(""),
    "x-dead-letter-routing-key": queue,
    "x-message-ttl": 0,
  });
  await session.declare("a", to("b"));
  await session.declare("b", to("a"));
  await session.declare("start", { "x-dead-letter-exchange": text(""), "x-dead-letter-routing-key": "a" });
  await session.publish("", "start", "round and round");
  session.reject((await session.get("start"))!, false);
  await session.settled();
  await session.declare("other");
  await session.publish("", "other", "served");
  expect(await bodies(session, "other")).toEqual(["served"]);
  await session.delete("a");
  await session.delete("b");
});

test("properties that are not UTF-8 are passed on as they are, whatever the broker changes beside them", async () => {
  const { session, errors } = await start();
  await deadLetters(session);
  await session.declare(
    "q",
    { "x-queue-type": "quorum", "x-dead-letter-exchange": "dlx" },
    { durable: true },
  );
  const properties = { correlationId: binary, headers: new Map([[binary, text("kept")]]) };
  await session.publish("", "q", "binary", properties);
  const other = await session.another();
  await other.consume("q", "dies");
  await other.delivered(1);
  await session.consume("q", "lives");
  await other.drop();
  const [again] = await session.delivered(1);
  expect(again.shown).toMatchObject({
    redelivered: true,
    headers: expect.arrayContaining([["x-delivery-count", "long", 1]]),
  });
  session.reject(again, false);
  await session.until("dead", 1);
  const letter = (await session.get("dead"))!.shown as { correlationId: string; headers: unknown[] };
  expect(letter.correlationId).toBe(binary);
  expect(letter.headers).toContainEqual([binary, "longstr", "kept"]);
  expect(errors).toEqual([]);
});

test("a delayed message with a routing key that is not UTF-8 holds up no other", async () => {
  const clock = new ManualClock(1_700_000_000_000);
  const { session, errors } = await start({ clock, heartbeatSeconds: 0 });
  await session.declareExchange("later", "x-delayed-message", { "x-delayed-type": "fanout" });
  await session.declare("q");
  await session.bind("q", "later", "");
  await session.publish("later", binary, "binary", { headers: delay(100), correlationId: binary });
  await session.publish("later", "key", "plain", { headers: delay(200) });
  clock.advance(200);
  await session.until("q", 2);
  expect(await bodies(session, "q")).toEqual(["binary", "plain"]);
  expect(errors).toEqual([]);
});

test("an x-death with counts that are no numbers is counted from nothing", async () => {
  const { session, errors } = await start();
  await deadLetters(session);
  await session.declare("q", { "x-dead-letter-exchange": "dlx" });
  for (const count of [text("abc"), { type: "double", value: 1.5 }, { type: "bool", value: true }] as const) {
    const entry = new Map<string, FieldValue>([
      ["queue", text("q")],
      ["reason", text("rejected")],
      ["count", count],
    ]);
    const value: FieldValue[] = [{ type: "table", value: entry }];
    await session.publish("", "q", count.type, { headers: new Map([["x-death", { type: "array", value }]]) });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    const letter = await session.get("dead");
    expect(JSON.stringify(letter!.shown)).toContain('["count","long",1]');
    session.ack(letter!);
    await session.settled();
  }
  expect(errors).toEqual([]);
});

test("thousands of deaths that a client has written are merged in no time", async () => {
  const { session } = await start();
  await deadLetters(session);
  await session.declare("q", { "x-dead-letter-exchange": "dlx" });
  const value = Array.from({ length: 3000 }, (_, number): FieldValue => {
    const entry = new Map([
      ["queue", text(`q${number % 1500}`)],
      ["reason", text("expired")],
    ]);
    return { type: "table", value: entry };
  });
  await session.publish("", "q", "long history", {
    headers: new Map([["x-death", { type: "array", value }]]),
  });
  session.reject((await session.get("q"))!, false);
  await session.until("dead", 1);
  const letter = (await session.get("dead"))!.shown as { headers: [string, string, unknown[]][] };
  expect(letter.headers.find(([key]) => key === "x-death")![2]).toHaveLength(1501);
});

test("names of dead-letter exchanges and keys that no message could bear are refused", async () => {
  const { session } = await start();
  await session.declare("q", { "x-dead-letter-exchange": text("x".repeat(256)) });
  await session.declare("q", {
    "x-dead-letter-exchange": "dlx",
    "x-dead-letter-routing-key": "k".repeat(256),
  });
  expect(session.transcript).toEqual([
    ["declare q", expect.stringContaining("406 PRECONDITION_FAILED - invalid arg 'x-dead-letter-exchange'")],
    [
      "declare q",
      expect.stringContaining("406 PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key'"),
    ],
  ]);
});

test("a dead letter may be delayed", async () => {
  const clock = new ManualClock(1_700_000_000_000);
  const { broker, session } = await start({ clock, heartbeatSeconds: 0 });
  await session.declareExchange("later", "x-delayed-message", { "x-delayed-type": "fanout" });
  await session.declare("again");
  await session.bind("again", "later", "");
  await session.declare("q", { "x-dead-letter-exchange": "later" });
  await session.publish("", "q", "retried", { headers: delay(5000) });
  session.reject((await session.get("q"))!, false);
  await session.settled();
  expect(broker.usage().delayedMessages).toBe(1);
  clock.advance(5000);
  await session.until("again", 1);
});

test("a long message for many delayed exchanges is stored once", async () => {
  const { broker, session } = await start({ dataDir: dataDirectory() });
  await session.declareExchange("all", "fanout", {}, { durable: true });
  for (let number = 0; number < 16; number++) {
    const name = `later-${number}`;
    await session.declareExchange(
      name,
      "x-delayed-message",
      { "x-delayed-type": "fanout" },
      { durable: true },
    );
    await session.bindExchange(name, "all", "");
  }
  await session.publish("all", "", "x".repeat(14 << 20), { deliveryMode: 2, headers: delay(60_000) });
  expect(broker.usage()).toMatchObject({ messages: 1, delayedMessages: 16 });
});

test("what died in a queue goes its way though the queue is deleted", async () => {
  const { broker, session } = await start({ dataDir: dataDirectory() });
  await session.declareExchange("dlx", "fanout", {}, { durable: true });
  await session.declare("dead", {}, { durable: true });
  await session.bind("dead", "dlx", "");
  await session.declare("q", { "x-dead-letter-exchange": "dlx" }, { durable: true, autoDelete: true });
  const count = 400;
  await session.consume("q", "c", { channel: 2 });
  for (let number = 0; number < count; number++)
    await session.publish("", "q", "x".repeat(100_000), { deliveryMode: 2 });
  const deliveries = await session.delivered(count, 2);
  session.nack(deliveries.at(-1)!, false, true);
  await session.closeChannel(2);
  await session.untilGone("q");
  await session.until("dead", count);
  expect(broker.usage().messages).toBe(count);
});

test("basic.get shows its message's own bytes, whatever expires behind it", async () => {
  const { session } = await start({ dataDir: dataDirectory() });
  await session.declare("q", { "x-max-length-bytes": 1 << 30 }, { durable: true });
  await session.declare("noise", {}, { durable: true });
  await session.publish("", "q", "first", { deliveryMode: 2 });
  await session.publish("", "q", "second", { deliveryMode: 2, expiration: "1" });
  // 140 chunks of other traffic, so that both have to be read back into memory that is used again and again.
  for (let chunk = 0; chunk < 140; chunk++)
    for (let part = 0; part < 3; part++)
      await session.publish("", "noise", "n".repeat(100_000), { deliveryMode: 2 });
  for (let take = 0; take < 126; take++) await session.get("noise");
  expect((await session.get("q"))!.shown).toMatchObject({ body: "first" });
}, 60_000);

test("at-least-once dead letters count towards the maximum length", async () => {
  const clock = new ManualClock(1_700_000_000_000);
  const { session } = await start({ clock, heartbeatSeconds: 0 });
  await session.declare(
    "q",
    {
      "x-queue-type": "quorum",
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
      "x-dead-letter-exchange": "nowhere",
      "x-max-length": 3,
      "x-message-ttl": 10,
    },
    { durable: true },
  );
  for (let number = 0; number < 5; number++) {
    await session.publish("", "q", String(number));
    clock.advance(20);
  }
  expect(session.transcript.slice(1)).toEqual([
    ["publish 3", ["nack"]],
    ["publish 4", ["nack"]],
  ]);
});

test("consumers of ever new priorities leave nothing behind", () => {
  const turns = new ConsumerTurns();
  const idle = { hasCredit: () => false, park() {} };
  for (let priority = 0; priority < 1000; priority++) {
    const consumer = { ...idle, priority, parked: false };
    turns.add(consumer, false);
    turns.next();
    turns.remove(consumer);
  }
  expect(turns).toMatchObject({ levels: [] });
});

test("a reply in a transaction that is committed too late reaches no closed channel", async () => {
  const { session } = await start();
  await session.declare("server");
  await session.consume("amq.rabbitmq.reply-to", "replies", { noAck: true, channel: 5 });
  session.send(publishMethod("", "server"), 5);
  session.sendContent("question", { replyTo: "amq.rabbitmq.reply-to" }, 5);
  const server = await session.another();
  await server.until("server", 1);
  await server.get("server");
  await server.noted("select", { id: MethodId.TxSelect }, MethodId.TxSelectOk);
  server.send(publishMethod("", server.lastReplyTo!));
  server.sendContent("answer", {});
  await server.settled();
  await session.closeChannel(5);
  await server.noted("commit", { id: MethodId.TxCommit }, MethodId.TxCommitOk);
  // A client closes its connection when something comes on a channel that is closed.
  await session.noted("still there", declareQueue("server"), MethodId.QueueDeclareOk);
  expect(session.transcript.at(-1)).toEqual(["still there", "ok"]);
  expect(session.deliveriesOn(5)).toBe(0);
});

test("a stopped broker has no timer left", async () => {
  const clock = new ManualClock(1_700_000_000_000);
  const broker = await startBroker({ port: 0, clock, heartbeatSeconds: 0 });
  const connection = await connect(broker.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("mortal", { messageTtl: 1_000_000, expires: 2_000_000 });
  channel.sendToQueue("mortal", Buffer.from("waits"));
  await channel.assertExchange("later", "x-delayed-message", { arguments: { "x-delayed-type": "direct" } });
  channel.publish("later", "key", Buffer.from("waits"), { headers: { "x-delay": 1_000_000 } });
  await channel.waitForConfirms();
  expect(clock.pending).toBeGreaterThan(2);
  await connection.close();
  await broker.stop();
  expect(clock.pending).toBe(0);
});

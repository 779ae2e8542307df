/** Dead-lettering and its headers. https://www.rabbitmq.com/docs/dlx */
import { MethodId, type FieldTable, type FieldValue } from "../../../src/wire/index.ts";
import type { Session } from "../session.ts";
import type { Scenarios } from "./scenario.ts";

const text = (value: string): FieldValue => ({ type: "longstr", value });
const table = (entries: Record<string, FieldValue>): FieldTable => new Map(Object.entries(entries));

export const deadLetterScenarios: Scenarios = {
  async "d14 a rejected message: exchange, key and headers"(session) {
    await deadLetterTo(session, "dlx", "direct", "dead", "failed");
    await session.declare("q", { "x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "failed" });
    await session.publish("", "q", "task", {
      contentType: "application/json",
      deliveryMode: 2,
      priority: 5,
      messageId: "id",
      correlationId: "corr",
      replyTo: "reply",
      timestamp: 1_234_567_890n,
      type: "type",
      appId: "app",
      headers: table({ mine: text("kept"), "x-first-death-other": { type: "signedint", value: 7 } }),
    });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "a message without headers gets some"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "bare");
    session.nack((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "an expired one loses its expiration, which is kept in the header"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "by the message", { expiration: "60", headers: table({ a: text("b") }) });
    await session.until("dead", 1);
    await session.drain("dead");
    await session.declare("p", { "x-dead-letter-exchange": "dlx", "x-message-ttl": 60 });
    await session.publish("", "p", "by the queue");
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "without a routing key of its own it keeps the message's"(session) {
    await session.declareExchange("source", "topic");
    await deadLetterTo(session, "dlx", "topic", "dead", "orders.#");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.bind("q", "source", "orders.*");
    await session.publish("source", "orders.new", "order");
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "deaths in one queue are counted, in several they are listed, the latest first"(session) {
    await session.declareExchange("back", "fanout");
    await session.declareExchange("dlx", "fanout");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.declare("wait", { "x-dead-letter-exchange": "back", "x-message-ttl": 40 });
    await session.bind("q", "back", "");
    await session.bind("wait", "dlx", "");
    await session.publish("back", "key", "again and again");
    for (let times = 0; times < 3; times++) {
      await session.until("q", 1);
      session.reject((await session.get("q"))!, false);
    }
    await session.until("q", 1);
    await session.drain("q");
  },

  async "different reasons in one queue are different entries"(session) {
    await session.declareExchange("dlx", "fanout");
    await session.declare("dead");
    await session.bind("dead", "dlx", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx", "x-max-length": 1 });
    const republish = async (): Promise<void> => {
      await session.until("dead", 1);
      const delivery = await session.get("dead");
      session.ack(delivery!);
    };
    await session.publish("", "q", "1");
    session.reject((await session.get("q"))!, false);
    await republish();
    const first = xDeath([{ queue: session.name("q"), reason: "rejected", count: 1n, exchange: "" }]);
    await session.publish("", "q", "2", { headers: first, expiration: "50" });
    await republish();
    const second = xDeath([
      { queue: session.name("q"), reason: "rejected", count: 4n, exchange: "" },
      { queue: "another", reason: "expired", count: 2n, exchange: "x" },
    ]);
    await session.publish("", "q", "3", { headers: second });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
    await session.publish("", "q", "4", { headers: second });
    await session.publish("", "q", "5");
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "entries of one queue and reason that clients sent apart are merged"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    const queue = session.name("q");
    await session.publish("", "q", "merged", {
      headers: xDeath([
        { queue: "other", reason: "expired", exchange: "" },
        { queue, reason: "rejected", exchange: "" },
        { queue: "other", reason: "expired", exchange: "" },
        { queue, reason: "rejected", exchange: "" },
        { queue, reason: "rejected", count: 3n, exchange: "" },
      ]),
    });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "an x-death that is not a list is replaced"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    const headers = table({ before: text("1"), "x-death": text("nonsense"), after: text("2") });
    await session.publish("", "q", "text", { headers });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "CC keys: all of them route it, and stand in the header"(session) {
    await session.declareExchange("dlx", "direct");
    await session.declare("one");
    await session.declare("two");
    await session.declare("fixed");
    await session.bind("one", "dlx", session.name("q"));
    await session.bind("two", "dlx", "copy");
    await session.bind("fixed", "dlx", "fixed");
    const headers = table({ CC: { type: "array", value: [text("copy")] } });
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "with keys", { headers });
    session.reject((await session.get("q"))!, false);
    await session.until("one", 1);
    await session.until("two", 1);
    await session.drain("one");
    await session.drain("two");
    await session.declare("p", { "x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "fixed" });
    await session.publish("", "p", "with one key", { headers });
    session.reject((await session.get("p"))!, false);
    await session.until("fixed", 1);
    await session.drain("fixed");
    await session.count("two");
  },

  async "a cycle without a rejection ends, one with a rejection goes on"(session) {
    await session.declareExchange("cycle", "fanout");
    await session.declare("q", { "x-dead-letter-exchange": "cycle", "x-message-ttl": 60 });
    await session.declare("witness");
    await session.bind("q", "cycle", "");
    await session.bind("witness", "cycle", "");
    await session.publish("", "q", "expires once");
    await session.until("witness", 1);
    await session.drain("witness");
    await session.count("q");
    await session.declare("r", { "x-dead-letter-exchange": { type: "longstr", value: "" } });
    await session.publish("", "r", "rejected");
    for (let times = 0; times < 3; times++) {
      await session.until("r", 1);
      session.reject((await session.get("r"))!, false);
    }
    await session.until("r", 1);
    await session.drain("r");
  },

  async "without an exchange, or without a queue behind it, the message is gone"(session) {
    await session.declare("q", { "x-dead-letter-exchange": "missing" });
    await session.publish("", "q", "to nobody");
    session.reject((await session.get("q"))!, false);
    await session.settled();
    await session.count("q");
    await session.declareExchange("missing", "direct");
    await session.publish("", "q", "to no queue");
    session.reject((await session.get("q"))!, false);
    await session.settled();
    await session.count("q");
  },

  async "by an internal exchange and its alternate"(session) {
    await session.declare("dead");
    await session.declareExchange("last", "fanout");
    await session.bind("dead", "last", "");
    await session.declareExchange("dlx", "direct", { "alternate-exchange": "last" }, { internal: true });
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "by the alternate");
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "several at once, in order; a requeued one is not dead"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    for (const body of ["1", "2", "3", "4"]) await session.publish("", "q", body);
    await session.consume("q", "c", { prefetch: 3 });
    const deliveries = await session.delivered(3);
    session.nack(deliveries[2], false, true);
    await session.delivered(1);
    await session.until("dead", 3);
    await session.drain("dead");
  },

  async "a dead letter may be too much for its queue"(session) {
    await session.declare("dead", { "x-max-length": 1 });
    await session.declareExchange("dlx", "fanout");
    await session.bind("dead", "dlx", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "1");
    await session.publish("", "q", "2");
    await session.consume("q", "c");
    const deliveries = await session.delivered(2);
    session.nack(deliveries[1], false, true);
    await session.settled();
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "in a transaction, a rejection is dead-lettered at the commit"(session) {
    await deadLetterTo(session, "dlx", "fanout", "dead", "");
    await session.declare("q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "1");

    await session.noted("select", { id: MethodId.TxSelect }, MethodId.TxSelectOk);
    session.reject((await session.get("q"))!, false);
    await session.settled();
    await session.count("dead");
    await session.noted("commit", { id: MethodId.TxCommit }, MethodId.TxCommitOk);
    await session.until("dead", 1);
    await session.drain("dead");
  },
};

async function deadLetterTo(
  session: Session,
  exchange: string,
  type: string,
  queue: string,
  key: string,
): Promise<void> {
  await session.declareExchange(exchange, type);
  await session.declare(queue);
  await session.bind(queue, exchange, key);
}

function xDeath(
  deaths: readonly { queue: string; reason: string; exchange: string; count?: bigint }[],
): FieldTable {
  const value = deaths.map(({ queue, reason, exchange, count }): FieldValue => {
    const fields: [string, FieldValue][] = [
      ["queue", text(queue)],
      ["reason", text(reason)],
      ["exchange", text(exchange)],
      ["routing-keys", { type: "array", value: [text("key")] }],
      ["time", { type: "timestamp", value: 1000n }],
    ];
    if (count !== undefined) fields.push(["count", { type: "long", value: count }]);
    return { type: "table", value: new Map(fields) };
  });
  return table({ "x-death": { type: "array", value } });
}

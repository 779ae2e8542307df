/** Quorum queues, as far as one replica shows. https://www.rabbitmq.com/docs/quorum-queues */
import { MethodId, type Method } from "../../../src/wire/index.ts";
import type { Arguments, Session } from "../session.ts";
import type { Scenarios } from "./scenario.ts";

export const quorumScenarios: Scenarios = {
  async "a consumer is told how often a message came back, if it did"(session) {
    await quorum(session, "q");
    await session.publish("", "q", "1");
    await session.consume("q", "c");
    const [first] = await session.delivered(1);
    session.nack(first, true);
    const [second] = await session.delivered(1);
    session.reject(second, true);
    const [third] = await session.delivered(1);
    session.ack(third);
    await session.settled();
  },

  async "no prefetch for a whole channel"(session) {
    await quorum(session, "q");
    const qos: Method = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 5, global: true };
    await session.noted("qos", qos, MethodId.BasicQosOk);
    await session.consume("q", "c");
  },

  async "b12 a quorum queue counts deliveries in a header"(session) {
    await quorum(session, "q");
    await session.publish("", "q", "bare");
    await session.publish("", "q", "with headers", {
      headers: new Map([["b", { type: "bool", value: true }]]),
    });
    for (let times = 0; times < 3; times++) {
      const one = await session.get("q");
      const two = await session.get("q");
      session.nack(one!, true);
      session.reject(two!, true);
      await session.until("q", 2);
    }
    await session.drain("q");
  },

  async "what a channel's end gives back is counted, too"(session) {
    await quorum(session, "q");
    await session.publish("", "q", "1");
    await session.consume("q", "c", { channel: 2 });
    await session.delivered(1, 2);
    await session.closeChannel(2);
    await session.until("q", 1);
    await session.get("q");
    await session.noted("recover", { id: MethodId.BasicRecover, requeue: true }, MethodId.BasicRecoverOk);
    await session.until("q", 1);
    await session.drain("q");
  },

  async "beyond the delivery limit a message is dead"(session) {
    await session.declare("dead");
    await session.declareExchange("dlx", "fanout");
    await session.bind("dead", "dlx", "");
    await quorum(session, "q", { "x-delivery-limit": 2, "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "poison");
    for (let times = 0; times < 3; times++) {
      await session.until("q", 1);
      session.nack((await session.get("q"))!, true);
    }
    await session.until("dead", 1);
    await session.drain("dead");
    await session.count("q");
  },

  async "beyond the limit without a dead-letter exchange it is gone"(session) {
    await quorum(session, "q", { "x-delivery-limit": 0 });
    await session.publish("", "q", "poison");
    session.nack((await session.get("q"))!, true);
    await session.until("q", 0);
    await session.drain("q");
  },

  async "rejected, expired and overlong messages are dead-lettered"(session) {
    await session.declare("dead");
    await session.declareExchange("dlx", "fanout");
    await session.bind("dead", "dlx", "");
    await quorum(session, "q", { "x-dead-letter-exchange": "dlx", "x-max-length": 1 });
    await session.publish("", "q", "rejected", {
      headers: new Map([["a", { type: "signedint", value: 1 }]]),
    });
    session.reject((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
    await session.publish("", "q", "expired", { expiration: "50" });
    await session.until("dead", 1);
    await session.drain("dead");
    await session.publish("", "q", "overlong");
    await session.publish("", "q", "stays");
    await session.until("dead", 1);
    await session.drain("dead");
    await session.drain("q");
  },

  async "a dead letter shows how often it was delivered"(session) {
    await session.declare("dead");
    await session.declareExchange("dlx", "fanout");
    await session.bind("dead", "dlx", "");
    await quorum(session, "q", { "x-dead-letter-exchange": "dlx" });
    await session.publish("", "q", "1");
    session.nack((await session.get("q"))!, true);
    await session.until("q", 1);
    session.nack((await session.get("q"))!, false);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "a time to live"(session) {
    await quorum(session, "q", { "x-message-ttl": 100 });
    await session.publish("", "q", "1");
    await session.publish("", "q", "2");
    await session.until("q", 0);
    await session.count("q");
  },

  async "reject-publish in a quorum queue"(session) {
    await quorum(session, "q", { "x-max-length": 1, "x-overflow": "reject-publish" });
    await session.publish("", "q", "1");
    await session.drain("q");
    await session.publish("", "q", "again");
    await session.drain("q");
  },

  async "single active consumer, purge, delete, get"(session) {
    await quorum(session, "q", { "x-single-active-consumer": true });
    await session.consume("q", "a", { channel: 1 });
    await session.consume("q", "b", { channel: 2 });
    await session.publish("", "q", "1");
    await session.delivered(1, 1);
    await session.cancel("a", 1);
    await session.publish("", "q", "2");
    await session.delivered(1, 2);
    await session.delete("q");
    await session.cancelledByBroker();
  },

  async "purging and deleting"(session) {
    await quorum(session, "q");
    for (const body of ["1", "2", "3"]) await session.publish("", "q", body);
    await session.until("q", 3);
    const held = await session.get("q");
    await session.purge("q");
    session.nack(held!, true);
    await session.until("q", 1);
    await session.drain("q");
    await session.publish("", "q", "4");
    await session.until("q", 1);
    await session.delete("q");
  },
};

async function quorum(session: Session, queue: string, table: Arguments = {}): Promise<void> {
  await session.declare(queue, { "x-queue-type": "quorum", ...table }, { durable: true });
}

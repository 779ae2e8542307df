/** Length limits and what happens beyond them. https://www.rabbitmq.com/docs/maxlength */
import type { Scenarios } from "./scenario.ts";

const toDead = (name: (queue: string) => string) =>
  ({
    "x-dead-letter-exchange": { type: "longstr", value: "" },
    "x-dead-letter-routing-key": name("dead"),
  }) as const;

export const limitScenarios: Scenarios = {
  async "the oldest go first (drop-head), and are dead-lettered"(session) {
    await session.declare("dead");
    await session.declare("q", { "x-max-length": 2, ...toDead((queue) => session.name(queue)) });
    for (const body of ["1", "2", "3", "4"]) await session.publish("", "q", body);
    await session.count("q");
    await session.drain("q");
    await session.drain("dead");
  },

  async "what becomes the first by a drop may have expired, or does so in time"(session) {
    await session.declare("q", { "x-max-length": 2 });
    await session.publish("", "q", "dropped");
    await session.publish("", "q", "short-lived", { expiration: "60" });
    await session.publish("", "q", "stays");
    await session.until("q", 1);
    await session.drain("q");
  },

  async "reject-publish nacks what does not fit"(session) {
    await session.declare("q", { "x-max-length": 2, "x-overflow": "reject-publish" });
    for (const body of ["1", "2", "3", "4"]) await session.publish("", "q", body);
    await session.count("q");
    await session.get("q");
    await session.publish("", "q", "5");
    await session.publish("", "q", "6");
    await session.drain("q");
  },

  async "reject-publish-dlx also dead-letters it"(session) {
    await session.declare("dead");
    await session.declare("q", {
      "x-max-length": 1,
      "x-overflow": "reject-publish-dlx",
      ...toDead((queue) => session.name(queue)),
    });
    for (const body of ["1", "2", "3"]) await session.publish("", "q", body, { headers: new Map() });
    await session.drain("q");
    await session.drain("dead");
  },

  async "a length in bytes counts ready bodies"(session) {
    await session.declare("q", { "x-max-length-bytes": 10 });
    await session.publish("", "q", "12345", { messageId: "properties do not count" });
    await session.publish("", "q", "67890");
    await session.count("q");
    await session.publish("", "q", "abc");
    await session.drain("q");
    await session.publish("", "q", "longer than the limit");
    await session.count("q");
    await session.publish("", "q", "");
    await session.publish("", "q", "");
    await session.publish("", "q", "1234567890");
    await session.count("q");
    await session.drain("q");
  },

  async "reject-publish by bytes"(session) {
    await session.declare("q", { "x-max-length-bytes": 10, "x-overflow": "reject-publish" });
    await session.publish("", "q", "longer than the limit");
    await session.publish("", "q", "1234567890");
    await session.publish("", "q", "");
    await session.publish("", "q", "a");
    await session.drain("q");
  },

  async "no room at all"(session) {
    await session.declare("dropping", { "x-max-length": 0 });
    await session.publish("", "dropping", "gone");
    await session.count("dropping");
    await session.consume("dropping", "d");
    await session.publish("", "dropping", "to the consumer");
    await session.delivered(1);
    await session.declare("rejecting", { "x-max-length": 0, "x-overflow": "reject-publish" });
    await session.publish("", "rejecting", "refused");
    await session.consume("rejecting", "r", { channel: 2, noAck: true });
    await session.publish("", "rejecting", "refused though a consumer is there");
    await session.count("rejecting");
  },

  async "what is unacknowledged does not count"(session) {
    await session.declare("q", { "x-max-length": 1 });
    await session.consume("q", "c", { prefetch: 1 });
    await session.publish("", "q", "held");
    const [held] = await session.delivered(1);
    await session.publish("", "q", "2");
    await session.publish("", "q", "3");
    await session.count("q");
    session.nack(held, true);
    await session.delivered(1);
    await session.count("q");
  },

  async "a message that comes back may push the first out"(session) {
    await session.declare("dead");
    await session.declare("q", { "x-max-length": 1, ...toDead((queue) => session.name(queue)) });
    await session.publish("", "q", "held");
    const held = await session.get("q");
    await session.publish("", "q", "2");
    session.reject(held!, true);
    await session.settled();
    await session.count("q");
    await session.drain("q");
    await session.drain("dead");
  },

  async "one of two queues refuses: nack, and the other has it"(session) {
    await session.declareExchange("x", "fanout");
    await session.declare("full", { "x-max-length": 0, "x-overflow": "reject-publish" });
    await session.declare("free");
    await session.bind("full", "x", "");
    await session.bind("free", "x", "");
    await session.publish("x", "", "for both", { mandatory: true });
    await session.publish("x", "", "again");
    await session.drain("free");
  },

  async "the first to be dropped has the highest priority"(session) {
    await session.declare("q", { "x-max-length": 2, "x-max-priority": 9 });
    await session.publish("", "q", "low", { priority: 1 });
    await session.publish("", "q", "high", { priority: 9 });
    await session.publish("", "q", "middle", { priority: 5 });
    await session.drain("q");
  },
};

/** Time to live of messages and queues. https://www.rabbitmq.com/docs/ttl */
import { MethodId } from "../../../src/wire/index.ts";
import type { Scenarios } from "./scenario.ts";

export const expiryScenarios: Scenarios = {
  async "a queue's time to live"(session) {
    await session.declare("q", { "x-message-ttl": 150 });
    await session.publish("", "q", "1");
    await session.publish("", "q", "2");
    await session.count("q");
    await session.until("q", 0);
    await session.drain("q");
  },

  async "a message's time to live, the shorter of both counts"(session) {
    await session.declare("q", { "x-message-ttl": 60_000 });
    await session.publish("", "q", "short", { expiration: "100" });
    await session.publish("", "q", "long", { expiration: "90000" });
    await session.until("q", 1);
    await session.drain("q");
  },

  async "a shorter time to live after a longer one that is gone"(session) {
    await session.declare("q");
    await session.publish("", "q", "long", { expiration: "60000" });
    await session.get("q");
    await session.publish("", "q", "short", { expiration: "80" });
    await session.until("q", 0);
    await session.count("q");
  },

  async "an expired message waits behind one that is not"(session) {
    await session.declare("q");
    await session.publish("", "q", "first");
    await session.publish("", "q", "second", { expiration: "50" });
    await session.publish("", "q", "third", { expiration: "50" });
    await session.declare("clock", { "x-message-ttl": 200 });
    await session.publish("", "clock", "tick");
    await session.until("clock", 0);
    await session.count("q");
    await session.get("q");
    await session.until("q", 0);
    await session.count("q");
  },

  async "no time to live at all: only for who is ready"(session) {
    await session.declare("q", { "x-message-ttl": 0 });
    await session.publish("", "q", "nobody is there");
    await session.count("q");
    await session.consume("q", "c");
    await session.publish("", "q", "somebody is there");
    const [delivery] = await session.delivered(1);
    session.nack(delivery, true);
    await session.settled();
    await session.count("q");
    await session.declare("p");
    await session.publish("", "p", "nobody", { expiration: "0" });
    await session.count("p");
  },

  async "what is being worked on does not expire, what comes back does"(session) {
    await session.declare("dead");
    await session.declare("q", {
      "x-message-ttl": 100,
      "x-dead-letter-exchange": { type: "longstr", value: "" },
      "x-dead-letter-routing-key": session.name("dead"),
    });
    await session.publish("", "q", "held");
    const held = await session.get("q");
    await session.declare("clock", { "x-message-ttl": 250 });
    await session.publish("", "clock", "tick");
    await session.until("clock", 0);
    await session.count("dead");
    session.reject(held!, true);
    await session.until("dead", 1);
    await session.drain("dead");
  },

  async "expirations that make no sense are refused"(session) {
    await session.declare("q");
    for (const expiration of ["soon", "-1", "1.5", "", "4294967296", "99999999999999", "1 "])
      await session.publish("", "q", `'${expiration}'`, { expiration });
    await session.publish("", "q", "most", { expiration: "4294967295" });
    await session.publish("", "q", "zeroes", { expiration: "000100000" });
    await session.drain("q");
  },

  async "a queue that nobody uses expires"(session) {
    await session.declare("q", { "x-expires": 300 }, { durable: true });
    await session.publish("", "q", "gone with it");
    await session.untilGone("q");
    await session.declare("used", { "x-expires": 400 });
    await session.consume("used", "c");
    await session.declare("clock", { "x-message-ttl": 700 });
    await session.publish("", "clock", "tick");
    await session.until("clock", 0);
    session.send({ id: MethodId.BasicCancel, consumerTag: "c", noWait: true });
    await session.settled();
    await session.untilGone("used");
  },

  async "basic.get keeps a queue in use"(session) {
    await session.declare("q", { "x-expires": 500 });
    for (let times = 0; times < 5; times++) {
      await session.declare("clock", { "x-message-ttl": 200 });
      await session.publish("", "clock", "tick");
      await session.until("clock", 0);
      await session.get("q");
    }
    await session.untilGone("q");
  },

  async "messages of a queue that expires are not dead-lettered"(session) {
    await session.declare("dead");
    await session.declare("q", {
      "x-expires": 200,
      "x-dead-letter-exchange": { type: "longstr", value: "" },
      "x-dead-letter-routing-key": session.name("dead"),
    });
    await session.publish("", "q", "gone");
    await session.untilGone("q");
    await session.count("dead");
  },

  async "a purge does not dead-letter, nor does a deletion"(session) {
    await session.declare("dead");
    await session.declare("q", {
      "x-dead-letter-exchange": { type: "longstr", value: "" },
      "x-dead-letter-routing-key": session.name("dead"),
    });
    await session.publish("", "q", "1");
    await session.publish("", "q", "2");
    await session.purge("q");
    await session.publish("", "q", "3");
    await session.delete("q");
    await session.count("dead");
  },

  async "priorities and expiry: each priority's first is looked at"(session) {
    await session.declare("q", { "x-max-priority": 5 });
    await session.publish("", "q", "low, short", { priority: 1, expiration: "80" });
    await session.publish("", "q", "low", { priority: 1 });
    await session.publish("", "q", "high", { priority: 4 });
    await session.publish("", "q", "high, short", { priority: 4, expiration: "80" });
    await session.declare("clock", { "x-message-ttl": 300 });
    await session.publish("", "clock", "tick");
    await session.until("clock", 0);
    await session.count("q");
    await session.get("q");
    await session.until("q", 1);
    await session.drain("q");
  },
};

/** Alternate exchanges, CC and BCC, direct reply-to, internal exchanges, user-id. */
import { MethodId, type FieldTable, type FieldValue, type Method } from "../../../src/wire/index.ts";
import { declareQueue, publishMethod } from "../../support/methods.ts";
import type { Scenarios } from "./scenario.ts";

const text = (value: string): FieldValue => ({ type: "longstr", value });
const keys = (header: "CC" | "BCC", ...values: string[]): FieldTable =>
  new Map([[header, { type: "array", value: values.map(text) }]]);

export const routingScenarios: Scenarios = {
  async "b12 what an exchange cannot route goes to its alternate"(session) {
    await session.declareExchange("last", "fanout");
    await session.declare("caught");
    await session.bind("caught", "last", "");
    await session.declareExchange("x", "direct", { "alternate-exchange": "last" });
    await session.declare("q");
    await session.bind("q", "x", "known");
    await session.publish("x", "known", "routed", { mandatory: true });
    await session.publish("x", "unknown", "caught", { mandatory: true });
    await session.drain("q");
    await session.drain("caught");
  },

  async "alternates in a chain and in a circle; one that is missing"(session) {
    await session.declareExchange("a", "topic", { "alternate-exchange": "b" });
    await session.declareExchange("b", "headers", { "alternate-exchange": "c" });
    await session.declareExchange("c", "fanout", { "alternate-exchange": "a" });
    await session.publish("a", "key", "in a circle", { mandatory: true });
    await session.declare("q");
    await session.bind("q", "c", "");
    await session.publish("a", "key", "at the end", { mandatory: true });
    await session.drain("q");
    await session.declareExchange("d", "direct", { "alternate-exchange": "missing" });
    await session.publish("d", "key", "nowhere", { mandatory: true });
  },

  async "an exchange that is bound but routes nothing uses its own alternate"(session) {
    await session.declareExchange("inner", "direct", { "alternate-exchange": "last" });
    await session.declareExchange("last", "fanout");
    await session.declareExchange("outer", "fanout", { "alternate-exchange": "never" });
    await session.declareExchange("never", "fanout");
    await session.declare("q");
    await session.declare("n");
    await session.bind("q", "last", "");
    await session.bind("n", "never", "");
    await session.bindExchange("inner", "outer", "");
    await session.publish("outer", "key", "1", { mandatory: true });
    await session.drain("q");
    await session.count("n");
  },

  async "the alternate may be the default exchange"(session) {
    await session.declareExchange("x", "direct", { "alternate-exchange": { type: "longstr", value: "" } });
    await session.declare("q");
    await session.publish("x", session.name("q"), "by its name", { mandatory: true });
    await session.count("q");
  },

  async "CC and BCC are keys, too"(session) {
    await session.declareExchange("x", "direct");
    for (const queue of ["a", "b", "c"]) {
      await session.declare(queue);
      await session.bind(queue, "x", queue);
    }
    await session.publish("x", "a", "cc", { headers: keys("CC", "b", "a") });
    await session.publish("x", "a", "bcc", { headers: keys("BCC", "c") });
    await session.publish("x", "nowhere", "only cc", { headers: keys("CC", "nobody", "c"), mandatory: true });
    await session.publish("x", "a", "both", {
      messageId: "id",
      headers: new Map([...keys("CC", "b"), ...keys("BCC", "c"), ["z", text("kept")], ["a", text("kept")]]),
    });
    await session.publish("x", "nowhere", "nowhere", { headers: keys("BCC", "nobody"), mandatory: true });
    for (const queue of ["a", "b", "c"]) await session.drain(queue);
  },

  async "CC to the default exchange, to a topic exchange, to a fanout"(session) {
    await session.declare("a");
    await session.declare("b");
    await session.publish("", "a", "by name", { headers: keys("CC", session.name("b"), session.name("a")) });
    await session.declareExchange("t", "topic");
    await session.declareExchange("f", "fanout");
    await session.bind("a", "t", "x.*");
    await session.bind("b", "t", "y.*");
    await session.bind("a", "f", "");
    await session.publish("t", "x.1", "topics", { headers: keys("CC", "y.1") });
    await session.publish("f", "", "all", { headers: keys("CC", "y.1") });
    await session.drain("a");
    await session.drain("b");
  },

  async "CC and BCC that are no lists of texts"(session) {
    await session.declare("q");
    const wrong: FieldValue[] = [
      text("q"),
      { type: "array", value: [{ type: "signedint", value: 4 }] },
      { type: "table", value: new Map() },
      { type: "void" },
    ];
    for (const header of ["CC", "BCC"])
      for (const value of wrong)
        await session.publish("", "q", `${header} ${value.type}`, { headers: new Map([[header, value]]) });
    await session.drain("q");
  },

  async "direct reply-to: a request and its reply"(session) {
    await session.declare("server");
    await session.consume("amq.rabbitmq.reply-to", "replies", { noAck: true });
    session.send(publishMethod("", "nobody"));
    session.sendContent("", {});
    session.send(publishMethod("", session.name("server")));
    session.sendContent("question", { replyTo: "amq.rabbitmq.reply-to", correlationId: "1" });
    const server = await session.another();
    await server.until("server", 1);
    await server.get("server");
    const address = server.lastReplyTo!;
    await server.publish("", address, "answer", { correlationId: "1" });
    await session.delivered(1);
    await server.publish("", address, "mandatory", { mandatory: true });
    await session.delivered(1);
    await server.publish("", address, "with a copy", { headers: keys("CC", session.name("server")) });
    await session.delivered(1);
    await server.drain("server");
    await server.noted("passive", declarePassive(address), MethodId.QueueDeclareOk);
    await session.cancel("replies");
    await server.publish("", address, "after the cancel", { mandatory: true });
    await session.closeChannel(1);
    await server.publish("", address, "too late", { mandatory: true });
    await server.noted("passive", declarePassive(address), MethodId.QueueDeclareOk);
    await server.noted("passive", declarePassive("amq.rabbitmq.reply-to"), MethodId.QueueDeclareOk);
    await server.drop();
  },

  async "direct reply-to: what is wrong"(session) {
    await session.consume("amq.rabbitmq.reply-to", "acks", { noAck: false });
    await session.consume("amq.rabbitmq.reply-to", "c", { noAck: true });
    await session.consume("amq.rabbitmq.reply-to", "d", { noAck: true });
    await session.declare("q");
    await session.publish("", "q", "no consumer", { replyTo: "amq.rabbitmq.reply-to", channel: 3 });
    await session.publish("", "amq.rabbitmq.reply-to.nonsense", "to nobody", { mandatory: true });
    await session.noted("declare", declarePassive("amq.rabbitmq.reply-to.nonsense"), MethodId.QueueDeclareOk);
    await session.drain("q");
  },

  async "user-id must be the user's own"(session) {
    await session.declare("q");
    await session.publish("", "q", "own", { userId: "guest" });
    await session.publish("", "q", "other", { userId: "root" });
    await session.drain("q");
  },

  async "connection.update-secret"(session) {
    await session.noted(
      "update",
      { id: MethodId.ConnectionUpdateSecret, newSecret: Buffer.from("guest"), reason: "rotated" },
      MethodId.ConnectionUpdateSecretOk,
      0,
    );
  },
};

const declarePassive = (queue: string): Method => declareQueue(queue, { passive: true });

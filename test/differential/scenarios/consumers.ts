/** Who gets the next message: consumer priorities, single active consumer, exclusive consumers, prefetch. */
import { MethodId, type FieldValue } from "../../../src/wire/index.ts";
import type { Scenarios } from "./scenario.ts";

export const consumerScenarios: Scenarios = {
  async "the consumer of the highest priority that has credit gets the message"(session) {
    await session.declare("q");
    await session.consume("q", "low", { channel: 1, prefetch: 5 });
    await session.consume("q", "high", { channel: 2, prefetch: 2, table: { "x-priority": 10 } });
    await session.consume("q", "negative", { channel: 3, prefetch: 5, table: { "x-priority": -5 } });
    for (let number = 1; number <= 9; number++) await session.publish("", "q", String(number));
    const [first] = await session.delivered(2, 2);
    await session.delivered(5, 1);
    await session.delivered(2, 3);
    session.ack(first);
    await session.publish("", "q", "10");
    await session.delivered(1, 2);
    await session.count("q");
  },

  async "consumers of equal priority take turns"(session) {
    await session.declare("q");
    for (const [index, tag] of ["a", "b", "c"].entries())
      await session.consume("q", tag, { channel: index + 1, table: { "x-priority": 3 } });
    for (let number = 1; number <= 6; number++) await session.publish("", "q", String(number));
    for (const channel of [1, 2, 3]) await session.delivered(2, channel);
  },

  async "a priority that is no number is refused"(session) {
    await session.declare("q");
    const values: FieldValue[] = [
      { type: "longstr", value: "high" },
      { type: "double", value: 1.5 },
      { type: "bool", value: true },
      { type: "void" },
      { type: "long", value: 1n << 40n },
    ];
    for (const value of values)
      await session.consume("q", `c-${value.type}`, { table: { "x-priority": value } });
    await session.consume("q", "unknown", { table: { "x-unknown": 5 } });
  },

  async "one active consumer at a time, the next when it goes"(session) {
    await session.declare("q", { "x-single-active-consumer": true });
    await session.consume("q", "a", { channel: 1, prefetch: 1 });
    await session.consume("q", "b", { channel: 2 });
    await session.consume("q", "c", { channel: 3 });
    for (let number = 1; number <= 4; number++) await session.publish("", "q", String(number));
    const [first] = await session.delivered(1, 1);
    await session.count("q");
    session.ack(first);
    await session.delivered(1, 1);
    await session.cancel("a", 1);
    // RabbitMQ does not serve the next one before something else happens to the queue.
    await session.consume("q", "d", { channel: 4 });
    await session.delivered(2, 2);
    await session.closeChannel(1);
    await session.delivered(1, 2);
    await session.closeChannel(2);
    await session.delivered(3, 3);
    await session.count("q");
  },

  async "a single active consumer may not be exclusive"(session) {
    await session.declare("q", { "x-single-active-consumer": true });
    await session.consume("q", "a", { exclusive: true });
    await session.consume("q", "b", { channel: 2 });
    await session.consume("q", "c", { channel: 3, exclusive: true });
  },

  async "priorities among those who wait to be the single active one"(session) {
    await session.declare("q", { "x-single-active-consumer": true });
    await session.consume("q", "a", { channel: 1 });
    await session.consume("q", "b", { channel: 2 });
    await session.consume("q", "c", { channel: 3, table: { "x-priority": 5 } });
    await session.publish("", "q", "1");
    await session.delivered(1, 1);
    await session.closeChannel(1);
    await session.publish("", "q", "2");
    await session.delivered(2, 3);
  },

  async "an exclusive consumer keeps others away until it goes"(session) {
    await session.declare("q");
    await session.consume("q", "only", { exclusive: true });
    await session.consume("q", "other", { channel: 2 });
    await session.publish("", "q", "1");
    await session.delivered(1, 1);
    await session.get("q");
    await session.cancel("only");
    await session.consume("q", "other", { channel: 2 });
    await session.consume("q", "only", { exclusive: true });
  },

  async "a priority queue: highest first, in order among equals, capped, none is 0"(session) {
    await session.declare("q", { "x-max-priority": 5 });
    const messages: [string, number | undefined][] = [
      ["none 1", undefined],
      ["one", 1],
      ["nine", 9],
      ["five", 5],
      ["zero", 0],
      ["none 2", undefined],
      ["255", 255],
      ["one again", 1],
    ];
    for (const [body, priority] of messages)
      await session.publish("", "q", body, priority === undefined ? {} : { priority });
    await session.count("q");
    await session.drain("q");
  },

  async "d5 d8 a message that comes back has its place among its priority"(session) {
    await session.declare("q", { "x-max-priority": 10 });
    for (const [body, priority] of [
      ["low 1", 1],
      ["high 1", 8],
      ["high 2", 8],
      ["low 2", 1],
    ] as const)
      await session.publish("", "q", body, { priority, deliveryMode: 2 });
    const first = await session.get("q");
    const second = await session.get("q");
    const third = await session.get("q");
    session.nack(third!, true);
    session.nack(first!, true);
    await session.settled();
    await session.publish("", "q", "higher", { priority: 10 });
    await session.drain("q");
    session.ack(second!);
    await session.settled();
  },

  async "a queue of no priorities has one"(session) {
    await session.declare("q", { "x-max-priority": 0 });
    await session.publish("", "q", "1", { priority: 1 });
    await session.publish("", "q", "2", { priority: 5 });
    await session.drain("q");
    await session.declare("plain");
    await session.publish("", "plain", "1", { priority: 1 });
    await session.publish("", "plain", "2", { priority: 5 });
    await session.drain("plain");
  },

  async "d5 a consumer that is ready gets what comes, whatever its priority"(session) {
    await session.declare("q", { "x-max-priority": 10 });
    await session.consume("q", "c", { prefetch: 1 });
    for (const [body, priority] of [
      ["1, low", 0],
      ["2, low", 0],
      ["3, high", 9],
    ] as const)
      await session.publish("", "q", body, { priority });
    const [first] = await session.delivered(1);
    session.ack(first);
    await session.delivered(1);
  },

  async "basic.recover, flow and qos"(session) {
    await session.declare("q");
    await session.publish("", "q", "1");
    await session.get("q");
    await session.noted("recover", { id: MethodId.BasicRecover, requeue: true }, MethodId.BasicRecoverOk);
    await session.get("q");
    await session.noted(
      "recover, not requeued",
      { id: MethodId.BasicRecover, requeue: false },
      MethodId.BasicRecoverOk,
    );
  },

  async "channel.flow"(session) {
    await session.noted("flow on", { id: MethodId.ChannelFlow, active: true }, MethodId.ChannelFlowOk);
    await session.noted("flow off", { id: MethodId.ChannelFlow, active: false }, MethodId.ChannelFlowOk);
  },
};

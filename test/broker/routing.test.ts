import { expect, test } from "vitest";
import { MethodId, type FieldTable, type FieldValue } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { bindQueue, consume, declareExchange } from "../support/methods.ts";
import type { MethodOf, RawClient } from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";

type Unbind = MethodOf<typeof MethodId.QueueUnbind>;

const longstr = (value: string): FieldValue => ({ type: "longstr", value });
const integer = (value: number): FieldValue => ({ type: "signedint", value });
const table = (fields: Record<string, FieldValue>): FieldTable => new Map(Object.entries(fields));

describeEachBroker("routing", (broker) => {
  async function exchange(client: RawClient, type: string): Promise<string> {
    const name = broker().exchangeName(type);
    await client.call(1, declareExchange(name, type), MethodId.ExchangeDeclareOk);
    return name;
  }

  /** What a queue receives of messages with these headers, sent in order. */
  async function matching(binding: FieldTable, messages: FieldTable[]): Promise<number[]> {
    const client = await login(broker());
    const headers = await exchange(client, "headers");
    const queue = await ownQueue(client);
    await client.call(1, bindQueue(queue, headers, "", binding), MethodId.QueueBindOk);
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    messages.forEach((fields, index) => {
      client.publish(1, headers, "", String(index), { properties: { headers: fields } });
    });
    client.publish(1, "", queue, "end");
    const received: number[] = [];
    for (;;) {
      const body = Buffer.from((await client.content(MethodId.BasicDeliver)).body).toString();
      if (body === "end") return received;
      received.push(Number(body));
    }
  }

  const messages = [
    table({ a: longstr("1"), b: longstr("2") }),
    table({ a: longstr("1"), b: longstr("other") }),
    table({ a: integer(1) }),
    table({ b: longstr("2") }),
    table({}),
    table({ a: longstr("1"), "x-c": longstr("3") }),
    table({ "x-c": longstr("3") }),
  ];

  test.each<[string, FieldTable, number[]]>([
    ["all of them by default", table({ a: longstr("1"), b: longstr("2") }), [0]],
    ["all", table({ "x-match": longstr("all"), a: longstr("1") }), [0, 1, 5]],
    ["any", table({ "x-match": longstr("any"), a: longstr("1"), b: longstr("2") }), [0, 1, 3, 5]],
    [
      "all, not looking at x- headers",
      table({ "x-match": longstr("all"), a: longstr("1"), "x-c": longstr("no") }),
      [0, 1, 5],
    ],
    ["all-with-x", table({ "x-match": longstr("all-with-x"), a: longstr("1"), "x-c": longstr("3") }), [5]],
    [
      "any-with-x",
      table({ "x-match": longstr("any-with-x"), b: longstr("2"), "x-c": longstr("3") }),
      [0, 3, 5, 6],
    ],
    [
      "a void argument for any value",
      table({ "x-match": longstr("any"), a: { type: "void" } }),
      [0, 1, 2, 5],
    ],
    [
      "another type of the same text is no match",
      table({ a: longstr("1"), "x-match": longstr("all") }),
      [0, 1, 5],
    ],
    ["nothing asked for, all", table({}), [0, 1, 2, 3, 4, 5, 6]],
    ["nothing asked for, any", table({ "x-match": longstr("any") }), []],
  ])("c12 headers exchange: %s", async (_name, binding, expected) => {
    expect(await matching(binding, messages)).toEqual(expected);
  });

  test("c11 a message is in a queue once, however many bindings lead there, also through other exchanges", async () => {
    const client = await login(broker());
    const source = await exchange(client, "topic");
    const middle = await exchange(client, "fanout");
    const queue = await ownQueue(client);
    for (const key of ["#", "a.*", "a.b"])
      await client.call(1, bindQueue(queue, source, key), MethodId.QueueBindOk);
    await client.call(1, bindQueue(queue, middle, ""), MethodId.QueueBindOk);
    const bind = { id: MethodId.ExchangeBind, noWait: false, arguments: new Map() } as const;
    await client.call(
      1,
      { ...bind, destination: middle, source, routingKey: "a.#" },
      MethodId.ExchangeBindOk,
    );
    // A circle is no endless loop.
    await client.call(
      1,
      { ...bind, destination: source, source: middle, routingKey: "" },
      MethodId.ExchangeBindOk,
    );
    client.publish(1, source, "a.b", "once");
    client.publish(1, "", queue, "end");
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    const bodies = [];
    for (let count = 0; count < 2; count++) {
      bodies.push(Buffer.from((await client.content(MethodId.BasicDeliver)).body).toString());
    }
    expect(bodies).toEqual(["once", "end"]);
  });

  test("c14 a route that is known changes at once with bindings and queues", async () => {
    const client = await login(broker());
    const direct = await exchange(client, "direct");
    const first = await ownQueue(client);
    const second = await ownQueue(client);
    await client.call(1, consume(first, { noAck: true, consumerTag: "first" }), MethodId.BasicConsumeOk);
    await client.call(1, consume(second, { noAck: true, consumerTag: "second" }), MethodId.BasicConsumeOk);
    await client.call(1, bindQueue(first, direct, "k"), MethodId.QueueBindOk);
    const receivers = async (count: number): Promise<string[]> => {
      client.publish(1, direct, "k", "x", { mandatory: true });
      const tags: string[] = [];
      for (let index = 0; index < count; index++) {
        tags.push((await client.content(MethodId.BasicDeliver)).method.consumerTag);
      }
      return tags.toSorted();
    };
    expect(await receivers(1)).toEqual(["first"]);
    await client.call(1, bindQueue(second, direct, "k"), MethodId.QueueBindOk);
    expect(await receivers(2)).toEqual(["first", "second"]);
    const unbind = {
      id: MethodId.QueueUnbind,
      queue: first,
      exchange: direct,
      routingKey: "k",
      arguments: new Map(),
    };
    await client.call(1, unbind, MethodId.QueueUnbindOk);
    expect(await receivers(1)).toEqual(["second"]);
    const remove = {
      id: MethodId.QueueDelete,
      queue: second,
      ifUnused: false,
      ifEmpty: false,
      noWait: false,
    } as const;
    await client.call(1, remove, MethodId.QueueDeleteOk);
    client.publish(1, direct, "k", "x", { mandatory: true });
    expect((await client.content(MethodId.BasicReturn)).method.replyCode).toBe(312);
  });

  test("c12 topic patterns, with words, stars, hashes and nothing between dots", async () => {
    const client = await login(broker());
    const topic = await exchange(client, "topic");
    const queue = await ownQueue(client);
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    const matched = async (pattern: string): Promise<string[]> => {
      await client.call(1, bindQueue(queue, topic, pattern), MethodId.QueueBindOk);
      for (const key of ["", "a", "a.b", "a.b.c", ".", "a..c", "b"]) client.publish(1, topic, key, key);
      client.publish(1, "", queue, "end");
      const keys: string[] = [];
      for (;;) {
        const body = Buffer.from((await client.content(MethodId.BasicDeliver)).body).toString();
        if (body === "end") break;
        keys.push(body);
      }
      const unbind: Unbind = {
        id: MethodId.QueueUnbind,
        queue,
        exchange: topic,
        routingKey: pattern,
        arguments: new Map(),
      };
      await client.call(1, unbind, MethodId.QueueUnbindOk);
      return keys;
    };
    expect(await matched("#")).toEqual(["", "a", "a.b", "a.b.c", ".", "a..c", "b"]);
    expect(await matched("*")).toEqual(["a", "b"]);
    expect(await matched("a.*.c")).toEqual(["a.b.c", "a..c"]);
    expect(await matched("a.#")).toEqual(["a", "a.b", "a.b.c", "a..c"]);
    expect(await matched("#.c")).toEqual(["a.b.c", "a..c"]);
    expect(await matched("*.*")).toEqual(["a.b", "."]);
    expect(await matched("")).toEqual([""]);
    expect(await matched("*.#")).toEqual(["a", "a.b", "a.b.c", ".", "a..c", "b"]);
  });
});

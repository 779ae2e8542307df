import { expect, test } from "vitest";
import { MethodId, type FieldValue } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { ack, consume, declareQueue } from "../support/methods.ts";
import { encodeHeader, type RawClient } from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";

const close = { id: MethodId.ChannelClose, replyCode: 200, replyText: "", classId: 0, methodId: 0 } as const;
const text = (body: Uint8Array): string => Buffer.from(body).toString();

describeEachBroker("deliveries", (broker) => {
  /** A client with a queue of its own that holds "1", "2", … */
  async function filled(count: number): Promise<{ client: RawClient; queue: string }> {
    const client = await login(broker());
    const queue = await ownQueue(client);
    for (let number = 1; number <= count; number++) client.publish(1, "", queue, String(number));
    return { client, queue };
  }

  async function receive(client: RawClient, count: number): Promise<string[]> {
    const bodies: string[] = [];
    for (let index = 0; index < count; index++) {
      const { method, body } = await client.content(MethodId.BasicDeliver);
      bodies.push(text(body) + (method.redelivered ? " again" : ""));
    }
    return bodies;
  }

  async function ready(client: RawClient, queue: string): Promise<number> {
    const declared = await client.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);
    return declared.messageCount;
  }

  function qos(client: RawClient, prefetchCount: number, global = false): Promise<unknown> {
    const method = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount, global } as const;
    return client.call(1, method, MethodId.BasicQosOk);
  }

  test("messages that are given back return to their original places, marked as redelivered", async () => {
    const { client, queue } = await filled(6);
    await qos(client, 4);
    await client.call(1, consume(queue, { consumerTag: "c" }), MethodId.BasicConsumeOk);
    expect(await receive(client, 4)).toEqual(["1", "2", "3", "4"]);
    await client.call(
      1,
      { id: MethodId.BasicCancel, consumerTag: "c", noWait: false },
      MethodId.BasicCancelOk,
    );
    client.method(1, ack(2));
    client.method(1, { id: MethodId.BasicNack, deliveryTag: 4n, multiple: true, requeue: true });
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    expect(await receive(client, 5)).toEqual(["1 again", "3 again", "4 again", "5", "6"]);
  });

  test("a closed channel's unacknowledged messages go back in order", async () => {
    const { client, queue } = await filled(3);
    await client.openChannel(2);
    await client.call(2, consume(queue), MethodId.BasicConsumeOk);
    expect(await receive(client, 3)).toEqual(["1", "2", "3"]);
    await client.call(2, close, MethodId.ChannelCloseOk);
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    expect(await receive(client, 3)).toEqual(["1 again", "2 again", "3 again"]);
  });

  test("one ack for several settles all before it; ack of tag 0 settles all there are", async () => {
    const { client, queue } = await filled(5);
    await client.call(1, consume(queue), MethodId.BasicConsumeOk);
    await receive(client, 5);
    client.method(1, ack(3, true));
    client.method(1, ack(0, true));
    await client.call(1, { id: MethodId.BasicRecover, requeue: true }, MethodId.BasicRecoverOk);
    expect(await ready(client, queue)).toBe(0);
  });

  test("an ack for several must name a message that waits: a client that has lost count is told", async () => {
    const { client, queue } = await filled(3);
    await client.call(1, consume(queue), MethodId.BasicConsumeOk);
    await receive(client, 3);
    client.method(1, ack(2));
    client.method(1, ack(2, true));
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({
      replyCode: 406,
      replyText: "PRECONDITION_FAILED - unknown delivery tag 2",
    });
    client.method(1, { id: MethodId.ChannelCloseOk });
    await client.openChannel(1);
    expect(await ready(client, queue)).toBe(2);
  });

  test("reject without requeue drops the message, with requeue brings it again", async () => {
    const { client, queue } = await filled(2);
    await client.call(1, consume(queue), MethodId.BasicConsumeOk);
    expect(await receive(client, 2)).toEqual(["1", "2"]);
    client.method(1, { id: MethodId.BasicReject, deliveryTag: 1n, requeue: false });
    client.method(1, { id: MethodId.BasicReject, deliveryTag: 2n, requeue: true });
    expect(await receive(client, 1)).toEqual(["2 again"]);
  });

  test("recover brings all unacknowledged messages again", async () => {
    const { client, queue } = await filled(2);
    await client.call(1, consume(queue), MethodId.BasicConsumeOk);
    await receive(client, 2);
    client.method(1, { id: MethodId.BasicRecover, requeue: true });
    const received: string[] = [];
    while (received.length < 2) {
      const next = await client.next();
      if (next.kind === "body") received.push(text(next.payload));
    }
    expect(received).toEqual(["1", "2"]);
  });

  test("c10 prefetch counts per consumer, or for the channel together when it is global", async () => {
    const { client, queue } = await filled(10);
    await qos(client, 2);
    client.method(1, consume(queue, { consumerTag: "a", noWait: true }));
    client.method(1, consume(queue, { consumerTag: "b", noWait: true }));
    await receive(client, 4);
    expect(await ready(client, queue)).toBe(6);

    await qos(client, 5, true);
    client.method(1, ack(4, true));
    await receive(client, 4);
    expect(await ready(client, queue)).toBe(2);
    await qos(client, 3, true);
    client.method(1, ack(6, true));
    await receive(client, 1);
    expect(await ready(client, queue)).toBe(1);
  });

  test("c4 consumers of one channel take turns", async () => {
    const client = await login(broker());
    const queue = await ownQueue(client);
    for (const consumerTag of ["a", "b", "c"]) {
      await client.call(1, consume(queue, { consumerTag, noAck: true }), MethodId.BasicConsumeOk);
    }
    const tags: string[] = [];
    for (let count = 0; count < 6; count++) {
      client.publish(1, "", queue, "x");
      tags.push((await client.content(MethodId.BasicDeliver)).method.consumerTag);
    }
    expect(new Set(tags.slice(0, 3)).size).toBe(3);
    expect(tags.slice(3)).toEqual(tags.slice(0, 3));
  });

  test("get takes one message and says how many are left; an empty queue says so", async () => {
    const { client, queue } = await filled(2);
    client.method(1, { id: MethodId.BasicGet, queue, noAck: false });
    const first = await client.content(MethodId.BasicGetOk);
    expect([text(first.body), first.method.messageCount, first.method.redelivered]).toEqual(["1", 1, false]);
    client.method(1, { id: MethodId.BasicGet, queue, noAck: true });
    expect(text((await client.content(MethodId.BasicGetOk)).body)).toBe("2");
    await client.call(1, { id: MethodId.BasicGet, queue, noAck: true }, MethodId.BasicGetEmpty);
    client.method(1, { id: MethodId.BasicNack, deliveryTag: 1n, multiple: false, requeue: true });
    client.method(1, { id: MethodId.BasicGet, queue, noAck: true });
    expect((await client.content(MethodId.BasicGetOk)).method.redelivered).toBe(true);
  });

  test("purge drops what is ready and leaves what is unacknowledged", async () => {
    const { client, queue } = await filled(5);
    await qos(client, 2);
    await client.call(1, consume(queue), MethodId.BasicConsumeOk);
    await receive(client, 2);
    const purged = await client.call(
      1,
      { id: MethodId.QueuePurge, queue, noWait: false },
      MethodId.QueuePurgeOk,
    );
    expect(purged.messageCount).toBe(3);
    client.method(1, { id: MethodId.BasicNack, deliveryTag: 0n, multiple: true, requeue: true });
    expect(await receive(client, 2)).toEqual(["1 again", "2 again"]);
  });

  test("publisher confirms cover every message, and a return comes before its confirm", async () => {
    const client = await login(broker());
    const queue = await ownQueue(client);
    await client.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
    for (let number = 0; number < 100; number++) client.publish(1, "", queue, "x");
    for (let confirmed = 0; confirmed < 100;) {
      const { deliveryTag, multiple } = await client.expect(MethodId.BasicAck);
      confirmed = multiple ? Number(deliveryTag) : confirmed + 1;
    }
    client.publish(1, "", "nobody", "back", { mandatory: true, properties: { messageId: "m" } });
    const returned = await client.content(MethodId.BasicReturn);
    expect(returned.method).toMatchObject({ replyCode: 312, replyText: "NO_ROUTE", routingKey: "nobody" });
    expect(text(returned.body)).toBe("back");
    expect((await client.expect(MethodId.BasicAck)).deliveryTag).toBe(101n);
  });

  test("properties arrive byte for byte, headers of all types included", async () => {
    const client = await login(broker());
    const queue = await ownQueue(client);
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    const properties = {
      contentType: "text/plain",
      headers: new Map<string, FieldValue>([
        ["long", { type: "long", value: -5n }],
        ["nested", { type: "table", value: new Map([["void", { type: "void" }]]) }],
        ["list", { type: "array", value: [{ type: "bool", value: true }] }],
        ["decimal", { type: "decimal", scale: 2, value: 314 }],
        ["octets", { type: "binary", value: Uint8Array.of(1, 2) }],
      ]),
      deliveryMode: 2,
      priority: 9,
      correlationId: "c",
      replyTo: "r",
      messageId: "m",
      timestamp: 1_700_000_000n,
      type: "t",
      appId: "a",
    };
    client.publish(1, "", queue, "x", { properties });
    const { header } = await client.content(MethodId.BasicDeliver);
    expect(Buffer.compare(header, encodeHeader(1, properties))).toBe(0);
  });

  test("nobody publishes in another's name", async () => {
    const client = await login(broker());
    const queue = await ownQueue(client);
    client.publish(1, "", queue, "x", { properties: { userId: broker().username } });
    client.publish(1, "", queue, "x", { properties: { userId: "somebody" } });
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({
      replyCode: 406,
      replyText: `PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '${broker().username}'`,
    });
  });

  test("a channel.close that crosses the broker's own ends the channel, not the connection", async () => {
    const client = await login(broker());
    client.method(1, declareQueue("amq.mine"));
    client.method(1, close);
    await client.expect(MethodId.ChannelClose);
    client.method(1, { id: MethodId.ChannelCloseOk });
    await client.expect(MethodId.ChannelCloseOk);
    await client.openChannel(1);
    expect(await ownQueue(client)).toMatch(/^amq\.gen-/);
  });

  test("an auto-delete queue goes with its last consumer; an exclusive one with its connection", async () => {
    const client = await login(broker());
    const other = await login(broker());
    const exclusive = await ownQueue(other);
    const name = broker().queueName("auto");
    await client.call(1, declareQueue(name, { autoDelete: true }), MethodId.QueueDeclareOk);
    await client.call(1, consume(name, { consumerTag: "c" }), MethodId.BasicConsumeOk);
    await client.call(
      1,
      { id: MethodId.BasicCancel, consumerTag: "c", noWait: false },
      MethodId.BasicCancelOk,
    );
    client.method(1, declareQueue(name, { passive: true }));
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: 404 });
    const goodbye = {
      id: MethodId.ConnectionClose,
      replyCode: 200,
      replyText: "",
      classId: 0,
      methodId: 0,
    } as const;
    await other.call(0, goodbye, MethodId.ConnectionCloseOk);
    client.method(1, { id: MethodId.ChannelCloseOk });
    await client.openChannel(1);
    client.method(1, declareQueue(exclusive, { passive: true }));
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: 404 });
  });
});

import { expect, test } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { consume, declareQueue, publishMethod } from "../support/methods.ts";
import type { RawClient } from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";

const mebibyte = 1 << 20;

describeEachBroker("sizes and limits", (broker) => {
  /** A client with a queue of its own on channel 1, and a consumer without acknowledgements. */
  async function selfConsumer(): Promise<{ client: RawClient; queue: string }> {
    const client = await login(broker());
    const queue = await ownQueue(client);
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    return { client, queue };
  }

  test("bodies around every frame boundary arrive as they were sent, between peers of different frame-max", async () => {
    const sender = await login(broker());
    const receiver = await login(broker(), { frameMax: 4096 });
    const queue = await ownQueue(receiver);
    await receiver.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    for (const size of [
      0,
      1,
      4087,
      4088,
      4089,
      8176,
      131_063,
      131_064,
      131_065,
      262_144,
      mebibyte,
      3 * mebibyte,
    ]) {
      const body = patterned(size);
      sender.publish(1, "", queue, body);
      const delivered = await receiver.content(MethodId.BasicDeliver);
      expect(Buffer.compare(delivered.body, body)).toBe(0);
    }
  });

  test("a body of 128 MiB, the largest there is, arrives as it was sent", async () => {
    const { client, queue } = await selfConsumer();
    const body = patterned(128 * mebibyte);
    client.publish(1, "", queue, body);
    const delivered = await client.content(MethodId.BasicDeliver);
    expect(Buffer.compare(delivered.body, body)).toBe(0);
  }, 60_000);

  test("bodies that come in turns on many channels are kept apart", async () => {
    const client = await login(broker());
    const queue = await ownQueue(client);
    const channels = Array.from({ length: 50 }, (_unused, index) => index + 2);
    for (const channel of channels) await client.openChannel(channel);
    const parts = 8;
    for (const channel of channels) {
      client.method(channel, publishMethod("", queue));
      client.header(channel, parts * 1000);
    }
    for (let part = 0; part < parts; part++) {
      for (const channel of channels) client.body(channel, new Uint8Array(1000).fill(channel));
    }
    await client.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    const seen = new Set<number>();
    for (let count = 0; count < channels.length; count++) {
      const { body } = await client.content(MethodId.BasicDeliver);
      expect(body).toHaveLength(parts * 1000);
      expect(new Set(body).size).toBe(1);
      seen.add(body[0]);
    }
    expect(seen.size).toBe(channels.length);
  });

  test("a body that takes seconds to arrive is put together, and others are served meanwhile", async () => {
    const slow = await login(broker(), { heartbeat: 1 });
    const { client: other, queue: otherQueue } = await selfConsumer();
    const queue = await ownQueue(slow);
    await slow.call(1, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    const pieces = 25;
    slow.method(1, publishMethod("", queue));
    slow.header(1, pieces * 10);
    for (let piece = 0; piece < pieces; piece++) {
      slow.body(1, new Uint8Array(10).fill(piece));
      other.publish(1, "", otherQueue, `served ${piece}`);
      const { body } = await other.content(MethodId.BasicDeliver);
      expect(Buffer.from(body).toString()).toBe(`served ${piece}`);
      // The time that passes is what this test is about: longer than two heartbeat intervals.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { body } = await slow.content(MethodId.BasicDeliver);
    expect(body).toHaveLength(pieces * 10);
    expect(body.at(-1)).toBe(pieces - 1);
  });

  test("a connection has 2047 channels, and one more closes it with 530", async () => {
    const client = await login(broker(), { channelMax: 2047 });
    for (let channel = 2; channel <= 2047; channel++) client.method(channel, { id: MethodId.ChannelOpen });
    for (let channel = 2; channel <= 2047; channel++) await client.expect(MethodId.ChannelOpenOk);
    const queue = await ownQueue(client);
    await client.call(2047, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
    client.publish(2046, "", queue, "over the last channels");
    expect(Buffer.from((await client.content(MethodId.BasicDeliver)).body).toString()).toBe(
      "over the last channels",
    );
    client.method(2048, { id: MethodId.ChannelOpen });
    expect(await client.expect(MethodId.ConnectionClose)).toMatchObject({ replyCode: 530 });
  });

  test("names of 255 bytes work; line breaks are taken out of names", async () => {
    const client = await login(broker());
    const long = "é".repeat(127) + "q";
    await client.call(1, declareQueue(long, { exclusive: true }), MethodId.QueueDeclareOk);
    const bind = {
      id: MethodId.QueueBind,
      queue: long,
      exchange: "amq.direct",
      routingKey: long,
      noWait: false,
      arguments: new Map(),
    } as const;
    await client.call(1, bind, MethodId.QueueBindOk);
    const { consumerTag } = await client.call(
      1,
      consume(long, { consumerTag: long, noAck: true }),
      MethodId.BasicConsumeOk,
    );
    expect(consumerTag).toBe(long);
    client.publish(1, "amq.direct", long, "x");
    expect((await client.content(MethodId.BasicDeliver)).method).toMatchObject({
      consumerTag: long,
      routingKey: long,
      exchange: "amq.direct",
    });

    const broken = declareQueue(`two\r\nlines ${client.socket.localPort}`, { exclusive: true });
    const { queue } = await client.call(1, broken, MethodId.QueueDeclareOk);
    expect(queue).toBe(`twolines ${client.socket.localPort}`);
  });
});

/** Bytes that differ from their neighbours, so that a part in the wrong place shows. */
function patterned(size: number): Uint8Array {
  const body = new Uint8Array(size);
  for (let index = 0; index < size; index++) body[index] = (index * 31 + (index >> 8)) & 0xff;
  return body;
}

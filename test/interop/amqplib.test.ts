import {
  connect,
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  type ConsumeMessage,
  type Message,
} from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";

describeEachBroker("amqplib", (broker) => {
  test("publishes with confirms, consumes and acknowledges", async () => {
    const queue = broker().queueName("confirmed");
    const connection = await open(broker().url);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(queue, { durable: true });
    for (let number = 1; number <= 100; number += 1) {
      channel.sendToQueue(queue, Buffer.from(`message ${number}`), { persistent: true, headers: { number } });
    }
    await channel.waitForConfirms();
    expect(await queueState(broker(), queue)).toEqual({ ready: 100, consumers: 0 });

    const received: ConsumeMessage[] = [];
    await channel.consume(queue, (message) => {
      received.push(message!);
      channel.ack(message!);
    });
    await expect.poll(() => received.length).toBe(100);
    expect(received.map(({ properties }) => properties.headers?.["number"])).toEqual(
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
    expect(received[0]).toMatchObject({ content: Buffer.from("message 1"), properties: { deliveryMode: 2 } });

    // This client may send its connection's close before a channel's last acknowledgements.
    await channel.close();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("gets a message back that it negatively acknowledged, marked as redelivered", async () => {
    const queue = broker().queueName("refused");
    const channel = await (await open(broker().url)).createChannel();
    await channel.assertQueue(queue);
    channel.sendToQueue(queue, Buffer.from("try again"));

    const redelivered: boolean[] = [];
    await channel.consume(queue, (message) => {
      redelivered.push(message!.fields.redelivered);
      if (message!.fields.redelivered) channel.ack(message!);
      else channel.nack(message!, false, true);
    });
    await expect.poll(() => redelivered).toEqual([false, true]);
  });

  test("has an unroutable mandatory message returned with 312 NO_ROUTE, and then confirmed", async () => {
    const channel = await (await open(broker().url)).createConfirmChannel();
    const events: string[] = [];
    const returned = new Promise<Message>((resolve) => {
      channel.on("return", (message: Message) => {
        events.push("returned");
        resolve(message);
      });
    });

    const queue = broker().queueName("missing");
    const options = { mandatory: true, correlationId: "42" };
    channel.sendToQueue(queue, Buffer.from("to nobody"), options, () => events.push("confirmed"));

    expect(await returned).toMatchObject({
      fields: { replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: queue },
      properties: { correlationId: "42" },
      content: Buffer.from("to nobody"),
    });
    await channel.waitForConfirms();
    expect(events).toEqual(["returned", "confirmed"]);
  });

  test("has its channel closed by 404, and its connection not", async () => {
    const queue = broker().queueName("missing");
    const connection = await open(broker().url);
    const channel = await connection.createChannel();
    const closed = nextClose(channel);

    await expect(channel.checkQueue(queue)).rejects.toThrow(
      `404 (NOT-FOUND) with message "NOT_FOUND - no queue '${queue}' in vhost '/'"`,
    );
    expect(await closed).toMatchObject({ code: 404, classId: 50, methodId: 10 });

    const another = await connection.createChannel();
    expect(await another.assertQueue(queue)).toMatchObject({ queue, messageCount: 0 });
  });

  for (const { way, breakIt, reason } of waysToBreak) {
    test(`recovers its consumer after ${way}`, async () => {
      const queue = broker().queueName("recovered");
      const route = await openBreakableRoute(broker());
      const publisher = await (await open(broker().url)).createConfirmChannel();
      await publisher.assertQueue(queue);

      const deliveries: [body: string, redelivered: boolean][] = [];
      const setup = async (model: ChannelModel): Promise<void> => {
        const channel = await model.createChannel();
        await channel.consume(queue, (message) => {
          deliveries.push([message!.content.toString(), message!.fields.redelivered]);
          // What came over the connection that breaks stays unacknowledged.
          if (deliveries.length > 1) channel.ack(message!);
        });
      };
      const connection = await connect(route.url, { recovery: { initialDelay: 10, setup } });
      onTestFinished(() => connection.close());
      // The same error comes with "disconnect".
      connection.on("error", () => {});
      const disconnected = new Promise<Error>((resolve) => connection.on("disconnect", resolve));

      await publish(publisher, queue, "before");
      await expect.poll(() => deliveries).toEqual([["before", false]]);
      breakIt(route);
      expect((await disconnected).message).toMatch(reason);
      await expect.poll(() => deliveries.slice(1)).toEqual([["before", true]]);

      await publish(publisher, queue, "after");
      await expect.poll(() => deliveries.slice(2)).toEqual([["after", false]]);
      expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 1 });
    });
  }
});

async function open(url: string): Promise<ChannelModel> {
  const connection = await connect(url);
  onTestFinished(() => connection.close());
  return connection;
}

function nextClose(channel: Channel): Promise<Error> {
  return new Promise((resolve) => channel.on("error", resolve));
}

async function publish(channel: ConfirmChannel, queue: string, body: string): Promise<void> {
  channel.sendToQueue(queue, Buffer.from(body));
  await channel.waitForConfirms();
}

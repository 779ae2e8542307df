import { AMQPClient, AMQPSession, type AMQPChannel, type AMQPMessage } from "@cloudamqp/amqp-client";
import { expect, onTestFinished, test } from "vitest";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";

describeEachBroker("@cloudamqp/amqp-client", (broker) => {
  test("publishes with confirms, consumes and acknowledges", async () => {
    const queue = broker().queueName("confirmed");
    const channel = await openChannel(broker().url);
    await channel.queueDeclare(queue, { durable: true });
    await channel.confirmSelect();
    const numbers = Array.from({ length: 100 }, (_, index) => index + 1);
    const tags = await Promise.all(
      numbers.map((number) => channel.basicPublish("", queue, `message ${number}`, { deliveryMode: 2 })),
    );
    expect(tags).toEqual(numbers);
    expect(await queueState(broker(), queue)).toEqual({ ready: 100, consumers: 0 });

    const received: AMQPMessage[] = [];
    const consumer = await channel.basicConsume(queue, { noAck: false }, async (message) => {
      received.push(message);
      await message.ack();
    });
    await expect.poll(() => received.length).toBe(100);
    expect(received.map((message) => message.bodyString())).toEqual(
      numbers.map((number) => `message ${number}`),
    );
    expect(received[0].properties).toMatchObject({ deliveryMode: 2 });

    await consumer.cancel();
    await channel.close();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("gets a message back that it negatively acknowledged, marked as redelivered", async () => {
    const queue = broker().queueName("refused");
    const channel = await openChannel(broker().url);
    await channel.queueDeclare(queue);
    await channel.basicPublish("", queue, "try again");

    const redelivered: boolean[] = [];
    await channel.basicConsume(queue, { noAck: false }, async (message) => {
      redelivered.push(message.redelivered);
      await (message.redelivered ? message.ack() : message.nack(true));
    });
    await expect.poll(() => redelivered).toEqual([false, true]);
  });

  test("has an unroutable mandatory message returned with 312 NO_ROUTE, and then confirmed", async () => {
    const queue = broker().queueName("missing");
    const channel = await openChannel(broker().url);
    await channel.confirmSelect();
    const returned: AMQPMessage[] = [];
    channel.onReturn = (message) => returned.push(message);

    expect(await channel.basicPublish("", queue, "to nobody", { correlationId: "42" }, true)).toBe(1);

    // It resolved, so the confirmation has come; the return must have come before it.
    expect(returned).toMatchObject([
      { replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: queue },
    ]);
    expect(returned[0].bodyString()).toBe("to nobody");
    expect(returned[0].properties).toMatchObject({ correlationId: "42" });
  });

  test("has its channel closed by 404, and its connection not", async () => {
    const queue = broker().queueName("missing");
    const channel = await openChannel(broker().url);

    await expect(channel.queueDeclare(queue, { passive: true })).rejects.toThrow(
      `NOT_FOUND - no queue '${queue}' in vhost '/' (404)`,
    );
    expect(channel.closed).toBe(true);

    const another = await channel.connection.channel();
    expect(await another.queueDeclare(queue)).toMatchObject({ name: queue, messageCount: 0 });
  });

  for (const { way, breakIt, reason } of waysToBreak) {
    test(`recovers its consumer after ${way}`, async () => {
      const queue = broker().queueName("recovered");
      const route = await openBreakableRoute(broker());
      const publisher = await openChannel(broker().url);
      await publisher.confirmSelect();

      const disconnected = Promise.withResolvers<Error | undefined>();
      const session = await AMQPSession.connect(route.url, {
        reconnectInterval: 10,
        ondisconnect: disconnected.resolve,
      });
      onTestFinished(() => session.stop());

      const deliveries: [body: string | null, redelivered: boolean][] = [];
      const firstHandled = Promise.withResolvers<void>();
      const subscription = await (
        await session.queue(queue)
      ).subscribe({ noAck: false }, async (message) => {
        deliveries.push([message.bodyString(), message.redelivered]);
        // What came over the connection that breaks stays unacknowledged.
        if (deliveries.length === 1) await firstHandled.promise;
      });
      await publisher.basicPublish("", queue, "before");
      await expect.poll(() => deliveries).toEqual([["before", false]]);

      breakIt(route);
      expect((await disconnected.promise)?.message).toMatch(reason);
      firstHandled.resolve();
      await expect.poll(() => deliveries.slice(1)).toEqual([["before", true]]);

      await publisher.basicPublish("", queue, "after");
      await expect.poll(() => deliveries.slice(2)).toEqual([["after", false]]);
      await subscription.cancel();
      expect(await queueState(broker(), queue)).toMatchObject({ consumers: 0 });
    });
  }
});

async function openChannel(url: string): Promise<AMQPChannel> {
  const client = new AMQPClient(url);
  client.logger = undefined;
  const connection = await client.connect();
  onTestFinished(() => connection.close());
  return connection.channel();
}

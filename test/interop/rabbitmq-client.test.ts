import {
  Connection,
  ConsumerStatus,
  type AsyncMessage,
  type Consumer,
  type ConsumerHandler,
  type ConsumerProps,
  type Publisher,
  type PublisherProps,
  type ReturnedMessage,
} from "rabbitmq-client";
import { expect, onTestFinished, test } from "vitest";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";

describeEachBroker("rabbitmq-client", (broker) => {
  test("publishes with confirms, consumes and acknowledges", async () => {
    const queue = broker().queueName("confirmed");
    const { connection } = open(broker().url);
    const publisher = openPublisher(connection, { queues: [{ queue, durable: true }] });
    const numbers = Array.from({ length: 100 }, (_, index) => index + 1);
    await Promise.all(
      numbers.map((number) => publisher.send({ routingKey: queue, durable: true }, { number })),
    );
    expect(await queueState(broker(), queue)).toEqual({ ready: 100, consumers: 0 });

    const received: AsyncMessage[] = [];
    const options = { queue, queueOptions: { durable: true }, qos: { prefetchCount: 10 } };
    const consumer = openConsumer(connection, options, (message) => {
      received.push(message);
    });
    await expect.poll(() => received.length).toBe(100);
    expect(received.map((message) => message.body)).toEqual(numbers.map((number) => ({ number })));
    expect(received[0]).toMatchObject({ contentType: "application/json", durable: true });

    await consumer.close();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("gets a message back that it negatively acknowledged, marked as redelivered", async () => {
    const queue = broker().queueName("refused");
    const { connection } = open(broker().url);
    const redelivered: boolean[] = [];
    openConsumer(connection, { queue }, (message) => {
      redelivered.push(message.redelivered);
      return message.redelivered ? ConsumerStatus.ACK : ConsumerStatus.REQUEUE;
    });
    const publisher = openPublisher(connection, { queues: [{ queue }] });
    await publisher.send(queue, "try again");

    await expect.poll(() => redelivered).toEqual([false, true]);
  });

  test("has an unroutable mandatory message returned with 312 NO_ROUTE, and confirmed", async () => {
    const queue = broker().queueName("missing");
    const { connection } = open(broker().url);
    const publisher = openPublisher(connection, {});
    const returned = new Promise<ReturnedMessage>((resolve) => publisher.on("basic.return", resolve));

    // It resolves when the confirmation has come.
    await publisher.send({ routingKey: queue, mandatory: true, correlationId: "42" }, "to nobody");

    expect(await returned).toMatchObject({
      replyCode: 312,
      replyText: "NO_ROUTE",
      exchange: "",
      routingKey: queue,
      correlationId: "42",
      body: "to nobody",
    });
  });

  test("has its channel closed by 404, and its connection not", async () => {
    const queue = broker().queueName("missing");
    const { connection, errors } = open(broker().url);
    const channel = await connection.acquire();

    await expect(channel.queueDeclare({ queue, passive: true })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining(`no queue '${queue}' in vhost '/'`),
    });
    expect(channel.active).toBe(false);

    expect(await connection.queueDeclare({ queue })).toMatchObject({ queue, messageCount: 0 });
    expect(errors).toEqual([]);
  });

  for (const { way, breakIt, reason } of waysToBreak) {
    test(`recovers its consumer after ${way}`, async () => {
      const queue = broker().queueName("recovered");
      const route = await openBreakableRoute(broker());
      const publisher = openPublisher(open(broker().url).connection, { queues: [{ queue }] });
      const { connection, errors } = open(route.url);

      const deliveries: [body: string, redelivered: boolean][] = [];
      const firstHandled = Promise.withResolvers<void>();
      const consumer = openConsumer(connection, { queue }, async (message) => {
        deliveries.push([String(message.body), message.redelivered]);
        // What came over the connection that breaks stays unacknowledged.
        if (deliveries.length === 1) await firstHandled.promise;
      });
      await publisher.send(queue, "before");
      await expect.poll(() => deliveries).toEqual([["before", false]]);

      breakIt(route);
      await expect.poll(() => errors.map(String)).toContainEqual(expect.stringMatching(reason));
      firstHandled.resolve();
      await expect.poll(() => deliveries.slice(1)).toEqual([["before", true]]);

      await publisher.send(queue, "after");
      await expect.poll(() => deliveries.slice(2)).toEqual([["after", false]]);
      await consumer.close();
      expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
    });
  }
});

/** This client reports lost connections to "error" listeners, and reconnects by itself. */
function open(url: string): { connection: Connection; errors: unknown[] } {
  const connection = new Connection({ url, retryLow: 10 });
  const errors: unknown[] = [];
  connection.on("error", (error) => errors.push(error));
  onTestFinished(() => connection.close());
  return { connection, errors };
}

function openPublisher(connection: Connection, properties: PublisherProps): Publisher {
  const publisher = connection.createPublisher({ confirm: true, ...properties });
  onTestFinished(() => publisher.close());
  return publisher;
}

function openConsumer(connection: Connection, properties: ConsumerProps, handler: ConsumerHandler): Consumer {
  const consumer = connection.createConsumer(properties, handler);
  // What the broken connection kept it from acknowledging is delivered again, which the tests look for.
  consumer.on("error", () => {});
  onTestFinished(() => consumer.close());
  return consumer;
}

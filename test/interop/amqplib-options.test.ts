import { connect, type Channel, type ConfirmChannel, type ConsumeMessage, type GetMessage } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { describeEachBroker, queueState } from "../support/brokers.ts";

describeEachBroker("amqplib: its options for RabbitMQ", (broker) => {
  test("updateSecret: the credentials of an open connection are renewed", async () => {
    const connection = await connect(broker().url);
    onTestFinished(() => connection.close());
    await connection.updateSecret(Buffer.from(broker().password), "the token was about to expire");
    const channel = await connection.createChannel();
    const queue = broker().queueName("renewed");
    expect(await channel.assertQueue(queue)).toMatchObject({ queue });
  });

  test("alternateExchange: what an exchange cannot route goes to the other", async () => {
    const channel = await openChannel();
    const [exchange, other] = [broker().exchangeName("picky"), broker().exchangeName("collector")];
    const [wanted, unwanted] = [broker().queueName("wanted"), broker().queueName("unwanted")];
    await channel.assertExchange(other, "fanout");
    await channel.assertExchange(exchange, "direct", { alternateExchange: other });
    for (const queue of [wanted, unwanted]) await channel.assertQueue(queue);
    await channel.bindQueue(wanted, exchange, "known");
    await channel.bindQueue(unwanted, other, "");
    const returned: unknown[] = [];
    channel.on("return", (message: ConsumeMessage) => returned.push(message.content.toString()));

    channel.publish(exchange, "known", Buffer.from("one"), { mandatory: true });
    channel.publish(exchange, "unknown", Buffer.from("two"), { mandatory: true });
    await channel.waitForConfirms();
    expect(await contents(channel, wanted)).toEqual(["one"]);
    const message = await getOne(channel, unwanted);
    expect(message).toMatchObject({
      content: Buffer.from("two"),
      fields: { exchange, routingKey: "unknown" },
    });
    expect(returned).toEqual([]);
  });

  test("messageTtl and deadLetterExchange: what nobody takes in time goes on, with its history", async () => {
    const channel = await openChannel();
    const [source, dead] = [broker().queueName("source"), broker().queueName("dead")];
    await channel.assertQueue(dead);
    await channel.assertQueue(source, {
      messageTtl: 50,
      deadLetterExchange: "",
      deadLetterRoutingKey: dead,
    });
    const letter = nextDelivery(channel, dead);
    channel.sendToQueue(source, Buffer.from("late"), { headers: { kept: true } });
    const { properties, fields } = await letter;
    expect(fields.routingKey).toBe(dead);
    expect(properties.headers).toMatchObject({
      kept: true,
      "x-first-death-reason": "expired",
      "x-death": [{ reason: "expired", queue: source, exchange: "", "routing-keys": [source], count: 1 }],
    });
    expect(await queueState(broker(), source)).toEqual({ ready: 0, consumers: 0 });
  });

  test("maxLength and deadLetterExchange: what has no room any more goes on, the oldest first", async () => {
    const channel = await openChannel();
    const exchange = broker().exchangeName("letters");
    const [source, dead] = [broker().queueName("short"), broker().queueName("dead")];
    await channel.assertExchange(exchange, "topic");
    await channel.assertQueue(dead);
    // Without a key of its own, a letter keeps the one that it had.
    await channel.bindQueue(dead, exchange, source);
    await channel.assertQueue(source, { maxLength: 2, deadLetterExchange: exchange });
    for (const body of ["1", "2", "3", "4"]) channel.sendToQueue(source, Buffer.from(body));
    await channel.waitForConfirms();

    await expect.poll(() => queueState(broker(), dead)).toEqual({ ready: 2, consumers: 0 });
    const first = await getOne(channel, dead);
    expect(first).toMatchObject({
      content: Buffer.from("1"),
      fields: { exchange, routingKey: source },
      properties: { headers: { "x-death": [{ reason: "maxlen", queue: source, count: 1 }] } },
    });
    expect(await contents(channel, dead)).toEqual(["2"]);
    expect(await contents(channel, source)).toEqual(["3", "4"]);
  });

  test("maxPriority: the highest first, and in their order among equals", async () => {
    const channel = await openChannel();
    const queue = broker().queueName("priorities");
    await channel.assertQueue(queue, { maxPriority: 5 });
    const sent = { a: 1, b: 5, c: 3, d: 5, e: 9 };
    for (const [body, priority] of Object.entries(sent)) {
      channel.sendToQueue(queue, Buffer.from(body), { priority });
    }
    channel.sendToQueue(queue, Buffer.from("none"));
    await channel.waitForConfirms();
    expect(await contents(channel, queue)).toEqual(["b", "d", "e", "c", "a", "none"]);
  });

  test("expires: a queue that nobody uses is deleted", async () => {
    const channel = await openChannel();
    const queue = broker().queueName("unused");
    await channel.assertQueue(queue, { expires: 100 });
    // Asked less often than it expires, in case that asking counts as use.
    await expect.poll(() => queueState(broker(), queue), { interval: 300, timeout: 5000 }).toBeUndefined();
  });

  test("expiration: a message that has become too old is not there any more", async () => {
    const channel = await openChannel();
    const queue = broker().queueName("aging");
    await channel.assertQueue(queue);
    channel.sendToQueue(queue, Buffer.from("short-lived"), { expiration: 50 });
    channel.sendToQueue(queue, Buffer.from("lasting"));
    await channel.waitForConfirms();
    await expect.poll(() => queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });
    expect(await contents(channel, queue)).toEqual(["lasting"]);
  });

  test("priority of a consumer: the others get what it cannot take", async () => {
    const channel = await openChannel();
    const queue = broker().queueName("consumed");
    await channel.assertQueue(queue);
    const got: Record<string, string[]> = { low: [], high: [] };
    await channel.prefetch(2);
    const consume = (name: string, priority?: number): Promise<unknown> =>
      channel.consume(queue, (message) => message && got[name].push(message.content.toString()), {
        priority,
      });
    await consume("low");
    await consume("high", 10);
    for (const body of ["1", "2", "3"]) channel.sendToQueue(queue, Buffer.from(body));
    await expect.poll(() => got).toEqual({ high: ["1", "2"], low: ["3"] });
  });

  test("CC and BCC: a message goes to more than its key says, and only CC can be seen", async () => {
    const channel = await openChannel();
    const queues = ["to", "cc", "bcc"].map((purpose) => broker().queueName(purpose));
    for (const queue of queues) await channel.assertQueue(queue);
    const [to, cc, bcc] = queues;
    channel.publish("", to, Buffer.from("copies"), { CC: [cc], BCC: bcc });
    await channel.waitForConfirms();
    for (const queue of queues) {
      const message = await getOne(channel, queue);
      expect(message.properties.headers).toEqual({ CC: [cc] });
      expect(message.fields.routingKey).toBe(to);
    }
  });

  test("x-single-active-consumer: one consumer gets everything until it goes", async () => {
    const channel = await openChannel();
    const queue = broker().queueName("single");
    await channel.assertQueue(queue, { arguments: { "x-single-active-consumer": true } });
    const got: string[] = [];
    const consume = (name: string): Promise<{ consumerTag: string }> =>
      channel.consume(queue, (message) => {
        if (!message) return;
        got.push(`${name} ${message.content.toString()}`);
        channel.ack(message);
      });
    const { consumerTag } = await consume("first");
    await consume("second");
    for (const body of ["1", "2"]) channel.sendToQueue(queue, Buffer.from(body));
    await expect.poll(() => got).toEqual(["first 1", "first 2"]);
    await channel.cancel(consumerTag);
    channel.sendToQueue(queue, Buffer.from("3"));
    await expect.poll(() => got).toEqual(["first 1", "first 2", "second 3"]);
  });

  test("amq.rabbitmq.reply-to: answers without a queue for them", async () => {
    const [client, server] = [await openChannel(), await openChannel()];
    const requests = broker().queueName("requests");
    await server.assertQueue(requests);
    await server.consume(requests, (request) => {
      if (!request) return;
      const { replyTo, correlationId } = request.properties;
      const answer = Buffer.from(`${request.content.toString()} answered`);
      server.sendToQueue(String(replyTo), answer, { correlationId });
      server.ack(request);
    });

    const answer = nextDelivery(client, "amq.rabbitmq.reply-to");
    const options = { replyTo: "amq.rabbitmq.reply-to", correlationId: "7" };
    client.sendToQueue(requests, Buffer.from("question"), options);
    expect(await answer).toMatchObject({
      content: Buffer.from("question answered"),
      fields: { exchange: "" },
      properties: { correlationId: "7" },
    });
  });

  async function openChannel(): Promise<ConfirmChannel> {
    const connection = await connect(broker().url);
    // A connection that the broker has closed never answers to close().
    let closed = false;
    connection.on("close", () => (closed = true));
    onTestFinished(async () => {
      if (!closed) await connection.close();
    });
    return connection.createConfirmChannel();
  }
});

/** What is delivered first to a consumer that starts now. */
function nextDelivery(channel: Channel, queue: string): Promise<ConsumeMessage> {
  return new Promise((resolve, reject) => {
    channel.consume(queue, (message) => resolve(message!), { noAck: true }).catch(reject);
  });
}

async function getOne(channel: Channel, queue: string): Promise<GetMessage> {
  const message = await channel.get(queue, { noAck: true });
  if (!message) throw new Error(`${queue} is empty`);
  return message;
}

/** Gets all that is there. */
async function contents(channel: Channel, queue: string): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return bodies;
    bodies.push(message.content.toString());
  }
}

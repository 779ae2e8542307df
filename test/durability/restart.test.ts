/** What survives a restart, and what does not. RabbitMQ takes seconds to restart: all is prepared, then there is one. */
import { connect, type Channel, type ChannelModel, type ConfirmChannel, type Options } from "amqplib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { selectedBrokers, type BrokerName } from "../support/broker-selection.ts";
import { findRabbitmqServer } from "../support/peers.ts";
import { startRestartable, type RestartableBroker } from "../support/restartable-broker.ts";

type Restart = "restart" | "killAndRestart";

const cases: readonly [string, BrokerName, Restart][] = [
  ["warren", "warren", "restart"],
  ["warren, killed", "warren", "killAndRestart"],
  ["rabbitmq", "rabbitmq", "restart"],
];

for (const [title, name, restart] of cases) {
  // A RabbitMQ that was given to the tests is not theirs to restart.
  const isThere = name === "warren" || findRabbitmqServer() !== undefined;
  if (!selectedBrokers.includes(name) || !isThere) continue;

  describe(`a restart [${title}]`, () => {
    let broker: RestartableBroker | undefined;
    let connection: ChannelModel;

    beforeAll(async () => {
      broker = await startRestartable(name);
      const before = await open(broker.url);
      const channel = await before.createConfirmChannel();
      await prepareQueues(channel);
      await prepareMessages(channel);
      await prepareExchanges(channel);
      await prepareOwnedQueues(channel);
      await channel.waitForConfirms();
      const ended = new Promise((resolve) => before.once("close", resolve));
      await broker[restart]!();
      await ended;
      connection = await open(broker.url);
    });

    afterAll(async () => {
      await connection?.close();
      await broker?.stop();
    });

    /** What the broker says against it; undefined when it succeeds. A channel does not outlive its error. */
    async function refusalOf(action: (channel: Channel) => Promise<unknown>): Promise<string | undefined> {
      const channel = await connection.createChannel();
      channel.on("error", () => {});
      try {
        await action(channel);
        await channel.close();
        return undefined;
      } catch (error) {
        return (error as Error).message;
      }
    }

    const queueExists = async (queue: string): Promise<boolean> => {
      const refusal = await refusalOf((channel) => channel.checkQueue(queue));
      if (refusal) expect(refusal).toContain("404 (NOT-FOUND)");
      return !refusal;
    };

    const exchangeExists = async (exchange: string): Promise<boolean> => {
      const refusal = await refusalOf((channel) => channel.checkExchange(exchange));
      if (refusal) expect(refusal).toContain("404 (NOT-FOUND)");
      return !refusal;
    };

    /** Takes all there is. */
    async function bodiesIn(queue: string): Promise<string[]> {
      const channel = await connection.createChannel();
      const bodies: string[] = [];
      for (;;) {
        const message = await channel.get(queue, { noAck: true });
        if (!message) break;
        bodies.push(message.content.toString());
      }
      await channel.close();
      return bodies;
    }

    test("c8 a durable queue survives a restart, a transient one does not; declaring it again with other arguments fails with 406", async () => {
      expect(await queueExists("durable")).toBe(true);
      expect(await queueExists("transient")).toBe(false);
      expect(await queueExists("deleted")).toBe(false);
      const declare = (options: Options.AssertQueue): Promise<string | undefined> =>
        refusalOf((channel) => channel.assertQueue("durable", options));
      expect(await declare({ durable: true, maxLength: 10 })).toBeUndefined();
      const refusal = (argument: string, difference: string): string =>
        `406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - inequivalent arg '${argument}' for queue ` +
        `'durable' in vhost '/': ${difference}"`;
      expect(await declare({ durable: false, maxLength: 10 })).toContain(
        refusal("durable", "received 'false' but current is 'true'"),
      );
      expect(await declare({ durable: true, maxLength: 20 })).toContain(
        refusal("x-max-length", "received '20' but current is '10'"),
      );
      expect(await declare({ durable: true })).toContain(
        refusal("x-max-length", "received none but current is the value '10' of type 'byte'"),
      );
    });

    test("c8 a queue that was deleted and declared again is the new one: empty", async () => {
      expect(await bodiesIn("declared again")).toEqual(["new"]);
    });

    test("c9 a message with delivery_mode 2 survives a restart, one with delivery_mode 1 does not, nor one in a transient queue", async () => {
      expect(await bodiesIn("c9")).toEqual(["persistent 1", "persistent 2"]);
      expect(await queueExists("c9-transient")).toBe(false);
      const channel = await connection.createChannel();
      await channel.assertQueue("c9-transient", { durable: false, autoDelete: true });
      await channel.close();
      expect(await bodiesIn("c9-transient")).toEqual([]);
    });

    test("c9 properties, headers and body come back as they were, also of a long message", async () => {
      const channel = await connection.createChannel();
      for (const length of messageLengths) {
        const message = await channel.get("whole", { noAck: true });
        if (!message) throw new Error(`the message of ${length} bytes is gone`);
        expect(message.content.equals(bodyOf(length))).toBe(true);
        expect(message.properties).toMatchObject(properties);
        expect(message.fields).toMatchObject({
          exchange: "",
          routingKey: "whole",
          redelivered: restart !== "restart",
        });
      }
      await channel.close();
    });

    test("b6 messages are kept while no consumer is there, also across a restart", async () => {
      expect(await bodiesIn("b6")).toEqual(numbers(0, 200));
    });

    test("b6 no more than the queue's maximum length of them, the newest", async () => {
      expect(await bodiesIn("b6-limited")).toEqual(numbers(190, 200));
      const channel = await connection.createConfirmChannel();
      for (const body of numbers(0, 15)) channel.sendToQueue("b6-limited", Buffer.from(body));
      await channel.waitForConfirms();
      await channel.close();
      expect(await bodiesIn("b6-limited")).toEqual(numbers(5, 15));
    });

    test("durable exchanges survive, with their types; transient and deleted ones do not", async () => {
      for (const type of ["direct", "fanout", "topic", "headers"]) {
        expect(await exchangeExists(`durable ${type}`)).toBe(true);
        expect(await exchangeExists(`transient ${type}`)).toBe(false);
        const refusal = await refusalOf((channel) =>
          channel.assertExchange(`durable ${type}`, type === "direct" ? "fanout" : "direct"),
        );
        expect(refusal).toContain("inequivalent arg 'type'");
      }
      expect(await exchangeExists("deleted")).toBe(false);
      const refusal = await refusalOf((channel) => channel.assertExchange("internal", "fanout"));
      expect(refusal).toContain("inequivalent arg 'internal'");
    });

    test("bindings between what is durable survive, with their keys and arguments", async () => {
      const channel = await connection.createConfirmChannel();
      const publish = (exchange: string, key: string, headers?: Record<string, unknown>): void => {
        const body = Buffer.from(`${exchange} ${key}${headers ? ` ${JSON.stringify(headers)}` : ""}`);
        channel.publish(exchange, key, body, { headers });
      };
      publish("durable direct", "key");
      publish("durable direct", "other key");
      publish("durable direct", "unbound");
      publish("durable fanout", "any");
      publish("durable topic", "task.created.now");
      publish("durable topic", "task.created");
      publish("durable headers", "", { priority: 1, colour: "red" });
      publish("durable headers", "", { priority: 1, colour: "blue" });
      publish("durable headers", "", { colour: "green" });
      await channel.waitForConfirms();
      await channel.close();
      expect(await bodiesIn("bound")).toEqual([
        "durable direct key",
        "durable fanout any",
        "durable topic task.created.now",
        'durable headers  {"priority":1,"colour":"red"}',
        'durable headers  {"colour":"green"}',
      ]);
    });

    test("bindings between exchanges survive", async () => {
      const channel = await connection.createConfirmChannel();
      channel.publish("outer", "a.b", Buffer.from("through internal"));
      channel.publish("outer", "a.c", Buffer.from("not bound"));
      await channel.waitForConfirms();
      await channel.close();
      expect(await bodiesIn("behind")).toEqual(["through internal"]);
    });

    test("a binding to or from what is transient does not survive, even when that is declared again", async () => {
      const channel = await connection.createConfirmChannel();
      await channel.assertQueue("transient end", { durable: false });
      await channel.assertExchange("transient start", "fanout", { durable: false });
      const returned: string[] = [];
      channel.on("return", (message: { content: Buffer }) => returned.push(message.content.toString()));
      channel.publish("durable start", "", Buffer.from("to a transient queue"), { mandatory: true });
      channel.publish("transient start", "", Buffer.from("from a transient exchange"), { mandatory: true });
      await channel.waitForConfirms();
      expect(returned).toEqual(["to a transient queue", "from a transient exchange"]);
      await channel.deleteQueue("transient end");
      await channel.deleteExchange("transient start");
      await channel.close();
    });

    test("an exclusive durable queue ends with its connection, and so with the broker", async () => {
      expect(await queueExists("exclusive")).toBe(false);
      const channel = await connection.createChannel();
      await channel.assertQueue("exclusive", { durable: true, exclusive: true });
      await channel.close();
      expect(await bodiesIn("exclusive")).toEqual([]);
    });

    test("an auto-delete durable queue without a consumer yet survives", async () => {
      expect(await queueExists("auto-delete, unused")).toBe(true);
      expect(await bodiesIn("auto-delete, unused")).toEqual(["kept"]);
    });

    // Nobody cancels the consumers of a broker that is killed.
    test.runIf(restart === "restart")(
      "an auto-delete durable queue whose last consumer ends with the broker does not survive",
      async () => {
        expect(await queueExists("auto-delete, used")).toBe(false);
      },
    );
  });
}

async function open(url: string): Promise<ChannelModel> {
  const connection = await connect(url);
  // The broker is going to be stopped.
  connection.on("error", () => {});
  return connection;
}

const persistent = { persistent: true };
const messageLengths = [0, 10, 5_000, 200_000, 3_000_000];
const properties = {
  contentType: "application/json",
  contentEncoding: "utf-8",
  headers: { "x-attempt": 3, text: "ä", nested: { list: [1, "two", true] } },
  deliveryMode: 2,
  priority: 4,
  correlationId: "c",
  replyTo: "r",
  messageId: "m",
  timestamp: 1_700_000_000,
  type: "t",
  appId: "a",
};

async function prepareQueues(channel: ConfirmChannel): Promise<void> {
  await channel.assertQueue("durable", { durable: true, maxLength: 10 });
  await channel.assertQueue("transient", { durable: false });
  await channel.assertQueue("deleted", { durable: true });
  await channel.deleteQueue("deleted");

  await channel.assertQueue("declared again", { durable: true });
  channel.sendToQueue("declared again", Buffer.from("old"), persistent);
  await channel.waitForConfirms();
  await channel.deleteQueue("declared again");
  await channel.assertQueue("declared again", { durable: true });
  channel.sendToQueue("declared again", Buffer.from("new"), persistent);
}

async function prepareMessages(channel: ConfirmChannel): Promise<void> {
  await channel.assertQueue("c9", { durable: true });
  await channel.assertQueue("c9-transient", { durable: false });
  channel.sendToQueue("c9", Buffer.from("persistent 1"), { deliveryMode: 2 });
  channel.sendToQueue("c9", Buffer.from("transient"), { deliveryMode: 1 });
  channel.sendToQueue("c9", Buffer.from("unmarked"));
  channel.sendToQueue("c9", Buffer.from("persistent 2"), { deliveryMode: 2 });
  channel.sendToQueue("c9-transient", Buffer.from("persistent"), { deliveryMode: 2 });

  await channel.assertQueue("whole", { durable: true });
  for (const length of messageLengths) channel.sendToQueue("whole", bodyOf(length), properties);

  await channel.assertQueue("b6", { durable: true });
  await channel.assertQueue("b6-limited", { durable: true, maxLength: 10 });
  for (const body of numbers(0, 200)) {
    channel.sendToQueue("b6", Buffer.from(body), persistent);
    channel.sendToQueue("b6-limited", Buffer.from(body), persistent);
  }
}

async function prepareExchanges(channel: ConfirmChannel): Promise<void> {
  for (const type of ["direct", "fanout", "topic", "headers"]) {
    await channel.assertExchange(`durable ${type}`, type, { durable: true });
    await channel.assertExchange(`transient ${type}`, type, { durable: false });
  }
  await channel.assertExchange("deleted", "direct", { durable: true });
  await channel.deleteExchange("deleted");

  await channel.assertQueue("bound", { durable: true });
  await channel.bindQueue("bound", "durable direct", "key");
  await channel.bindQueue("bound", "durable direct", "unbound");
  await channel.unbindQueue("bound", "durable direct", "unbound");
  await channel.bindQueue("bound", "durable fanout", "");
  await channel.bindQueue("bound", "durable topic", "task.*.now");
  await channel.bindQueue("bound", "durable headers", "", { "x-match": "all", priority: 1, colour: "red" });
  await channel.bindQueue("bound", "durable headers", "", { "x-match": "any", colour: "green", size: 7 });

  await channel.assertQueue("behind", { durable: true });
  await channel.assertExchange("outer", "topic", { durable: true });
  await channel.assertExchange("internal", "fanout", { durable: true, internal: true });
  await channel.bindExchange("internal", "outer", "*.b");
  await channel.bindQueue("behind", "internal", "");

  await channel.assertQueue("transient end", { durable: false });
  await channel.assertExchange("durable start", "fanout", { durable: true });
  await channel.bindQueue("transient end", "durable start", "");
  await channel.assertQueue("durable end", { durable: true });
  await channel.assertExchange("transient start", "fanout", { durable: false });
  await channel.bindQueue("durable end", "transient start", "");
}

async function prepareOwnedQueues(channel: ConfirmChannel): Promise<void> {
  await channel.assertQueue("exclusive", { durable: true, exclusive: true });
  channel.sendToQueue("exclusive", Buffer.from("lost"), persistent);
  await channel.assertQueue("auto-delete, unused", { durable: true, autoDelete: true });
  channel.sendToQueue("auto-delete, unused", Buffer.from("kept"), persistent);
  await channel.assertQueue("auto-delete, used", { durable: true, autoDelete: true });
  await channel.consume("auto-delete, used", () => {});
}

function bodyOf(length: number): Buffer {
  return Buffer.alloc(length, "0123456789abcdef!");
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => String(from + index));
}

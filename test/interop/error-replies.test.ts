import { connect, type ConfirmChannel } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { describeEachBroker } from "../support/brokers.ts";
import { closeTheChannel, closeTheConnection, type Mistake, type Names } from "./mistakes.ts";

describeEachBroker("error replies", (broker) => {
  for (const mistake of closeTheChannel) {
    test(`${mistake.name} closes the channel`, async () => {
      const { channel, closed, names } = await prepare();
      expect(await outcome(mistake, channel, closed, names)).toEqual({
        closes: "channel",
        reply: expect.stringContaining(fill(mistake.reply, names)),
      });
    });
  }

  for (const mistake of closeTheConnection) {
    test(`${mistake.name} closes the connection`, async () => {
      const { channel, closed, names } = await prepare();
      expect(await outcome(mistake, channel, closed, names)).toEqual({
        closes: "connection",
        reply: expect.stringContaining(fill(mistake.reply, names)),
      });
    });
  }

  test("what is not there can be deleted, unbound and cancelled without an error", async () => {
    const { channel, names } = await prepare();
    expect(await channel.deleteQueue("missing")).toEqual({ messageCount: 0 });
    await channel.deleteExchange("missing");
    await channel.unbindQueue(names.queue, names.exchange, "no such key");
    await channel.unbindQueue("missing", names.exchange, "key");
    await channel.cancel("missing");
    expect(await channel.checkQueue(names.queue)).toMatchObject({ consumerCount: 0 });
  });

  test("a queue name that is left out means the queue last declared on the channel", async () => {
    const { channel, names } = await prepare();
    channel.sendToQueue(names.queue, Buffer.from("here"));
    await channel.waitForConfirms();
    expect(await channel.get("", { noAck: true })).toMatchObject({ content: Buffer.from("here") });

    const fresh = await broker().observer.createChannel();
    fresh.on("error", () => {});
    await expect(fresh.get("")).rejects.toThrow("NOT_FOUND - no previously declared queue");
  });

  test("a consumer is told when its queue is deleted (basic.cancel)", async () => {
    const { channel, names } = await prepare();
    const told: unknown[] = [];
    await channel.consume(names.queue, (message) => told.push(message));
    await channel.deleteQueue(names.queue);
    await expect.poll(() => told).toEqual([null]);
  });

  /** A channel to make a mistake on, and what becomes of it. */
  async function prepare(): Promise<{ channel: ConfirmChannel; closed: Promise<Outcome>; names: Names }> {
    const names = {
      queue: broker().queueName("queue"),
      exchange: broker().exchangeName("exchange"),
      locked: broker().queueName("locked"),
    };
    const holder = await connect(broker().url);
    onTestFinished(() => holder.close());
    await (await holder.createChannel()).assertQueue(names.locked, { exclusive: true });

    const connection = await connect(broker().url);
    let open = true;
    connection.on("close", () => (open = false));
    onTestFinished(async () => {
      if (open) await connection.close();
    });
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(names.queue, { durable: true });
    await channel.assertExchange(names.exchange, "topic", { durable: true });
    await channel.bindQueue(names.queue, names.exchange, "key");

    const closed = new Promise<Outcome>((resolve) => {
      channel.on("error", (error) => resolve({ closes: "channel", reply: replyIn(error) }));
      connection.on("error", (error) => resolve({ closes: "connection", reply: replyIn(error) }));
    });
    return { channel, closed, names };
  }
});

interface Outcome {
  closes: "channel" | "connection" | "nothing";
  reply: string;
}

async function outcome(
  mistake: Mistake,
  channel: ConfirmChannel,
  closed: Promise<Outcome>,
  names: Names,
): Promise<Outcome> {
  const accepted: Outcome = { closes: "nothing", reply: "the broker took it" };
  const made = mistake.make(channel, names).then(
    () => accepted,
    () => closed,
  );
  return Promise.race([closed, made]);
}

/** The reply's code and text, out of what this client makes of it. */
function replyIn(error: Error): string {
  const [, code, text] = /(\d{3}) \([A-Z-]+\) with message "(.*)"$/.exec(error.message) ?? [];
  return code ? `${code} ${text}` : error.message;
}

function fill(reply: string, names: Names): string {
  return Object.entries(names).reduce((text, [name, value]) => text.replace(`$${name}`, value), reply);
}

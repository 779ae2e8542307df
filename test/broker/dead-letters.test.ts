/** What Warren does beyond what RabbitMQ 3.10 shows: see test/differential/ for all the rest. */
import { expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import { Session } from "../differential/session.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

async function start(options: BrokerOptions = {}): Promise<{ broker: Broker; session: Session }> {
  const broker = await startBroker({ port: 0, ...options });
  onTestFinished(() => broker.stop(100));
  return { broker, session: await Session.open(broker.port, "") };
}

test("the headers x-last-death-… name the latest death, as in RabbitMQ 3.13", async () => {
  const { broker } = await start();
  const { connect } = await import("amqplib");
  const connection = await connect(broker.url);
  onTestFinished(() => connection.close());
  const channel = await connection.createChannel();
  await channel.assertExchange("x", "fanout");
  await channel.assertExchange("y", "fanout");
  await channel.assertQueue("first", { deadLetterExchange: "x" });
  await channel.assertQueue("second", { deadLetterExchange: "y", messageTtl: 20 });
  await channel.assertQueue("third");
  await channel.bindQueue("second", "x", "");
  await channel.bindQueue("third", "y", "");
  await channel.consume("first", (message) => channel.nack(message!, false, false));
  const letter = new Promise<Record<string, unknown>>((resolve) => {
    void channel.consume("third", (message) => resolve(message!.properties.headers!), { noAck: true });
  });
  channel.sendToQueue("first", Buffer.from("dies twice"));
  expect(await letter).toMatchObject({
    "x-first-death-queue": "first",
    "x-first-death-reason": "rejected",
    "x-first-death-exchange": "",
    "x-last-death-queue": "second",
    "x-last-death-reason": "expired",
    "x-last-death-exchange": "x",
  });
});

test("at-least-once: dead letters wait until a queue takes them, and then come in order", async () => {
  const clock = new ManualClock(1_700_000_000_000);
  const { session } = await start({ clock, heartbeatSeconds: 0 });
  await session.declare(
    "q",
    {
      "x-queue-type": "quorum",
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
      "x-dead-letter-exchange": "dlx",
    },
    { durable: true },
  );
  for (const body of ["1", "2", "3"]) {
    await session.publish("", "q", body);
    session.reject((await session.get("q"))!, false);
  }
  await session.settled();
  clock.advance(5000);
  await session.declareExchange("dlx", "fanout");
  clock.advance(5000);
  await session.declare("dead", { "x-max-length": 2, "x-overflow": "reject-publish" });
  await session.bind("dead", "dlx", "");
  clock.advance(1000);
  await session.until("dead", 2);
  expect(await bodies(session, "dead")).toEqual(["1", "2"]);
  clock.advance(1000);
  await session.until("dead", 1);
  expect(await bodies(session, "dead")).toEqual(["3"]);
});

test("without at-least-once they are gone, as in RabbitMQ", async () => {
  const { broker, session } = await start();
  await session.declare(
    "q",
    { "x-queue-type": "quorum", "x-dead-letter-exchange": "dlx" },
    { durable: true },
  );
  await session.publish("", "q", "gone");
  session.reject((await session.get("q"))!, false);
  await session.settled();
  await expect.poll(() => broker.usage().messages).toBe(0);
});

test("100 000 messages that expire at once are moved without holding up other clients", async () => {
  const { broker, session } = await start();
  await session.declareExchange("dlx", "fanout");
  await session.declare("dead");
  await session.bind("dead", "dlx", "");
  await session.declare("q", { "x-message-ttl": 400, "x-dead-letter-exchange": "dlx" });
  const { connect } = await import("amqplib");
  const connection = await connect(broker.url);
  onTestFinished(() => connection.close());
  const channel = await connection.createConfirmChannel();
  for (let number = 0; number < 100_000; number++) channel.sendToQueue("q", Buffer.from(String(number)));
  await channel.waitForConfirms();
  const counts = new Set<number>();
  while (!counts.has(100_000)) counts.add((await channel.checkQueue("dead")).messageCount);
  expect((await channel.checkQueue("q")).messageCount).toBe(0);
  // It was answered again and again while they were being moved.
  expect(counts.size).toBeGreaterThan(10);
  const first = await channel.get("dead", { noAck: true });
  expect(first && first.content.toString()).toBe("0");
});

async function bodies(session: Session, queue: string): Promise<string[]> {
  session.transcript.length = 0;
  await session.drain(queue);
  const [[, messages]] = session.transcript as [string, { body: string }[]][];
  return messages.map(({ body }) => body);
}

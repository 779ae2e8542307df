import { expect, test } from "vitest";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { deliveredUntilNow } from "../support/deliveries.ts";
import { startProgram, type Program } from "../support/program.ts";

describeEachBroker("pika: exchanges and bindings", (broker) => {
  test("c11 an exchange appends to one queue, to many, or discards", async () => {
    const logs = broker().exchangeName("logs");
    await emit(broker(), logs, "fanout", "to nobody");

    const first = await subscribe(broker(), logs, "fanout");
    await emit(broker(), logs, "fanout", "to one");
    const second = await subscribe(broker(), logs, "fanout");
    await emit(broker(), logs, "fanout", "to both");

    expect(await delivered(broker(), first)).toEqual(["to one", "to both"]);
    expect(await delivered(broker(), second)).toEqual(["to both"]);
  });

  test("c12 a fanout exchange copies to every queue, whatever the key", async () => {
    const logs = broker().exchangeName("logs");
    const subscribers = [
      await subscribe(broker(), logs, "fanout"),
      await subscribe(broker(), logs, "fanout", "--key", "ignored"),
    ];
    await emit(broker(), logs, "fanout", "to all");
    for (const subscriber of subscribers) {
      expect(await subscriber.program.next("received")).toMatchObject({
        body: "to all",
        exchange: logs,
        routing_key: "",
      });
    }
  });

  test("c12 b7 a direct exchange pushes to the queues bound with the very key", async () => {
    const exchange = broker().exchangeName("direct");
    const errors = await subscribe(broker(), exchange, "direct", "--key", "error");
    const all = await subscribe(broker(), exchange, "direct", "--key", "info", "--key", "error");

    await emit(broker(), exchange, "direct", "fine", "--key", "info");
    await emit(broker(), exchange, "direct", "of no interest", "--key", "debug");
    await emit(broker(), exchange, "direct", "broken", "--key", "error");

    // The consumers only listened: nothing here asks the broker for a message.
    expect(await delivered(broker(), all)).toEqual(["fine", "broken"]);
    expect(await delivered(broker(), errors)).toEqual(["broken"]);
  });

  test("c12 a topic exchange matches words: * is one, # is any number", async () => {
    const exchange = broker().exchangeName("topic");
    const keys = ["kern.critical", "kern", "kern.disk.full", "cron.critical", "a.z", "a.b.c.z", ""];
    const expected = {
      "kern.*": ["kern.critical"],
      "*.critical": ["kern.critical", "cron.critical"],
      "kern.#": ["kern.critical", "kern", "kern.disk.full"],
      "a.#.z": ["a.z", "a.b.c.z"],
      kern: ["kern"],
      "#": keys,
    };
    const subscribers = await Promise.all(
      Object.keys(expected).map((pattern) => subscribe(broker(), exchange, "topic", "--key", pattern)),
    );
    // The body repeats the key.
    for (const key of keys) await emit(broker(), exchange, "topic", key, "--key", key);

    const received = await Promise.all(subscribers.map((subscriber) => delivered(broker(), subscriber)));
    expect(received).toEqual(Object.values(expected));
  });

  test("c12 a headers exchange matches all of the headers, or any", async () => {
    const exchange = broker().exchangeName("headers");
    const wanted = ["--header", "format=pdf", "--header", "kind=report"];
    const all = await subscribe(broker(), exchange, "headers", "--match", "all", ...wanted);
    const any = await subscribe(broker(), exchange, "headers", "--match", "any", ...wanted);

    await emit(broker(), exchange, "headers", "one of two", "--header", "format=pdf");
    await emit(broker(), exchange, "headers", "none of them", "--header", "format=zip");
    await emit(broker(), exchange, "headers", "both", ...wanted, "--header", "extra=1");

    expect(await delivered(broker(), any)).toEqual(["one of two", "both"]);
    expect(await delivered(broker(), all)).toEqual(["both"]);
  });

  test("c13 a queue without a name is named by the server, and is deleted with its connection", async () => {
    const logs = broker().exchangeName("logs");
    const stopped = await subscribe(broker(), logs, "fanout");
    const killed = await subscribe(broker(), logs, "fanout");
    const queues = [stopped.queue, killed.queue];
    expect(queues).toEqual([expect.stringMatching(/^amq\.gen-.+/), expect.stringMatching(/^amq\.gen-.+/)]);
    expect(stopped.queue).not.toBe(killed.queue);

    await stopped.program.stop();
    await killed.program.kill();
    for (const queue of queues) await expect.poll(() => queueState(broker(), queue)).toBeUndefined();
  });

  test("c14 a binding made twice routes one copy; once removed it routes none", async () => {
    const [exchange, queue] = [broker().exchangeName("direct"), broker().queueName("bound")];
    const bind = (...options: string[]): Promise<void> =>
      startProgram(broker(), "pika/bind.py", ...options, exchange, queue, "orders").finished();

    await bind();
    await bind();
    await emit(broker(), exchange, "direct", "routed", "--key", "orders");
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });

    await bind("--remove");
    await emit(broker(), exchange, "direct", "not routed", "--key", "orders");
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });
    // Removing what is not there is no error.
    await bind("--remove");
  });

  test("c14 a queue bound twice to one exchange gets one copy of a message that matches both", async () => {
    const exchange = broker().exchangeName("topic");
    const subscriber = await subscribe(broker(), exchange, "topic", "--key", "a.*", "--key", "*.b");
    await emit(broker(), exchange, "topic", "both", "--key", "a.b");
    await emit(broker(), exchange, "topic", "one", "--key", "c.b");
    expect(await delivered(broker(), subscriber)).toEqual(["both", "one"]);
  });
});

interface Subscriber {
  program: Program;
  /** The queue that the broker has named. */
  queue: string;
}

async function subscribe(
  broker: BrokerUnderTest,
  exchange: string,
  type: string,
  ...options: string[]
): Promise<Subscriber> {
  const program = startProgram(
    broker,
    "pika/subscribe.py",
    "--exchange",
    exchange,
    "--type",
    type,
    ...options,
  );
  const { queue } = await program.next("ready");
  return { program, queue: String(queue) };
}

async function emit(
  broker: BrokerUnderTest,
  exchange: string,
  type: string,
  body: string,
  ...options: string[]
): Promise<void> {
  await startProgram(
    broker,
    "pika/emit.py",
    "--exchange",
    exchange,
    "--type",
    type,
    ...options,
    body,
  ).finished();
}

async function delivered(broker: BrokerUnderTest, subscriber: Subscriber): Promise<unknown[]> {
  return deliveredUntilNow(broker, subscriber.program, subscriber.queue);
}

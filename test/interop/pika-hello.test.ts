import { expect, test } from "vitest";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { deliveredUntilNow } from "../support/deliveries.ts";
import { startProgram } from "../support/program.ts";

describeEachBroker("pika: one producer, one queue, one consumer", (broker) => {
  test("c1 the default exchange routes by queue name", async () => {
    const [queue, other] = [broker().queueName("hello"), broker().queueName("other")];
    const receiver = startProgram(broker(), "pika/receive.py", queue);
    const otherReceiver = startProgram(broker(), "pika/receive.py", other);
    await Promise.all([receiver.next("ready"), otherReceiver.next("ready")]);

    await startProgram(broker(), "pika/send.py", queue, "Hello World!").finished();
    await startProgram(broker(), "pika/send.py", other, "not for hello").finished();

    expect(await receiver.next("received")).toMatchObject({
      body: "Hello World!",
      exchange: "",
      routing_key: queue,
      redelivered: false,
    });
    expect(await deliveredUntilNow(broker(), receiver, queue)).toEqual([]);
    expect(await deliveredUntilNow(broker(), otherReceiver, other)).toEqual(["not for hello"]);
  });

  test("b1 producers and consumers are processes that start, stop and scale on their own", async () => {
    const queue = broker().queueName("hello");
    const first = startProgram(broker(), "pika/receive.py", queue);
    await first.next("ready");
    await startProgram(broker(), "pika/send.py", queue, "one").finished();
    expect(await first.next("received")).toMatchObject({ body: "one" });
    await first.stop();

    // No consumer runs while two producers do.
    await Promise.all([
      startProgram(broker(), "pika/send.py", queue, "two").finished(),
      startProgram(broker(), "pika/send.py", queue, "three").finished(),
    ]);
    expect(await queueState(broker(), queue)).toEqual({ ready: 2, consumers: 0 });

    const later = [
      startProgram(broker(), "pika/receive.py", queue),
      startProgram(broker(), "pika/receive.py", queue),
    ];
    await Promise.all(later.map((receiver) => receiver.next("ready")));
    await startProgram(broker(), "pika/send.py", queue, "four", "five").finished();
    const received = (): unknown[] => later.flatMap((receiver) => bodies(receiver.untaken("received")));
    await expect.poll(() => received().length).toBe(4);
    expect(new Set(received())).toEqual(new Set(["two", "three", "four", "five"]));
    await Promise.all(later.map((receiver) => receiver.stop()));
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("b5 one producer's messages are delivered in its order", async () => {
    const queue = broker().queueName("sequence");
    const receiver = startProgram(broker(), "pika/receive.py", queue);
    await receiver.next("ready");

    await startProgram(broker(), "pika/send.py", "--count", "500", queue).finished();

    const inOrder = Array.from({ length: 500 }, (_, index) => String(index + 1));
    expect(bodies(await receiver.take("received", 500))).toEqual(inOrder);
  });

  test("b6 messages are kept while there is no consumer", async () => {
    const queue = broker().queueName("kept");
    await startProgram(broker(), "pika/send.py", queue, "early").finished();
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });

    const receiver = startProgram(broker(), "pika/receive.py", queue);
    expect(await receiver.next("received")).toMatchObject({ body: "early", redelivered: false });
  });

  test("b6 messages are kept up to the queue's maximum length, the newest ones", async () => {
    const queue = broker().queueName("short");
    await startProgram(broker(), "pika/send.py", "--max-length", "3", "--count", "5", queue).finished();
    expect(await queueState(broker(), queue)).toEqual({ ready: 3, consumers: 0 });

    const receiver = startProgram(broker(), "pika/receive.py", "--max-length", "3", queue);
    expect(bodies(await receiver.take("received", 3))).toEqual(["3", "4", "5"]);
  });

  test("c2 declaring is idempotent, on both sides", async () => {
    const queue = broker().queueName("hello");
    await startProgram(broker(), "pika/send.py", queue, "first").finished();
    await startProgram(broker(), "pika/send.py", queue, "second").finished();

    const receiver = startProgram(broker(), "pika/receive.py", queue);
    expect(bodies(await receiver.take("received", 2))).toEqual(["first", "second"]);
  });

  test("c2 a message to a missing queue is dropped, and returned if it is mandatory", async () => {
    const queue = broker().queueName("missing");
    await startProgram(broker(), "pika/send.py", "--undeclared", queue, "lost").finished();
    expect(await queueState(broker(), queue)).toBeUndefined();

    const producer = startProgram(broker(), "pika/new_task.py", "--undeclared", queue, "noticed");
    expect(await producer.next("returned")).toMatchObject({
      task: "noticed",
      reply_code: 312,
      reply_text: "NO_ROUTE",
    });
    await producer.finished();

    await startProgram(broker(), "pika/send.py", queue, "kept").finished();
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });
  });

  test("c3 closing the connection flushes what was published", async () => {
    const queue = broker().queueName("flushed");
    await startProgram(broker(), "pika/send.py", "--count", "5000", queue).finished();
    // The producer has ended, and close-ok came after all that it had sent.
    expect(await queueState(broker(), queue)).toEqual({ ready: 5000, consumers: 0 });
  });
});

function bodies(received: readonly Record<string, unknown>[]): unknown[] {
  return received.map((event) => event["body"]);
}

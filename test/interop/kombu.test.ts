import { expect, test } from "vitest";
import { openBreakableRoute } from "../support/broken-connection.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

describeEachBroker("kombu", (broker) => {
  test("a Producer is confirmed and returned what is unroutable, a Consumer requeues and acknowledges", async () => {
    const [exchange, queue] = [broker().exchangeName("tasks"), broker().queueName("tasks")];
    const program = startProgram(broker(), "kombu/produce_consume.py", exchange, queue);
    await program.finished();
    expect(program.untaken("returned")).toMatchObject([
      { exchange, routing_key: "nobody.listens", body: '{"key": "nobody.listens"}' },
    ]);
    const message = {
      body: { key: "task.summarise" },
      routing_key: "task.summarise",
      headers: { trace: "abc" },
      content_type: "application/json",
      delivery_mode: 2,
    };
    expect(program.untaken("received")).toMatchObject([
      { ...message, redelivered: false },
      { ...message, redelivered: true },
    ]);
    expect(program.untaken("drained")).toHaveLength(1);
    expect(program.untaken("refused")).toMatchObject([
      { text: expect.stringContaining("inequivalent arg 'durable'") },
    ]);
  });

  test("a SimpleQueue puts, gets, requeues, rejects, counts and clears", async () => {
    const queue = broker().queueName("simple");
    const program = startProgram(broker(), "kombu/simple_queue.py", queue);
    await program.finished();
    expect(program.untaken("got")).toMatchObject([
      { payload: { number: 0 } },
      { payload: { number: 0 }, redelivered: true },
      { payload: [{ number: 1 }, { number: 2 }] },
    ]);
    expect(program.untaken("empty")).toHaveLength(1);
    // What was put last goes to the consumer that SimpleQueue has by then.
    expect(program.untaken("size")).toMatchObject([{ size: 0 }]);
    expect(program.untaken("cleared")).toHaveLength(1);
  });

  test("a priority queue gives the highest first, and what expires in it is dead-lettered", async () => {
    const [queue, dead] = [broker().queueName("priorities"), broker().queueName("dead")];
    const program = startProgram(broker(), "kombu/priorities.py", queue, dead);
    await program.finished();
    expect(program.untaken("expired")).toMatchObject([{ body: "short-lived" }]);
    expect(program.untaken("order")).toMatchObject([
      { bodies: ["beyond", "high", "high too", "middle", "low", "none"] },
    ]);
  });

  test("a ConsumerMixin consumes again after the broker has closed its connection", async () => {
    const queue = broker().queueName("mixin");
    const route = await openBreakableRoute(broker());
    const worker = startProgram({ ...broker(), ...route }, "kombu/mixin_worker.py", queue);
    await worker.next("ready");
    const producer = startProgram(broker(), "kombu/retrying_producer.py", queue);
    producer.say("before");
    expect(await worker.next("received")).toMatchObject({ body: { text: "before" }, redelivered: false });

    route.provokeBroker();
    await worker.next("ready");
    expect(await worker.next("received")).toMatchObject({ body: { text: "before" }, redelivered: true });
    producer.say("after");
    expect(await worker.next("received")).toMatchObject({ body: { text: "after" }, redelivered: false });
    await worker.stop();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("a Producer publishes by its retry policy after the network has cut its connection", async () => {
    const queue = broker().queueName("retried");
    const route = await openBreakableRoute(broker());
    const producer = startProgram({ ...broker(), ...route }, "kombu/retrying_producer.py", queue);
    await producer.next("ready");
    producer.say("before");
    await producer.next("confirmed");
    route.cut();
    producer.say("after");
    expect(await producer.next("confirmed")).toMatchObject({ text: "after" });
    expect(producer.untaken("trying again").length).toBeGreaterThan(0);
    expect(await queueState(broker(), queue)).toEqual({ ready: 2, consumers: 0 });
  });
});

/** Tasks beside the programs of seed 003 as they are, and over connections that break. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { connect, defineTask, Fatal, type Bus, type ConnectOptions } from "../../src/tasks/index.ts";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

/** The queue of seed 003, as its programs declare it. */
function agentTasks(broker: BrokerUnderTest) {
  const [exchange, failed] = [broker.exchangeName("agent_dlx"), broker.queueName("failed_tasks")];
  const name = broker.queueName("agent_tasks");
  const deadLetter = { exchange, routingKey: failed, queue: failed };
  return { queue: { name, maxPriority: 10, ttl: 300_000, deadLetter }, exchange, failed };
}

async function open(target: Parameters<typeof connect>[0], options: ConnectOptions = {}): Promise<Bus> {
  const bus = await connect(target, options);
  onTestFinished(() => bus.close());
  return bus;
}

describeEachBroker("tasks and the programs of seed 003", (broker) => {
  test("d2 d5 d6 d7 a pika producer feeds our worker, by task type", async () => {
    const { queue, exchange, failed } = agentTasks(broker());
    const bus = await open(broker().url);
    const done: unknown[] = [];
    const [summarise, code] = [defineTask("summarise", { queue }), defineTask("code", { queue })];
    await bus
      .worker({ concurrency: 1 })
      .on(
        summarise,
        (input, { taskId, headers }) => void done.push({ type: "summarise", input, taskId, headers }),
      )
      .on(code, (input, { taskId }) => void done.push({ type: "code", input, taskId }))
      .start();
    // The queue exists by now: the producer declares it with the same arguments, or is refused.
    const producer = startProgram(
      broker(),
      "pika/agent_task_producer.py",
      queue.name,
      exchange,
      failed,
      JSON.stringify({ task_type: "summarise", payload: { page: 1 } }),
      JSON.stringify({ task_type: "code", payload: ["x"], priority: 9 }),
    );
    await producer.finished();
    const ids = (await producer.take("accepted", 2)).map(({ task_id: id }) => id);
    await vi.waitFor(() => expect(done).toHaveLength(2), { timeout: 10_000 });
    expect(done).toEqual([
      { type: "summarise", input: { page: 1 }, taskId: ids[0], headers: {} },
      { type: "code", input: ["x"], taskId: ids[1] },
    ]);
  });

  test("d8 d10 a pika worker reads our tasks, the higher priority first", async () => {
    const { queue } = agentTasks(broker());
    const bus = await open(broker().url);
    const task = defineTask("research", { queue });
    const usual = await bus.send(task, { text: "usual" }, { result: false });
    const urgent = await bus.send(task, { text: "urgent" }, { result: false, priority: 9 });
    const worker = startProgram(broker(), "pika/agent_worker.py", "--prefetch", "1", queue.name);
    const properties = { delivery_mode: 2, content_type: "application/json" };
    expect(await worker.take("done", 2)).toMatchObject([
      {
        ...properties,
        message_id: urgent.id,
        priority: 9,
        task: { task_id: urgent.id, task_type: "research", payload: { text: "urgent" } },
      },
      { ...properties, message_id: usual.id, priority: 5, task: { payload: { text: "usual" } } },
    ]);
    await worker.stop();
  });

  test("d12 d14 a pika operator reads our dead letters: reason and queue of x-death, as of the broker's own", async () => {
    const { queue, exchange, failed } = agentTasks(broker());
    const bus = await open(broker().url);
    const task = defineTask("broken", { queue });
    const operator = startProgram(broker(), "pika/dead_letters.py", exchange, failed);
    await operator.next("ready");
    const job = await bus.send(task, { page: 1 });
    bus.worker().on(task, () => {
      throw new Fatal("cannot be done");
    });
    expect(await operator.next("dead")).toMatchObject({
      task_id: job.id,
      task_type: "broken",
      reason: "rejected",
      queue: queue.name,
      exchange: "",
      routing_keys: [queue.name],
      count: 1,
      first: ["rejected", queue.name, ""],
      message_id: job.id,
      priority: 5,
    });
    await operator.stop();
  });

  test("a6 what is sent is durable and persistent", async () => {
    const { queue } = agentTasks(broker());
    const bus = await open(broker().url);
    await bus.send(defineTask("kept", { queue }), {}, { result: false });
    const channel = await broker().observer.createChannel();
    const message = await channel.get(queue.name, { noAck: true });
    expect(message).toMatchObject({ properties: { deliveryMode: 2 } });
    // Redeclaring compares: it is durable.
    await channel.assertQueue(queue.name, {
      durable: true,
      arguments: {
        "x-dead-letter-exchange": queue.deadLetter.exchange,
        "x-dead-letter-routing-key": queue.deadLetter.routingKey,
        "x-max-priority": 10,
        "x-message-ttl": 300_000,
      },
    });
    await channel.close();
  });

  test("a1 it connects by host, port, username, password and vhost", async () => {
    const { host, port, username, password, vhost } = broker();
    const bus = await open({ host, port, username, password, vhost });
    const task = defineTask("parts", { queue: broker().queueName("parts"), deadLetter: names(broker()) });
    const job = await bus.send(task, 1);
    bus.worker().on(task, (input) => input);
    expect(await job.result({ timeout: 10_000 })).toBe(1);
    await expect(
      connect({ host, port, username, password: "wrong" }, { confirmTimeout: 1_000 }),
    ).rejects.toThrow(new RegExp(`Cannot connect to ${host}:${port} as guest: .*ACCESS_REFUSED`, "is"));
  });

  for (const { way, breakIt } of waysToBreak) {
    test(`a13 when ${way}, what was held is done again, and sending and working go on by themselves`, async () => {
      const route = await openBreakableRoute(broker());
      const bus = await open(route.url);
      const task = defineTask("held", { queue: broker().queueName("held"), deadLetter: names(broker()) });
      const reasons: string[] = [];
      const running = Promise.withResolvers<void>();
      let runs = 0;
      await bus
        .worker()
        .on(task, async (_input, { signal }) => {
          if (++runs > 1) return runs;
          running.resolve();
          await sleep(60_000, undefined, { signal }).catch(() => reasons.push((signal.reason as Error).name));
          return undefined;
        })
        .start();
      const job = await bus.send(task, {});
      await running.promise;
      breakIt(route);
      expect(await job.result({ timeout: 20_000 })).toBe(2);
      expect(reasons).toEqual(["ConnectionLostError"]);
      const after = await bus.send(task, {});
      expect(await after.result({ timeout: 20_000 })).toBe(3);
      expect(await queueState(broker(), task.queue as string)).toEqual({ ready: 0, consumers: 1 });
    });
  }

  test("a queue that exists with other arguments is refused with both in the error, and nothing is lost", async () => {
    const name = broker().queueName("other");
    const channel = await broker().observer.createChannel();
    await channel.assertQueue(name, { durable: true });
    channel.sendToQueue(name, Buffer.from("kept"));
    await channel.close();
    const bus = await open(broker().url);
    await expect(bus.send(defineTask("x", { queue: name, deadLetter: names(broker()) }), {})).rejects.toThrow(
      new RegExp(`queue '${name}' exists.*with other arguments.*x-`, "is"),
    );
    expect(await queueState(broker(), name)).toMatchObject({ ready: 1 });
  });

  test("a queue that was deleted takes no task in silence", async () => {
    const name = broker().queueName("deleted");
    const bus = await open(broker().url);
    const task = defineTask("x", { queue: name, deadLetter: names(broker()) });
    await bus.send(task, 1, { result: false });
    const channel = await broker().observer.createChannel();
    await channel.deleteQueue(name);
    await channel.close();
    // It is declared again: the sender asked for a queue that is there.
    await bus.send(task, 2, { result: false });
    expect(await queueState(broker(), name)).toMatchObject({ ready: 1 });
  });
});

function names(broker: BrokerUnderTest) {
  return { exchange: broker.exchangeName("dlx"), queue: broker.queueName("dead") };
}

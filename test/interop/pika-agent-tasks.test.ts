import { expect, test } from "vitest";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { startProgram, type Program } from "../support/program.ts";

interface Names {
  tasks: string;
  /** The exchange for dead letters, and the queue behind it, which is also their key. */
  exchange: string;
  failed: string;
}

describeEachBroker("pika: tasks of AI agents", (broker) => {
  test("d5 a failed task goes to the failed ones, with the reason and the queue in its x-death", async () => {
    const names = nameAll(broker());
    const operator = await watchDeadLetters(broker(), names);
    const [taskId] = await accept(broker(), names, { task_type: "broken", payload: { page: 1 } });
    const worker = await startWorker(broker(), names);

    expect(await worker.next("failed")).toMatchObject({ reason: "this task cannot be done" });
    expect(await operator.next("dead")).toMatchObject({
      task_id: taskId,
      task_type: "broken",
      reason: "rejected",
      queue: names.tasks,
      exchange: "",
      routing_keys: [names.tasks],
      count: 1,
      first: ["rejected", names.tasks, ""],
      message_id: taskId,
      priority: 5,
    });
    expect(operator.untaken("alert")).toEqual([]);
    await operator.stop();
    expect(await queueState(broker(), names.failed)).toEqual({ ready: 0, consumers: 0 });
  });

  test("d14 a task that nobody takes in time goes to the failed ones as expired, which alerts", async () => {
    const names = nameAll(broker());
    const operator = await watchDeadLetters(broker(), names);
    const task = { task_type: "research", payload: {}, expiration: "50" };
    const [taskId] = await accept(broker(), names, task);

    expect(await operator.next("dead")).toMatchObject({
      task_id: taskId,
      reason: "expired",
      queue: names.tasks,
      count: 1,
      original_expiration: "50",
      // It expires once, not again where it is now.
      expiration: null,
    });
    expect(await operator.next("alert")).toMatchObject({
      text: `Task ${String(taskId)} expired before processing`,
    });
    expect(await queueState(broker(), names.tasks)).toEqual({ ready: 0, consumers: 0 });
  });

  test("d8 tasks carry their properties, and those of higher priority are done first", async () => {
    const names = nameAll(broker());
    const [usual, urgent, late] = await accept(
      broker(),
      names,
      { task_type: "summarise", payload: { text: "usual" } },
      { task_type: "code", payload: { text: "urgent" }, priority: 9 },
      { task_type: "research", payload: { text: "late" }, priority: 0 },
    );
    const worker = await startWorker(broker(), names, "--prefetch", "1");
    const properties = { delivery_mode: 2, content_type: "application/json" };
    expect(await worker.take("done", 3)).toMatchObject([
      { ...properties, message_id: urgent, priority: 9, task: { task_id: urgent, task_type: "code" } },
      { ...properties, message_id: usual, priority: 5, task: { payload: { text: "usual" } } },
      { ...properties, message_id: late, priority: 0 },
    ]);
    await worker.stop();
    expect(await queueState(broker(), names.tasks)).toEqual({ ready: 0, consumers: 0 });
  });

  test("d15 a task that meets a rate limit is tried again after a delay, longer each time", async () => {
    const tasks = broker().queueName("limited");
    const delays = [100, 200].map((delayMs) => `${tasks}.delay.${delayMs}`);
    const worker = startProgram(
      broker(),
      "pika/rate_limited_worker.py",
      "--refusals",
      "2",
      "--first-delay",
      "100",
      tasks,
    );
    await worker.next("ready");
    await startProgram(broker(), "pika/new_task.py", tasks, "ask the model").finished();

    expect(await worker.take("refused", 2)).toMatchObject([
      { body: "ask the model", attempt: 1, delay_ms: 100 },
      { body: "ask the model", attempt: 2, delay_ms: 200, waited_ms: atLeast(100) },
    ]);
    expect(await worker.next("done")).toMatchObject({
      body: "ask the model",
      attempt: 3,
      waited_ms: atLeast(200),
      // The latest first.
      deaths: [
        [delays[1], "expired", 1],
        [delays[0], "expired", 1],
      ],
    });
    await worker.stop();
    for (const queue of [tasks, ...delays]) {
      expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
    }
    const channel = await broker().observer.createChannel();
    for (const queue of delays) await channel.deleteQueue(queue);
    await channel.close();
  });
});

/** The broker's clock and the program's may differ by a tick. */
function atLeast(ms: number): unknown {
  return expect.toSatisfy((value: number) => value >= ms - 2, `at least ${ms}`);
}

function nameAll(broker: BrokerUnderTest): Names {
  return {
    tasks: broker.queueName("agent_tasks"),
    exchange: broker.exchangeName("agent_dlx"),
    failed: broker.queueName("failed_tasks"),
  };
}

/** The ids of the tasks. */
async function accept(broker: BrokerUnderTest, names: Names, ...tasks: object[]): Promise<unknown[]> {
  const { tasks: queue, exchange, failed } = names;
  const texts = tasks.map((task) => JSON.stringify(task));
  const producer = startProgram(broker, "pika/agent_task_producer.py", queue, exchange, failed, ...texts);
  await producer.finished();
  return (await producer.take("accepted", tasks.length)).map((accepted) => accepted["task_id"]);
}

async function startWorker(broker: BrokerUnderTest, names: Names, ...options: string[]): Promise<Program> {
  const worker = startProgram(broker, "pika/agent_worker.py", ...options, names.tasks);
  await worker.next("ready");
  return worker;
}

async function watchDeadLetters(broker: BrokerUnderTest, names: Names): Promise<Program> {
  const operator = startProgram(broker, "pika/dead_letters.py", names.exchange, names.failed);
  await operator.next("ready");
  return operator;
}

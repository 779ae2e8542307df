import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachBroker, type BrokerAddress } from "../support/brokers.ts";
import { interopPath, spawnProgram, type Program } from "../support/program.ts";
import { python } from "../support/peers.ts";

/** Celery takes a second to start: all tests share one client and two workers, which the last tests kill. */
describeEachBroker("Celery", (broker) => {
  const suffix = randomUUID().slice(0, 8);
  const queues = { QUEUE: `celery-${suffix}`, PRIORITY_QUEUE: `celery-priorities-${suffix}` };
  let client: Program;
  let worker: Program;
  const programs: Program[] = [];

  beforeAll(async () => {
    client = start(broker(), "celery/client.py", interopPath("celery/client.py"));
    // With what is the default, gossip and mingle, which speak with other workers by events.
    worker = startWorker("first", "--pool=prefork", "--concurrency=2", "--task-events");
    await Promise.all([client.next("ready"), worker.next("ready")]);
  });

  afterAll(async () => {
    await Promise.all(programs.map((program) => program.kill()));
    const channel = await broker().observer.createChannel();
    for (const queue of Object.values(queues)) await channel.deleteQueue(queue);
    // Celery gives its exchange the name of the queue.
    await channel.deleteExchange(queues.QUEUE);
    await channel.close();
  });

  test("tasks, chains and groups give their results, and errors come as such", async () => {
    client.say("results");
    expect(await client.next("sum")).toMatchObject({ value: 5 });
    expect(await client.next("chain")).toMatchObject({ value: 34 });
    expect(await client.next("group")).toMatchObject({ value: [0, 2, 4, 6, 8, 10, 12, 14, 16, 18] });
    expect(await client.next("error")).toMatchObject({ text: "no luck" });
  });

  test("a task that fails is retried after a countdown", async () => {
    client.say("retries");
    expect(await client.next("retried")).toMatchObject({ value: "after 2 retries" });
    expect(await worker.take("tried", 3)).toMatchObject([{ retries: 0 }, { retries: 1 }, { retries: 2 }]);
  });

  test("a task with a countdown or an eta is not done before", async () => {
    client.say("delays");
    const { time, eta } = await client.next("sent");
    expect(await client.next("delayed")).toMatchObject({ values: ["countdown", "eta"] });
    const noted = await worker.take("noted", 2);
    const when = new Map(noted.map((event) => [event["name"], Number(event["time"])]));
    expect(when.get("countdown")).toBeGreaterThanOrEqual(Number(time) + 0.3);
    expect(when.get("eta")).toBeGreaterThanOrEqual(Number(eta));
  });

  test("a task that waits can be revoked, and one that is being worked on", async () => {
    client.say("revoke");
    const { waiting, working } = await client.next("sent");
    await worker.next("started");
    client.say("now");
    expect(await client.take("was revoked", 2)).toMatchObject([
      { task_id: waiting, text: "revoked" },
      { task_id: working, text: "terminated" },
    ]);
    expect(await worker.take("revoked", 2)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ task_id: waiting, terminated: false }),
        expect.objectContaining({ task_id: working, terminated: true }),
      ]),
    );
    expect(worker.untaken("noted")).toEqual([]);
  });

  test("a task that has expired is not done", async () => {
    client.say("expires");
    expect(await client.next("was revoked")).toMatchObject({ text: "expired" });
    await worker.next("revoked");
    expect(worker.untaken("noted")).toEqual([]);
  });

  test("workers answer to remote control", async () => {
    client.say("control");
    expect(await client.next("ping")).toMatchObject({ answers: { "first@warren": { ok: "pong" } } });
    expect(await client.next("queues")).toMatchObject({ answers: { "first@warren": [queues.QUEUE] } });
  });

  test("events tell what becomes of a task", async () => {
    client.say("events");
    const { types } = await client.next("events");
    expect(types).toEqual(expect.arrayContaining(["task-received", "task-started", "task-succeeded"]));
  });

  test("a task whose process is killed is done by another process", async () => {
    client.say("survive child");
    const { pid } = await worker.next("working");
    process.kill(Number(pid), "SIGKILL");
    expect(await worker.next("working")).toMatchObject({ name: "child", redelivered: true });
    client.say("outcome child");
    expect(await client.next("survived")).toMatchObject({ value: "child done by first@warren" });
  });

  test("a worker takes tasks of higher priority first, and those of a worker that is killed", async () => {
    client.say("priorities");
    await client.next("sent");
    client.say("survive worker");
    await worker.next("working");

    const other = startWorker("second", "--pool=solo", "--without-gossip", "--without-mingle");
    const noted = await other.take("noted", 4);
    expect(noted.map((event) => [event["name"], event["priority"]])).toEqual([
      ["high", 9],
      ["high too", 9],
      ["middle", 5],
      ["low", 0],
    ]);

    await worker.kill();
    expect(await other.next("working")).toMatchObject({ name: "worker", redelivered: true });
    client.say("outcome worker");
    expect(await client.next("survived")).toMatchObject({ value: "worker done by second@warren" });
    await other.stop();
  });

  function startWorker(hostname: string, ...options: string[]): Program {
    const queue = hostname === "first" ? queues.QUEUE : `${queues.QUEUE},${queues.PRIORITY_QUEUE}`;
    const arguments_ = ["worker", `--hostname=${hostname}@warren`, "--loglevel=INFO", "-Q", queue];
    return start(broker(), `worker ${hostname}`, "-m", "celery", "-A", "tasks", ...arguments_, ...options);
  }

  function start(address: BrokerAddress, title: string, ...args: string[]): Program {
    const environment = { PYTHONPATH: interopPath("celery"), ...queues };
    const program = spawnProgram(address, {
      name: title,
      command: python,
      args,
      environment,
      withChildren: true,
    });
    programs.push(program);
    return program;
  }
});

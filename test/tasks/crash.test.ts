/** What processes that are killed, stopped or busy do to tasks: nothing is lost, and what can be counted is. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { connect, type Bus } from "../../src/tasks/index.ts";
import { lockHolder } from "../../src/tasks/embedded/lock-holder.ts";
import { describeEachBackend, type Backend, type BackendName } from "../support/backends.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import type { Program } from "../support/program.ts";
import { startSender, startWorkers } from "../support/task-program.ts";
import { workOn, type WorkerSettings } from "./programs/work.ts";

const shared: BackendName[] = ["embedded durable", "warren serve", "rabbitmq classic"];
const timeout = 15_000;

type WorkerProgram = WorkerSettings["workers"][number];

describeEachBackend(
  "tasks whose workers die",
  (backend) => {
    test("c7 d13 a task whose worker is killed is done by another, and the crash is an attempt", async () => {
      const [bus, queue] = [await backend().connect(), backend().queueName("killed")];
      const job = await bus.send(workOn(queue), { value: 21 });
      const victim = startOn(backend(), { queue, act: "hold" });
      expect(await victim.next("began")).toMatchObject({ id: job.id, attempt: 1 });
      const heir = startOn(backend(), { queue });
      await heir.next("ready");
      await victim.kill();
      expect(await heir.next("began")).toMatchObject({ id: job.id, attempt: 2 });
      expect(await job.result({ timeout })).toBe(42);
      expect(await job.state()).toMatchObject({ phase: "completed", attempt: 2 });
    });

    test("a task that kills its worker each time is dead after its retries", async () => {
      const [bus, queue] = [await backend().connect(), backend().queueName("killing")];
      const task = workOn(queue, 2);
      const job = await bus.send(task, { value: 1, act: "crash" });
      // As many as it kills, and one more, which finds that it was tried often enough.
      const programs = [1, 2, 3, 4].map(() => startOn(backend(), { queue, retries: 2 }));
      await expect(job.result({ timeout })).rejects.toThrow(/died or gone at the last of its 3 attempts/);
      const letters = await bus.deadLetters(task).browse();
      expect(letters).toMatchObject([{ taskId: job.id, reason: "crashed", attempts: 3 }]);
      expect(await job.state()).toMatchObject({ phase: "dead", attempt: 3 });
      const attempts = programs.flatMap((program) =>
        program.untaken("began").map(({ attempt }) => Number(attempt)),
      );
      expect(attempts.toSorted((a, b) => a - b)).toEqual([1, 2, 3]);
    });

    test("d13 a slow worker holds what it is at; the rest is for others, and for those that come later", async () => {
      const [bus, queue] = [await backend().connect(), backend().queueName("slow")];
      const slow = startOn(backend(), { queue, act: "hold", concurrency: 2 });
      await slow.next("ready");
      const task = workOn(queue);
      const jobs = await bus.sendMany(
        task,
        [0, 1].map((value) => ({ value })),
      );
      await slow.take("began", 2);
      jobs.push(
        ...(await bus.sendMany(
          task,
          Array.from({ length: 20 }, (_, at) => ({ value: at + 2 })),
        )),
      );
      expect(await bus.status()).toMatchObject([{ ready: 20 }]);
      const other = startOn(backend(), { queue, concurrency: 1 });
      await other.next("ended");
      const later = startOn(backend(), { queue, concurrency: 1 });
      const rest = jobs.slice(2).map((job) => job.result({ timeout }));
      expect(await Promise.all(rest)).toEqual(Array.from({ length: 20 }, (_, at) => 2 * (at + 2)));
      await later.next("ready");
      expect(slow.untaken("began")).toEqual([]);
      // The other one has no more to do: whoever came later gets its share of what comes now.
      await bus.sendMany(
        task,
        [30, 31, 32, 33].map((value) => ({ value })),
      );
      await later.next("ended");
    });

    test("a18 SIGTERM: what is finished in time is, the rest is done elsewhere, and it was no attempt", async () => {
      const [bus, queue] = [await backend().connect(), backend().queueName("stopped")];
      const task = workOn(queue);
      const stopping = startOn(backend(), { queue, concurrency: 2, drainTimeout: 500 });
      await stopping.next("ready");
      const quick = await bus.send(task, { value: 1, act: "sleep", ms: 250 });
      const endless = await bus.send(task, { value: 2, act: "hold" });
      await stopping.take("began", 2);
      const waiting = await bus.send(task, { value: 3 });
      stopping.signal("SIGTERM");
      expect(await stopping.ended).toEqual({ code: null, signal: "SIGTERM" });
      expect(stopping.untaken("ended")).toMatchObject([{ id: quick.id }]);
      const heir = startOn(backend(), { queue, act: "return" });
      expect(await Promise.all([quick, endless, waiting].map((job) => job.result({ timeout })))).toEqual([
        2, 4, 6,
      ]);
      const began = await heir.take("began", 2);
      expect(began).toEqual(
        expect.arrayContaining([expect.objectContaining({ id: endless.id, attempt: 1 })]),
      );
    });
  },
  shared,
);

describeEachBackend(
  "tasks whose workers die, without state",
  (backend) => {
    test("c7 d13 a task whose worker is killed is done by another; what is counted is an upper bound", async () => {
      const [bus, queue] = [await backend().connect({ state: "none" }), backend().queueName("killed")];
      const job = await bus.send(workOn(queue), { value: 21 });
      const victim = startOn(backend(), { queue, act: "hold" }, "without state");
      expect(await victim.next("began")).toMatchObject({ id: job.id, attempt: 1 });
      await victim.kill();
      const heir = startOn(backend(), { queue }, "without state");
      const { attempt } = await heir.next("began");
      expect(attempt).toBe(backend().name === "rabbitmq quorum" ? 2 : 1);
      expect(await job.result({ timeout })).toBe(42);
    });
  },
  ["rabbitmq classic", "rabbitmq quorum"],
);

describeEachBackend(
  "tasks on a RabbitMQ quorum queue, without state",
  (backend) => {
    test("a task that kills its worker each time is dead after its retries", async () => {
      const [bus, queue] = [await backend().connect({ state: "none" }), backend().queueName("killing")];
      const task = workOn(queue, 2);
      const job = await bus.send(task, { value: 1, act: "crash" });
      for (let count = 0; count < 4; count++) startOn(backend(), { queue, retries: 2 }, "without state");
      await expect(job.result({ timeout })).rejects.toThrow(/died or gone at the last of its 3 attempts/);
      const letters = await bus.deadLetters(task).browse();
      expect(letters).toMatchObject([{ taskId: job.id, reason: "crashed", attempts: 3 }]);
    });
  },
  ["rabbitmq quorum"],
);

test("SIGTERM to a process with two workers ends it when both have drained", async () => {
  const target = `embedded:${dataDirectory()}`;
  const bus = await connectFor(target);
  const stopping = startWorkers({ target, options: {}, workers: [{ queue: "one" }, { queue: "two" }] });
  await stopping.next("ready");
  const jobs = [
    await bus.send(workOn("one"), { value: 1, act: "sleep", ms: 50 }),
    await bus.send(workOn("two"), { value: 2, act: "sleep", ms: 500 }),
  ];
  await stopping.take("began", 2);
  stopping.signal("SIGTERM");
  expect(await stopping.ended).toEqual({ code: null, signal: "SIGTERM" });
  expect(await Promise.all(jobs.map((job) => job.result({ timeout: 1_000 })))).toEqual([2, 4]);
});

test("handlers that block their threads lose nothing and keep nobody else waiting, in the process that serves and in another", async () => {
  const target = `embedded:${dataDirectory()}`;
  const queue = "blocked";
  const start = (): Program => startWorkers({ target, options: {}, workers: [{ queue, concurrency: 1 }] });
  const serving = start();
  await serving.next("ready");
  expect(lockHolder(target.slice("embedded:".length))).toBe(serving.pid);
  const attached = start();
  await attached.next("ready");
  const bus = await connectFor(target);
  const block = (value: number) => bus.send(workOn(queue), { value, act: "block", ms: 3_000 });
  const blocking = [await block(1), await block(2)];
  await Promise.all([serving.next("began"), attached.next("began")]);
  const free = startWorkers({ target, options: {}, workers: [{ queue }] });
  const jobs = await bus.sendMany(
    workOn(queue),
    Array.from({ length: 50 }, (_, value) => ({ value })),
  );
  await free.take("ended", 50);
  expect(await Promise.all(jobs.map((job) => job.result({ timeout })))).toHaveLength(50);
  expect([...serving.untaken("ended"), ...attached.untaken("ended")]).toEqual([]);
  expect(await Promise.all(blocking.map((job) => job.result({ timeout })))).toEqual([2, 4]);
  for (const job of blocking) expect(await job.state()).toMatchObject({ attempt: 1 });
});

test("an embedded directory whose serving process is killed five times loses no confirmed task and doubles no result", async () => {
  const dataDir = dataDirectory();
  const target = `embedded:${dataDir}`;
  const workers: WorkerProgram[] = [{ queue: "takeover", concurrency: 10, retries: 20 }];
  const confirmed = new Map<string, number>();
  let sent = 0;
  const startSending = (): Program =>
    startSender({
      target,
      options: {},
      queue: "takeover",
      first: 1_000_000 * sent++,
      inFlight: 5,
      pauseMs: 20,
      workMs: 50,
    });
  const starts = [
    startSending,
    () => startWorkers({ target, options: {}, workers }),
    () => startWorkers({ target, options: {}, workers }),
  ];
  const programs = starts.map((start) => start());
  const senders = [programs[0]];
  const gather = (): number => {
    for (const { id, value } of senders.flatMap((sender) => sender.untaken("confirmed")))
      confirmed.set(String(id), Number(value));
    return confirmed.size;
  };
  const goOn = async (): Promise<void> => {
    const before = gather();
    await vi.waitFor(() => expect(gather()).toBeGreaterThan(before + 30), { timeout, interval: 20 });
  };
  await Promise.all(programs.map((program) => program.next("ready")));
  for (let takeover = 0; takeover < 5; takeover++) {
    await goOn();
    const pid = await vi.waitFor(
      () => {
        const holder = lockHolder(dataDir);
        expect(programs.map((program) => program.pid)).toContain(holder);
        return holder;
      },
      { timeout },
    );
    const at = programs.findIndex((program) => program.pid === pid);
    await programs[at].kill();
    programs[at] = starts[at]();
    if (at === 0) senders.push(programs[0]);
  }
  await goOn();
  programs[0].say("stop");
  await programs[0].finished();
  gather();
  const bus = await connectFor(target);
  for (const [id, value] of confirmed) expect(await bus.job(id).result({ timeout })).toBe(value * 2);
  const { state } = bus["parts"];
  for (const id of confirmed.keys()) {
    const kinds = (await state!.events(id)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "completed")).toHaveLength(1);
  }
  expect(await bus.deadLetters("takeover").count()).toBe(0);
});

test("a broker that is killed again and again under load loses no task that send has confirmed", async () => {
  const directory = dataDirectory();
  let broker = await forkBroker({ dataDir: `${directory}/data` });
  const { port } = broker;
  try {
    const target = `amqp://guest:guest@127.0.0.1:${port}`;
    const options = { state: `sqlite:${directory}/state.db` };
    const bus = await connectFor(target, options);
    const worker = startWorkers({
      target,
      options,
      workers: [{ queue: "load", concurrency: 20, retries: 20 }],
    });
    // Connecting to a broker that is not there is an error; losing it later is not.
    await worker.next("ready");
    const task = workOn("load", 20);
    const confirmed = new Map<string, number>();
    let next = 0;
    const stopping = new AbortController();
    const send = async (): Promise<void> => {
      while (!stopping.signal.aborted) {
        const value = next++;
        const { id } = await bus.send(task, { value });
        confirmed.set(id, value);
        await sleep(2);
      }
    };
    const sending = Promise.all(Array.from({ length: 20 }, send));
    for (let kill = 0; kill < 4; kill++) {
      const before = confirmed.size;
      await vi.waitFor(() => expect(confirmed.size).toBeGreaterThan(before + 150), { timeout, interval: 10 });
      await broker.kill();
      broker = await forkBroker({ port, dataDir: `${directory}/data` });
    }
    stopping.abort();
    await sending;
    for (const [id, value] of confirmed) expect(await bus.job(id).result({ timeout })).toBe(value * 2);
    expect(await bus.deadLetters(task).count()).toBe(0);
    expect(broker.errors).toEqual([]);
  } finally {
    await broker.kill();
  }
});

function startOn(
  { target, options }: Backend,
  worker: WorkerProgram,
  state: "with state" | "without state" = "with state",
): Program {
  const { state: url, queueType } = options;
  return startWorkers({
    target,
    options: { queueType, ...(state === "with state" && { state: url }) },
    workers: [worker],
  });
}

async function connectFor(target: string, options: WorkerSettings["options"] = {}): Promise<Bus> {
  const bus = await connect(target, options);
  onTestFinished(() => bus.close());
  return bus;
}

/** What tasks promise, on every backend alike. docs/backends.md says where they differ. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import {
  CapabilityError,
  defineTask,
  Fatal,
  Retry,
  TaskFailedError,
  ValidationError,
  type Alert,
  type Bus,
  type DeadLetter,
} from "../../../src/tasks/index.ts";
import { describeEachBackend, publishRaw } from "../../support/backends.ts";

const number = z.object({ value: z.number() });
const quick = { retry: { delay: 100, jitter: "none" } } as const;

describeEachBackend("tasks", (backend) => {
  /** A task on a queue of its own. */
  const taskOn = (purpose: string, options: object = {}) =>
    defineTask(purpose, {
      input: number,
      output: z.number(),
      queue: backend().queueName(purpose),
      ...quick,
      ...options,
    });
  const whenDead = async (bus: Bus, task: ReturnType<typeof taskOn>, count = 1): Promise<DeadLetter[]> => {
    const letters = bus.deadLetters(task);
    await vi.waitFor(async () => expect(await letters.count()).toBe(count), {
      timeout: 10_000,
      interval: 50,
    });
    return letters.browse();
  };

  test("b2 d1 d7 a task is sent, done by a worker, and its result comes back", async () => {
    const bus = await backend().connect();
    const task = taskOn("double");
    const job = await bus.send(task, { value: 21 });
    expect(job.id).toMatch(/^[0-9a-f-]{36}$/);
    await bus
      .worker()
      .on(task, ({ value }) => value * 2)
      .start();
    expect(await job.result({ timeout: 10_000 })).toBe(42);
    await vi.waitFor(async () => expect(await bus.status()).toMatchObject([{ ready: 0, dead: 0 }]), {
      timeout: 10_000,
    });
  });

  test("b3 b4 commands go through one queue, each to the handler of its action", async () => {
    const bus = await backend().connect();
    const queue = backend().queueName("commands");
    const [remove, create] = [defineTask("delete_user", { queue }), defineTask("create_user", { queue })];
    const jobs = [await bus.send(remove, { userId: "john_doe" }), await bus.send(create, { userId: "jane" })];
    bus
      .worker()
      .on(remove, (input) => ({ deleted: input }))
      .on(create, (input) => ({ created: input }));
    expect(await Promise.all(jobs.map((job) => job.result({ timeout: 10_000 })))).toEqual([
      { deleted: { userId: "john_doe" } },
      { created: { userId: "jane" } },
    ]);
    await vi.waitFor(async () => expect(await bus.status()).toMatchObject([{ ready: 0, dead: 0 }]), {
      timeout: 10_000,
    });
  });

  test("b1 b5 b6 tasks wait until a worker is there, and are done in order by one", async () => {
    const bus = await backend().connect();
    const task = taskOn("ordered");
    const jobs = await bus.sendMany(
      task,
      Array.from({ length: 20 }, (_, value) => ({ value })),
    );
    expect(await bus.status()).toMatchObject([{ ready: 20, consumers: 0 }]);
    const done: number[] = [];
    bus.worker({ concurrency: 1 }).on(task, ({ value }) => done.push(value));
    await Promise.all(jobs.map((job) => job.result({ timeout: 10_000 })));
    expect(done).toEqual(Array.from({ length: 20 }, (_, value) => value));
  });

  test("d9 with concurrency 3 three run at a time, and no more are held", async () => {
    const bus = await backend().connect();
    const task = taskOn("three");
    const jobs = await bus.sendMany(
      task,
      [1, 2, 3, 4, 5].map((value) => ({ value })),
    );
    let running = 0;
    const gate = Promise.withResolvers<void>();
    bus.worker({ concurrency: 3 }).on(task, async ({ value }) => {
      running++;
      await gate.promise;
      return value;
    });
    await vi.waitFor(() => expect(running).toBe(3), { timeout: 10_000 });
    await sleep(100);
    expect(running).toBe(3);
    expect(await bus.status()).toMatchObject([{ ready: 2, consumers: 1 }]);
    gate.resolve();
    expect(await Promise.all(jobs.map((job) => job.result({ timeout: 10_000 })))).toEqual([1, 2, 3, 4, 5]);
  });

  test("d11 a12 an error is retried three times, later each time and never too early, then the task is dead", async () => {
    const bus = await backend().connect();
    const task = taskOn("failing");
    const times: number[] = [];
    const attempts: number[] = [];
    const job = await bus.send(task, { value: 1 });
    bus.worker().on(task, (_input, { attempt }) => {
      times.push(performance.now());
      attempts.push(attempt);
      throw new Error(`no ${attempt}`);
    });
    await expect(job.result({ timeout: 15_000 })).rejects.toThrow(/no 4/);
    expect(attempts).toEqual([1, 2, 3, 4]);
    const waits = times.slice(1).map((time, index) => time - times[index]);
    for (const [index, least] of [100, 200, 400].entries())
      expect(waits[index]).toBeGreaterThanOrEqual(least - 1);
    const [letter] = await whenDead(bus, task);
    expect(letter).toMatchObject({
      taskId: job.id,
      type: "failing",
      payload: { value: 1 },
      reason: "failed",
      queue: task.queue,
      attempts: 4,
      errors: [1, 2, 3, 4].map((attempt) => ({ attempt, name: "Error", message: `no ${attempt}` })),
      deaths: [{ reason: "rejected", queue: task.queue, count: 1 }],
    });
    expect(letter.firstSeenMs).toBeGreaterThan(Date.now() - 60_000);
  });

  test("d12 Fatal is dead at once", async () => {
    const bus = await backend().connect();
    const task = taskOn("fatal");
    let runs = 0;
    const job = await bus.send(task, { value: 1 });
    bus.worker().on(task, () => {
      runs++;
      throw new Fatal("no use");
    });
    await expect(job.result({ timeout: 10_000 })).rejects.toThrow(TaskFailedError);
    expect(await whenDead(bus, task)).toMatchObject([{ reason: "fatal", attempts: 1 }]);
    expect(runs).toBe(1);
  });

  test("Retry says when to try again, and whether it counts", async () => {
    const bus = await backend().connect();
    const task = taskOn("again", { retry: { retries: 1, delay: 100, jitter: "none" } });
    const attempts: number[] = [];
    const job = await bus.send(task, { value: 1 });
    bus.worker().on(task, (_input, { attempt }) => {
      attempts.push(attempt);
      if (attempts.length < 4) throw new Retry({ after: 100, countsAsAttempt: false });
      if (attempt === 1) throw new Retry({ after: 100 });
      return attempt;
    });
    expect(await job.result({ timeout: 10_000 })).toBe(2);
    expect(attempts).toEqual([1, 1, 1, 1, 2]);
  });

  test("input is checked when it is sent, with the path in the error", async () => {
    const bus = await backend().connect();
    const task = taskOn("checked");
    await expect(bus.send(task, { value: "x" as never })).rejects.toThrow(ValidationError);
    await expect(bus.send(task, { value: "x" as never })).rejects.toThrow(/input of task 'checked': value: /);
    expect((await bus.status())[0]).toMatchObject({ ready: 0 });
  });

  test("what is invalid where it arrives, or undone by its output, is dead at once, and the worker lives on", async () => {
    const bus = await backend().connect();
    const queue = backend().queueName("strict");
    const lax = defineTask("strict", { queue });
    const task = defineTask("strict", { queue, input: number, output: z.number() });
    const wrongOutput = defineTask("wrong-output", { queue, input: number, output: z.number() });
    await bus.send(lax, { value: "text" });
    await bus.send(wrongOutput, { value: 1 });
    const job = await bus.send(task, { value: 1 });
    bus
      .worker()
      .on(task, ({ value }) => value)
      .on(wrongOutput, () => "text" as never);
    expect(await job.result({ timeout: 10_000 })).toBe(1);
    const letters = await whenDead(bus, task, 2);
    expect(letters.map(({ reason, errors }) => [reason, errors[0]?.name])).toEqual([
      ["invalid", "ValidationError"],
      ["invalid", "ValidationError"],
    ]);
    expect(letters.map(({ errors }) => errors[0].message)).toEqual(
      expect.arrayContaining([
        expect.stringContaining("input of task 'strict': value:"),
        expect.stringContaining("output of task 'wrong-output'"),
      ]),
    );
  });

  test("a task that nobody knows is dead, or left to a worker who knows it", async () => {
    const bus = await backend().connect();
    const queue = backend().queueName("unknown");
    const [known, unknown] = [defineTask("known", { queue }), defineTask("unknown", { queue })];
    const strict = bus.worker().on(known, () => "known");
    await strict.start();
    await bus.send(unknown, {});
    expect(await whenDead(bus, known as never)).toMatchObject([{ reason: "unknown-task", type: "unknown" }]);
    await strict.close();

    const modest = bus
      .worker()
      .onUnknown("requeue")
      .on(known, () => "known");
    await modest.start();
    const job = await bus.send(unknown, {});
    await sleep(200);
    await bus
      .worker()
      .on(unknown, () => "found")
      .start();
    await modest.close();
    expect(await job.result({ timeout: 10_000 })).toBe("found");
    expect(await bus.deadLetters(known).count()).toBe(1);
  });

  test("d15 a delay is never too early, whether by delay or at", async () => {
    const bus = await backend().connect();
    const task = taskOn("later");
    bus.worker().on(task, () => Date.now());
    await bus.send(task, { value: 0 }).then((job) => job.result({ timeout: 10_000 }));
    for (const delay of [1, 150, 700]) {
      const dueMs = Date.now() + delay;
      const jobs = await Promise.all([
        bus.send(task, { value: 1 }, { delay }),
        bus.send(task, { value: 2 }, { at: new Date(dueMs) }),
      ]);
      for (const job of jobs) expect(await job.result({ timeout: 10_000 })).toBeGreaterThanOrEqual(dueMs);
    }
  });

  test("d8 a higher priority is taken first, where the backend has priorities", async () => {
    const bus = await backend().connect();
    const task = taskOn("priority");
    const order: number[] = [];
    const jobs = [];
    for (const value of [1, 9, 5, 0, 7]) jobs.push(await bus.send(task, { value }, { priority: value }));
    bus.worker({ concurrency: 1 }).on(task, ({ value }) => order.push(value));
    await Promise.all(jobs.map((job) => job.result({ timeout: 10_000 })));
    expect(order).toEqual(bus.capabilities.priority === "none" ? [1, 9, 5, 0, 7] : [9, 7, 5, 1, 0]);
  });

  test("d14 a task that nobody takes in time is in the dead letters, with an alert", async () => {
    const bus = await backend().connect();
    const task = taskOn("perishable", { ttl: 100 });
    const alerts: Alert[] = [];
    await bus.status();
    const job = await bus.send(task, { value: 1 });
    await whenDead(bus, task);
    await bus.alerts.on("expired", {}, (alert) => alerts.push(alert));
    const second = await bus.send(task, { value: 2 });
    const letters = await whenDead(bus, task, 2);
    expect(letters).toMatchObject([
      { taskId: job.id, reason: "expired", queue: task.queue, attempts: 1 },
      { taskId: second.id, reason: "expired" },
    ]);
    for (const each of [job, second])
      await expect(each.result({ timeout: 5_000 })).rejects.toThrow(/has expired: no worker took it/);
    await vi.waitFor(
      () => expect(alerts).toMatchObject([{ count: 1, letter: { taskId: second.id, reason: "expired" } }]),
      { timeout: 10_000 },
    );
  });

  test("d14 dead letters are sent again with a patch, or discarded, by what they are", async () => {
    const bus = await backend().connect();
    const task = taskOn("patched", { retry: false });
    for (const value of [1, 2, 3, 4]) await bus.send(task, { value });
    bus.worker({ concurrency: 1 }).on(task, ({ value }) => {
      if (value < 100) throw new Error(`too small: ${value}`);
      return value;
    });
    const letters = await whenDead(bus, task, 4);
    const dead = bus.deadLetters(task);
    expect(await dead.browse({ limit: 2 })).toHaveLength(2);
    expect(await dead.discard({ where: ({ payload }) => (payload as { value: number }).value === 4 })).toBe(
      1,
    );
    const patched = new Map<string, number>();
    const redriven = await dead.redrive({
      where: { reason: "failed" },
      limit: 2,
      rate: 50,
      patch: (payload, { taskId }) => {
        patched.set(taskId!, (payload as { value: number }).value + 100);
        return { value: patched.get(taskId!) };
      },
    });
    expect(redriven).toBe(2);
    for (const [id, value] of patched) expect(await bus.job(id).result({ timeout: 10_000 })).toBe(value);
    const rest = letters.filter(
      ({ taskId, payload }) => !patched.has(taskId!) && (payload as { value: number }).value < 4,
    );
    expect((await dead.browse()).map(({ taskId }) => taskId)).toEqual(rest.map(({ taskId }) => taskId));
  });

  test("a poisoned message is dead, and the worker lives on", async () => {
    const bus = await backend().connect();
    const task = taskOn("poisoned");
    await bus.status();
    for (const body of [
      Buffer.from("{no json"),
      Buffer.from("[1]"),
      { task_type: "poisoned" },
      { task_id: "1" },
    ])
      await publishRaw(bus, task.queue as string, body);
    const job = await bus.send(task, { value: 1 });
    bus.worker().on(task, ({ value }) => value);
    expect(await job.result({ timeout: 10_000 })).toBe(1);
    const letters = await whenDead(bus, task, 4);
    expect(letters.map(({ reason, errors }) => [reason, errors[0].message])).toEqual([
      ["undecodable", expect.stringContaining("no JSON")],
      ["undecodable", expect.stringContaining("no JSON object")],
      ["undecodable", expect.stringContaining("no task_id")],
      ["undecodable", expect.stringContaining("no task_type")],
    ]);
  });

  test("a timeout ends the attempt and aborts its signal", async () => {
    const bus = await backend().connect();
    const task = taskOn("slow", { timeout: 100, retry: false });
    let reason: unknown;
    const job = await bus.send(task, { value: 1 });
    bus.worker().on(task, async (_input, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      reason = signal.reason;
      return 1;
    });
    await expect(job.result({ timeout: 10_000 })).rejects.toThrow("TaskTimeoutError");
    expect(String(reason)).toContain("longer than 100 ms");
  });

  test("a18 a worker that closes finishes what it is at, and hands back what takes too long", async () => {
    const bus = await backend().connect();
    const task = taskOn("draining");
    const jobs = await bus.sendMany(
      task,
      [1, 2].map((value) => ({ value })),
    );
    const attempts: number[] = [];
    const worker = bus
      .worker({ concurrency: 2, drainTimeout: 300 })
      .on(task, async ({ value }, { signal }) => {
        attempts.push(value);
        await sleep(value === 1 ? 50 : 60_000, undefined, { signal });
        return value;
      });
    await worker.start();
    await vi.waitFor(() => expect(attempts).toHaveLength(2), { timeout: 10_000 });
    await worker.close();
    expect(await jobs[0].result({ timeout: 1_000 })).toBe(1);
    await vi.waitFor(async () => expect(await bus.status()).toMatchObject([{ ready: 1, consumers: 0 }]), {
      timeout: 10_000,
    });
    bus.worker().on(task, ({ value }, { attempt }) => value * 10 + attempt);
    // Handed back: that was no attempt.
    expect(await jobs[1].result({ timeout: 10_000 })).toBe(21);
  });

  test("a task's trace is that of its attempts, its children and what its sender says", async () => {
    const bus = await backend().connect();
    const [parent, child] = [taskOn("traced"), taskOn("traced-child")];
    const traces: unknown[] = [];
    bus.worker().on(child, ({ value }, { headers }) => {
      traces.push(headers["traceparent"]);
      return value;
    });
    bus.worker().on(parent, async (input, { headers, attempt, send }) => {
      traces.push(headers["traceparent"]);
      if (attempt === 1) throw new Error("again");
      return (await send(child, input)).result({ timeout: 5_000 });
    });
    await bus.send(parent, { value: 1 }).then((job) => job.result({ timeout: 10_000 }));
    expect(traces[0]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(traces).toEqual([traces[0], traces[0], traces[0]]);
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await bus
      .send(child, { value: 2 }, { headers: { traceparent } })
      .then((job) => job.result({ timeout: 10_000 }));
    expect(traces.at(-1)).toBe(traceparent);
  });

  test("steps are remembered, children are sent once", async () => {
    const bus = await backend().connect();
    const parent = taskOn("parent");
    const child = taskOn("child");
    const ran: string[] = [];
    const children: string[] = [];
    bus.worker().on(child, ({ value }, { taskId }) => {
      children.push(taskId);
      return value;
    });
    bus.worker().on(parent, async ({ value }, context) => {
      const fetched = await context.step("fetch", () => {
        ran.push("fetch");
        return { value: value + 1 };
      });
      const sent = await context.send(child, fetched);
      await sent.result({ timeout: 5_000 });
      if (context.attempt < 3) throw new Error("not yet");
      return fetched.value;
    });
    const job = await bus.send(parent, { value: 1 });
    expect(await job.result({ timeout: 10_000 })).toBe(2);
    expect(ran).toEqual(["fetch"]);
    expect(new Set(children).size).toBe(1);
  });

  test("state, progress and events tell what became of a task", async () => {
    const bus = await backend().connect();
    const task = taskOn("observed");
    const job = await bus.send(task, { value: 1 });
    expect(await job.state()).toMatchObject({ id: job.id, phase: "queued" });
    bus.worker().on(task, async ({ value }, context) => {
      await context.progress({ percent: 50 });
      if (context.attempt === 1) throw new Error("once more");
      return value;
    });
    const kinds: string[] = [];
    for await (const { kind } of job.events({ timeout: 10_000 })) kinds.push(kind);
    expect(kinds).toEqual(["started", "progress", "retrying", "started", "progress", "completed"]);
    expect(await job.state()).toMatchObject({ phase: "completed", attempt: 2, progress: { percent: 50 } });
  });

  test("a task that was cancelled does not begin, and one that has begun is told", async () => {
    const bus = await backend().connect();
    const task = taskOn("cancelled");
    const before = await bus.send(task, { value: 1 });
    expect(await before.cancel()).toBe(true);
    const running = Promise.withResolvers<void>();
    let reason = "";
    bus.worker().on(task, async ({ value }, { signal }) => {
      if (value === 1) throw new Error("must not run");
      running.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      reason = (signal.reason as Error).name;
      return value;
    });
    const job = await bus.send(task, { value: 2 });
    await running.promise;
    expect(await job.cancel()).toBe(true);
    await expect(job.result({ timeout: 5_000 })).rejects.toThrow(/cancelled/);
    await vi.waitFor(() => expect(reason).toBe("CancelledError"), { timeout: 5_000 });
    expect(await job.cancel()).toBe(true);
    expect(await bus.deadLetters(task).count()).toBe(0);
  });

  test("the same idempotency key is the same task, done once", async () => {
    const bus = await backend().connect();
    const task = taskOn("keyed", { idempotencyKey: ({ value }: { value: number }) => `order-${value}` });
    const jobs = [await bus.send(task, { value: 7 }), await bus.send(task, { value: 7 })];
    expect(jobs[0].id).toBe(jobs[1].id);
    const keys: string[] = [];
    bus.worker({ concurrency: 1 }).on(task, ({ value }, { idempotencyKey }) => {
      keys.push(idempotencyKey);
      return value;
    });
    expect(await Promise.all(jobs.map((job) => job.result({ timeout: 10_000 })))).toEqual([7, 7]);
    await vi.waitFor(async () => expect(await bus.status()).toMatchObject([{ ready: 0 }]), {
      timeout: 10_000,
    });
    expect(keys).toEqual(["order-7"]);
  });

  test("middleware runs around handlers, the first outermost", async () => {
    const bus = await backend().connect();
    const task = taskOn("wrapped");
    const order: string[] = [];
    bus
      .worker()
      .use(async (_context, next) => {
        order.push("outer");
        return Number(await next()) + 1;
      })
      .use((_context, next) => {
        order.push("inner");
        return next();
      })
      .on(task, ({ value }) => value);
    const job = await bus.send(task, { value: 1 });
    expect(await job.result({ timeout: 10_000 })).toBe(2);
    expect(order).toEqual(["outer", "inner"]);
  });
});

describeEachBackend(
  "tasks without shared state",
  (backend) => {
    test("results come as replies; what needs state is refused, when connecting if that is asked for", async () => {
      const bus = await backend().connect({ state: "none" });
      const task = defineTask("replied", { queue: backend().queueName("replied"), ...quick, input: number });
      const job = await bus.send(task, { value: 2 });
      const failing = await bus.send(task, { value: -1 });
      bus.worker().on(task, ({ value }) => {
        if (value < 0) throw new Fatal("negative");
        return value * 2;
      });
      expect(await job.result({ timeout: 10_000 })).toBe(4);
      await expect(failing.result({ timeout: 10_000 })).rejects.toThrow(/Fatal: negative/);
      await expect(job.cancel()).rejects.toThrow(CapabilityError);
      await expect(job.state()).rejects.toThrow(/postgres:/);
      expect(bus.capabilities).toMatchObject({ results: "emulated", cancel: "none", steps: "none" });
      await expect(backend().connect({ state: "none", requires: ["steps"] })).rejects.toThrow(
        /steps.*state/s,
      );
    });
  },
  ["warren serve", "rabbitmq classic", "rabbitmq quorum"],
);

import { expect, it } from "vitest";
import {
  StaleFenceError,
  type Begun,
  type Claim,
  type StateStore,
  type TaskFailure,
} from "../../../src/state/index.ts";
import { Random } from "../../support/random.ts";
import { describeEachDatabase } from "./databases.ts";

const soon = { nowMs: 2000, expiresAtMs: 9000 };
const failure: TaskFailure = { name: "Error", message: "no luck", attempt: 1, atMs: 1500 };

function claim(id: string, attempt = 1, nowMs = 1000): Claim {
  return { id, type: "mail", queue: "tasks", attempt, nowMs };
}

/** Begins an attempt that must start. */
async function start(
  store: StateStore,
  id: string,
  attempt = 1,
): Promise<Extract<Begun, { status: "started" }>> {
  const begun = await store.begin(claim(id, attempt));
  if (begun.status !== "started") throw new Error(`${id} has not started: it is ${begun.status}`);
  return begun;
}

function complete(store: StateStore, id: string, fence: number, result = "1"): Promise<boolean> {
  return store.complete(id, fence, { result, ...soon });
}

async function eventKinds(store: StateStore, id: string): Promise<string[]> {
  return (await store.events(id)).map(({ kind }) => kind);
}

describeEachDatabase((database, open) => {
  it("starts a task that nobody has heard of", async () => {
    const store = await open();
    expect(await store.begin(claim("a", 3))).toEqual({ status: "started", fence: 1, attempt: 3 });
    expect(await store.get("a")).toEqual({
      id: "a",
      type: "mail",
      queue: "tasks",
      phase: "active",
      attempt: 3,
      fence: 1,
      startedAtMs: 1000,
    });
    expect(await store.get("b")).toBeUndefined();
  });

  it("does not start what is completed, dead or cancelled", async () => {
    const store = await open();
    await complete(store, "completed", (await start(store, "completed")).fence, '{"sum":3}');
    await store.fail("dead", (await start(store, "dead")).fence, { failure, ...soon });
    await store.cancel("cancelled", soon);
    for (const phase of ["completed", "dead", "cancelled"]) {
      expect(await store.begin(claim(phase, 7))).toMatchObject({ status: "finished", record: { phase } });
    }
    expect(await store.get("completed")).toMatchObject({ result: '{"sum":3}', finishedAtMs: 2000 });
    expect(await store.get("dead")).toMatchObject({ failure, finishedAtMs: 2000 });
  });

  it("refuses a message that is older than the retry that was published", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    expect(await store.retrying("a", fence, { attempt: 2, dueAtMs: 5000, failure })).toBe(true);
    expect(await store.get("a")).toMatchObject({ phase: "retrying", attempt: 1, dueAtMs: 5000, failure });
    expect(await store.begin(claim("a", 1))).toMatchObject({ status: "superseded", record: { attempt: 1 } });
    expect(await store.begin(claim("a", 2))).toEqual({ status: "started", fence: 2, attempt: 2, failure });
    expect((await store.get("a"))?.dueAtMs).toBeUndefined();
  });

  it("refuses a message that is older than the one that is active", async () => {
    const store = await open();
    await start(store, "a", 1);
    // The copy came before anybody could note that it was published.
    expect(await start(store, "a", 2)).toMatchObject({ attempt: 2, fence: 2 });
    expect(await store.begin(claim("a", 1))).toMatchObject({ status: "superseded", record: { fence: 2 } });
  });

  it("counts an attempt that neither finished nor was released as a crash", async () => {
    const store = await open();
    expect(await start(store, "a")).toMatchObject({ fence: 1, attempt: 1 });
    expect(await start(store, "a")).toMatchObject({ fence: 2, attempt: 2 });
    expect(await start(store, "a")).toMatchObject({ fence: 3, attempt: 3 });
    expect(await store.get("a")).toMatchObject({ attempt: 3 });
  });

  it("does not count an attempt that was released, and keeps the crashes before it", async () => {
    const store = await open();
    const first = await start(store, "a");
    expect(await store.release("a", first.fence)).toBe(true);
    expect(await store.get("a")).toMatchObject({ phase: "queued", attempt: 1 });
    expect(await store.release("a", first.fence)).toBe(false);
    expect(await start(store, "a")).toMatchObject({ fence: 2, attempt: 1 });
    const afterCrash = await start(store, "a");
    expect(afterCrash).toMatchObject({ fence: 3, attempt: 2 });
    await store.release("a", afterCrash.fence);
    expect(await start(store, "a")).toMatchObject({ fence: 4, attempt: 2 });
  });

  it("forgets crashes when the message is a new one", async () => {
    const store = await open();
    await start(store, "a");
    const { fence } = await start(store, "a");
    await store.retrying("a", fence, { attempt: 3, dueAtMs: 5000, failure });
    expect(await start(store, "a", 3)).toMatchObject({ fence: 3, attempt: 3 });
  });

  it("keeps crashes when a retry does not count as an attempt", async () => {
    const store = await open();
    await start(store, "a");
    const { fence } = await start(store, "a");
    await store.retrying("a", fence, { attempt: 1, dueAtMs: 5000, failure: undefined });
    expect(await start(store, "a", 1)).toMatchObject({ attempt: 2, failure: undefined });
  });

  it("refuses whatever an attempt writes after another has taken over", async () => {
    const store = await open();
    const zombie = (await start(store, "a")).fence;
    const { fence } = await start(store, "a");
    expect(await complete(store, "a", zombie)).toBe(false);
    expect(await store.fail("a", zombie, { failure, ...soon })).toBe(false);
    expect(await store.retrying("a", zombie, { attempt: 2, dueAtMs: 5000, failure })).toBe(false);
    expect(await store.release("a", zombie)).toBe(false);
    expect(await store.setProgress("a", zombie, "1", 1500)).toBe(false);
    expect(await store.get("a")).toMatchObject({ phase: "active", fence });
    expect(await eventKinds(store, "a")).toEqual(["started", "started"]);
  });

  it("takes the first outcome only", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const outcomes = [complete(store, "a", fence, '"first"'), complete(store, "a", fence, '"second"')];
    expect(await Promise.all(outcomes)).toEqual([true, false]);
    expect(await store.fail("a", fence, { failure, ...soon })).toBe(false);
    expect(await store.get("a")).toMatchObject({ phase: "completed", result: '"first"' });
  });

  it("takes the outcome of an attempt that was handed back while nobody else has begun", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    await store.release("a", fence);
    expect(await complete(store, "a", fence)).toBe(true);
  });

  it("refuses outcomes of tasks that nobody has heard of", async () => {
    const store = await open();
    expect(await complete(store, "a", 1)).toBe(false);
    expect(await store.get("a")).toBeUndefined();
  });

  it("leaves a tombstone of a task that has not come yet", async () => {
    const store = await open();
    const record = { id: "a", type: "", queue: "", phase: "cancelled", attempt: 0, fence: 0 };
    expect(await store.cancel("a", soon)).toEqual({ ...record, finishedAtMs: 2000 });
    expect(await store.begin(claim("a"))).toMatchObject({ status: "finished" });
    expect(await eventKinds(store, "a")).toEqual(["cancelled"]);
  });

  it("tells an active task that it is cancelled, and refuses its outcome", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    expect(await store.cancel("a", soon)).toMatchObject({ phase: "cancelled", type: "mail" });
    expect(await eventKinds(store, "a")).toEqual(["started", "cancel-requested", "cancelled"]);
    expect(await complete(store, "a", fence)).toBe(false);
    expect(await store.get("a")).toMatchObject({ phase: "cancelled" });
  });

  it("does not cancel what is finished", async () => {
    const store = await open();
    await complete(store, "a", (await start(store, "a")).fence);
    expect(await store.cancel("a", soon)).toMatchObject({ phase: "completed", result: "1" });
    expect(await eventKinds(store, "a")).toEqual(["started", "completed"]);
  });

  it("lets a dead task run again from any attempt, with its steps", async () => {
    const store = await open();
    const { fence } = await start(store, "a", 4);
    await store.steps.record("a", "pay", fence, '"paid"', 1100);
    await store.fail("a", fence, { failure, ...soon });
    await store.reopen("a");
    const reopened = await store.get("a");
    expect(reopened).toMatchObject({ phase: "queued", failure: undefined, finishedAtMs: undefined });
    const begun = await start(store, "a", 1);
    expect(begun).toMatchObject({ attempt: 1, failure: undefined });
    expect(begun.fence).toBeGreaterThan(fence);
    expect(await store.steps.find("a", "pay")).toEqual({ name: "pay", status: "done", result: '"paid"' });
  });

  it("goes on refusing a cancelled attempt after the task was reopened", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    await store.cancel("a", soon);
    await store.reopen("a");
    expect(await complete(store, "a", fence)).toBe(false);
    expect(await store.get("a")).toMatchObject({ phase: "queued" });
  });

  it("reopens neither what is completed nor what is not known", async () => {
    const store = await open();
    await complete(store, "a", (await start(store, "a")).fence);
    await store.reopen("a");
    await store.reopen("b");
    expect(await store.get("a")).toMatchObject({ phase: "completed" });
    expect(await store.get("b")).toBeUndefined();
  });

  it("keeps what has happened in order", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    await store.setProgress("a", fence, '{"done":1}', 1200);
    await store.retrying("a", fence, { attempt: 2, dueAtMs: 5000, failure });
    await complete(store, "a", (await start(store, "a", 2)).fence);
    const events = await store.events("a");
    expect(events).toEqual([
      { sequence: 1, kind: "started", atMs: 1000, data: '{"attempt":1,"fence":1}' },
      { sequence: 2, kind: "progress", atMs: 1200, data: '{"done":1}' },
      { sequence: 3, kind: "retrying", atMs: 1500, data: expect.stringContaining('"dueAtMs":5000') },
      { sequence: 4, kind: "started", atMs: 1000, data: '{"attempt":2,"fence":2}' },
      { sequence: 5, kind: "completed", atMs: 2000 },
    ]);
    expect(await store.events("a", 3)).toEqual(events.slice(3));
    expect(await store.events("b")).toEqual([]);
    expect(await store.get("a")).toMatchObject({ progress: '{"done":1}' });
  });

  it("keeps when each attempt has started, with its number and fence, whatever comes after it", async () => {
    const store = await open();
    const begin = (attempt: number, nowMs: number): Promise<Begun> => store.begin(claim("a", attempt, nowMs));
    const outcome = (nowMs: number): { nowMs: number; expiresAtMs: number } => ({ nowMs, expiresAtMs: 9000 });
    await begin(1, 1001);
    await begin(1, 1002);
    await store.setProgress("a", 2, "50", 1003);
    await store.release("a", 2);
    await begin(1, 1004);
    await store.retrying("a", 3, { attempt: 3, dueAtMs: 1005, failure: undefined });
    await begin(3, 1006);
    await store.fail("a", 4, { failure, ...outcome(1007) });
    await store.reopen("a");
    await begin(1, 1008);
    await store.cancel("a", outcome(1009));
    await store.reopen("a");
    await store.reopen("a");
    await begin(1, 1010);
    const before = await store.events("a");
    await store.complete("a", 8, { result: "1", ...outcome(1011) });

    const events = await store.events("a");
    expect(before).toEqual(events.slice(0, -1));
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
    expect(events.map(({ kind, atMs, data }) => `${kind} ${atMs} ${data ?? ""}`)).toEqual([
      'started 1001 {"attempt":1,"fence":1}',
      'started 1002 {"attempt":2,"fence":2}',
      "progress 1003 50",
      'started 1004 {"attempt":2,"fence":3}',
      'retrying 1004 {"attempt":3,"dueAtMs":1005}',
      'started 1006 {"attempt":3,"fence":4}',
      `dead 1007 ${JSON.stringify(failure)}`,
      'started 1008 {"attempt":1,"fence":6}',
      "cancel-requested 1009 ",
      "cancelled 1009 ",
      'started 1010 {"attempt":1,"fence":8}',
      "completed 1011 ",
    ]);
    for (const after of [0, 1, 9, 10, 11, 12, 13]) {
      expect(await store.events("a", after)).toEqual(events.slice(after));
    }
  });

  it("lists the latest first, in pages", async () => {
    const store = await open();
    for (const [index, id] of ["a", "b", "c", "d"].entries()) await store.begin(claim(id, 1, 1000 + index));
    await complete(store, "b", 1);
    const ids = async (filter?: Parameters<StateStore["list"]>[0]): Promise<string[]> =>
      (await store.list(filter)).map(({ id }) => id);
    expect(await ids()).toEqual(["b", "d", "c", "a"]);
    expect(await ids({ limit: 2 })).toEqual(["b", "d"]);
    expect(await ids({ limit: 2, before: "d" })).toEqual(["c", "a"]);
    expect(await ids({ phase: "active" })).toEqual(["d", "c", "a"]);
    expect(await ids({ type: "other" })).toEqual([]);
    expect(await ids({ queue: "tasks", type: "mail", phase: "completed" })).toEqual(["b"]);
  });

  it("counts what is active and what has finished since", async () => {
    const store = await open();
    for (const id of ["a", "b", "c", "d"]) await start(store, id);
    await complete(store, "a", 1);
    await store.fail("b", 1, { failure, ...soon });
    await store.begin({ ...claim("e"), queue: "other" });
    expect(await store.counts("tasks", 2000)).toEqual({ active: 2, finishedSince: 2 });
    expect(await store.counts("tasks", 2001)).toEqual({ active: 2, finishedSince: 0 });
    expect(await store.counts("other", 0)).toEqual({ active: 1, finishedSince: 0 });
  });

  it("removes what has expired with all that belongs to it, and nothing else", async () => {
    const store = await open();
    await store.steps.record("a", "pay", (await start(store, "a")).fence, "1", 1100);
    await complete(store, "a", 1);
    await complete(store, "late", (await start(store, "late")).fence);
    await store.cancel("cancelled", { nowMs: 2000, expiresAtMs: 3000 });
    await start(store, "active");
    expect(await store.prune(3000)).toBe(1);
    expect(await store.get("cancelled")).toBeUndefined();
    expect(await store.prune(9000)).toBe(2);
    expect(await store.get("a")).toBeUndefined();
    expect(await store.events("a")).toEqual([]);
    expect(await store.get("active")).toMatchObject({ phase: "active" });
    // The same id is a new task.
    await start(store, "a");
    expect(await store.steps.find("a", "pay")).toBeUndefined();
    expect(await eventKinds(store, "a")).toEqual(["started"]);
  });

  it("does all that was asked in one turn, in that order", async () => {
    const store = await open();
    const [begun, progress, completed, again] = await Promise.all([
      store.begin(claim("a")),
      store.setProgress("a", 1, "50", 1100),
      complete(store, "a", 1),
      store.begin(claim("a")),
    ]);
    expect(begun).toMatchObject({ status: "started", fence: 1 });
    expect([progress, completed]).toEqual([true, true]);
    expect(again).toMatchObject({ status: "finished", record: { progress: "50" } });
    expect(await eventKinds(store, "a")).toEqual(["started", "progress", "completed"]);
  });

  it("refuses a write that cannot be stored alone, not what came with it", async () => {
    const store = await open();
    const unstorable = { ...claim("bad"), attempt: Symbol("no number") as unknown as number };
    const [before, bad, zero, after] = await Promise.allSettled([
      store.begin(claim("before")),
      store.begin(unstorable),
      store.begin(claim("with\0zero")),
      store.begin(claim("after")),
    ]);
    expect([bad.status, zero.status]).toEqual(["rejected", "rejected"]);
    expect([before, after]).toMatchObject([{ value: { fence: 1 } }, { value: { fence: 1 } }]);
    expect(await store.get("before")).toMatchObject({ phase: "active" });
    expect(await store.get("after")).toMatchObject({ phase: "active" });
    expect(await store.get("bad")).toBeUndefined();
  });

  it("keeps text of any kind", async () => {
    const store = await open();
    const id = "task 'ü' \"𝄞\" \\ ; --";
    const { fence } = await start(store, id);
    const result = JSON.stringify({ text: "\0 \u2028 '\" $1 ?" });
    expect(await complete(store, id, fence, result)).toBe(true);
    expect(await store.get(id)).toMatchObject({ id, result });
  });

  it("wakes who waits for a task when it changes", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const change = store.changed("a", 60_000);
    await complete(store, "a", fence);
    await expect(change).resolves.toBeUndefined();
  });

  it("ends waiting for a task that does not change", async () => {
    const store = await open();
    await expect(store.changed("a", 5)).resolves.toBeUndefined();
  });

  it("ends waiting when it is closed, and refuses what comes later", async () => {
    const store = await open();
    const change = store.changed("a", 60_000);
    await store.close();
    await store.close();
    await change;
    await expect(store.begin(claim("a"))).rejects.toThrow("the state is closed");
    await expect(store.get("a")).rejects.toThrow("the state is closed");
  });

  it("finishes what was begun when it is closed", async () => {
    const store = await open();
    const begun = store.begin(claim("a"));
    await store.close();
    expect(await begun).toMatchObject({ status: "started" });
  });

  it("records an intent once", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    expect(await store.steps.find("a", "pay")).toBeUndefined();
    expect(await store.steps.intend("a", "pay", fence, 1100)).toBe(true);
    expect(await store.steps.intend("a", "pay", fence, 1100)).toBe(false);
    expect(await store.steps.find("a", "pay")).toEqual({ name: "pay", status: "intended" });
    expect(await store.steps.record("a", "pay", fence, '{"id":1}', 1200)).toBe(true);
    expect(await store.steps.record("a", "pay", fence, '{"id":2}', 1200)).toBe(false);
    expect(await store.steps.intend("a", "pay", fence, 1300)).toBe(false);
    expect(await store.steps.find("a", "pay")).toEqual({ name: "pay", status: "done", result: '{"id":1}' });
  });

  it("leaves the intent of an attempt that crashed to the next one", async () => {
    const store = await open();
    const zombie = (await start(store, "a")).fence;
    await store.steps.intend("a", "pay", zombie, 1100);
    const { fence } = await start(store, "a");
    expect(await store.steps.record("a", "pay", zombie, "1", 1200)).toBe(false);
    expect(await store.steps.intend("a", "mail", zombie, 1200)).toBe(false);
    expect(await store.steps.find("a", "pay")).toMatchObject({ status: "intended" });
    expect(await store.steps.record("a", "pay", fence, undefined, 1300)).toBe(true);
    expect(await store.steps.find("a", "pay")).toEqual({ name: "pay", status: "done" });
  });

  it("begins no step of a cancelled task, but keeps what one has done", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    await store.steps.intend("a", "pay", fence, 1100);
    await store.cancel("a", soon);
    expect(await store.steps.intend("a", "mail", fence, 1200)).toBe(false);
    expect(await store.steps.record("a", "pay", fence, "1", 1200)).toBe(true);
  });

  it("writes a step's data and its result together", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const sql = `INSERT INTO paid VALUES (${database.parameter(1)}, ${database.parameter(2)})`;
    const table = await uniqueTable(store);
    const pay = (amount: number): Promise<string | undefined> =>
      store.steps.transact(
        "a",
        "pay",
        fence,
        async (tx) => {
          await tx.query(sql.replace("paid", table), ["order", amount]);
          return { amount };
        },
        1100,
      );
    expect(await pay(5)).toBe('{"amount":5}');
    expect(await pay(6)).toBe('{"amount":5}');
    expect(await rowsOf(store, table)).toEqual([{ name: "order", amount: 5 }]);
    expect(await store.steps.find("a", "pay")).toEqual({
      name: "pay",
      status: "done",
      result: '{"amount":5}',
    });
  });

  it("writes neither when the work throws", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const table = await uniqueTable(store);
    const work = store.steps.transact(
      "a",
      "pay",
      fence,
      async (tx) => {
        await tx.query(`INSERT INTO ${table} VALUES ('order', 5)`);
        throw new Error("card refused");
      },
      1100,
    );
    await expect(work).rejects.toThrow("card refused");
    expect(await rowsOf(store, table)).toEqual([]);
    expect(await store.steps.find("a", "pay")).toBeUndefined();
    // The store goes on.
    expect(await complete(store, "a", fence)).toBe(true);
  });

  it("runs no transaction of an attempt that is no longer the task's", async () => {
    const store = await open();
    const zombie = (await start(store, "a")).fence;
    const { fence } = await start(store, "a");
    const run = (ofFence: number): Promise<string | undefined> =>
      store.steps.transact("a", "pay", ofFence, () => "ran", 1100);
    await expect(run(zombie)).rejects.toThrow(StaleFenceError);
    await complete(store, "a", fence);
    await expect(run(fence)).rejects.toThrow(StaleFenceError);
    await expect(store.steps.transact("b", "pay", 1, () => 1, 1100)).rejects.toThrow(StaleFenceError);
  });

  it("does other writes after a transaction that takes its time", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const { promise: paid, resolve: pay } = Promise.withResolvers<string>();
    const step = store.steps.transact("a", "pay", fence, () => paid, 1100);
    const other = start(store, "b");
    expect(await store.steps.find("a", "pay")).toBeUndefined();
    pay("paid");
    expect(await step).toBe('"paid"');
    expect(await other).toMatchObject({ fence: 1 });
  });

  it("lends the transaction no longer than the work lasts", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    let query: (() => Promise<unknown>) | undefined;
    await store.steps.transact("a", "pay", fence, (tx) => void (query = () => tx.query("SELECT 1")), 1100);
    await expect(query?.()).rejects.toThrow("has ended");
  });

  it("leases to one owner at a time, until it expires", async () => {
    const store = await open();
    const { leases } = store;
    const lease = await leases.acquire("cron", "anna", 100, 1000);
    expect(lease).toEqual({ name: "cron", owner: "anna", fence: 1, expiresAtMs: 1100 });
    expect(await leases.acquire("cron", "bert", 100, 1099)).toBeUndefined();
    expect(await leases.renew(lease!, 100, 1050)).toMatchObject({ fence: 1, expiresAtMs: 1150 });
    expect(await leases.acquire("cron", "bert", 100, 1149)).toBeUndefined();
    expect(await leases.acquire("cron", "bert", 100, 1150)).toMatchObject({ owner: "bert", fence: 2 });
    expect(await leases.renew(lease!, 100, 1151)).toBeUndefined();
    expect(await leases.acquire("other", "anna", 100, 1000)).toMatchObject({ fence: 1 });
  });

  it("loses a lease that has expired, though nobody has taken it", async () => {
    const { leases } = await open();
    const lease = await leases.acquire("cron", "anna", 100, 1000);
    expect(await leases.renew(lease!, 100, 1100)).toBeUndefined();
    expect(await leases.acquire("cron", "anna", 100, 1200)).toMatchObject({ fence: 1, expiresAtMs: 1300 });
  });

  it("gives a released lease to the next owner at once, with a higher fence", async () => {
    const { leases } = await open();
    const lease = await leases.acquire("cron", "anna", 100, 1000);
    await leases.release(lease!);
    const next = await leases.acquire("cron", "bert", 100, 1001);
    expect(next).toMatchObject({ owner: "bert", fence: 2 });
    // It is no longer anna's to release.
    await leases.release(lease!);
    expect(await leases.renew(next!, 100, 1050)).toMatchObject({ owner: "bert" });
  });

  if (!database.isShared) return;

  it("keeps what was written, for the next who opens it", async () => {
    const location = database.location();
    const first = await open(location);
    await complete(first, "a", (await start(first, "a")).fence);
    await first.close();
    const second = await open(location);
    expect(await second.get("a")).toMatchObject({ phase: "completed", result: "1" });
    expect(await eventKinds(second, "a")).toEqual(["started", "completed"]);
  });

  it("opens several stores on an empty database at once", async () => {
    const location = database.location();
    const stores = await Promise.all(Array.from({ length: 4 }, () => open(location)));
    await Promise.all(stores.map((store, index) => start(store, `task-${index}`)));
    expect(await stores[0].list()).toHaveLength(4);
  });

  it("wakes who waits for a task that another store changes", async () => {
    const location = database.location();
    const [one, other] = [await open(location), await open(location)];
    await start(one, "a");
    for (let round = 0; round < 3; round++) {
      const change = one.changed("a", 60_000);
      await start(other, "a");
      await change;
    }
    expect(await eventKinds(one, "a")).toHaveLength(4);
  });

  it("waits for another store's transaction", async () => {
    const location = database.location();
    const [one, other] = [await open(location), await open(location)];
    const { fence } = await start(one, "a");
    const { promise: paid, resolve: pay } = Promise.withResolvers<void>();
    const { promise: began, resolve: begin } = Promise.withResolvers<void>();
    const step = one.steps.transact("a", "pay", fence, () => (begin(), paid), 1100);
    await began;
    const writes = Promise.all([start(other, "b"), other.steps.intend("a", "mail", fence, 1100)]);
    pay();
    await step;
    expect(await writes).toMatchObject([{ fence: 1 }, true]);
    expect(await other.steps.find("a", "pay")).toMatchObject({ status: "done" });
  });

  it("refuses a transaction whose task another store has taken over, before or during the work", async () => {
    const location = database.location();
    const [one, other] = [await open(location), await open(location)];
    const zombie = (await start(one, "a")).fence;
    const table = await uniqueTable(one);
    // SQLite has one writer: there the other store begins before, or after the end.
    if (one.kind === "sqlite") await start(other, "a");
    const step = one.steps.transact(
      "a",
      "pay",
      zombie,
      async (tx) => {
        await tx.query(`INSERT INTO ${table} VALUES ('order', 5)`);
        await start(other, "a");
      },
      1100,
    );
    await expect(step).rejects.toThrow(StaleFenceError);
    expect(await rowsOf(one, table)).toEqual([]);
  });

  it("lets exactly one of many racing attempts complete a task", async () => {
    const location = database.location();
    const stores = [await open(location), await open(location)];
    const random = new Random(7);
    const ids = Array.from({ length: 30 }, (_, index) => `task-${index}`);
    const won = new Map<string, string[]>(ids.map((id) => [id, []]));
    const fences = new Map<string, number[]>(ids.map((id) => [id, []]));

    const worker = async (name: string): Promise<void> => {
      const store = random.pick(stores);
      for (const id of shuffled(ids, random)) {
        const begun = await store.begin(claim(id));
        if (begun.status !== "started") continue;
        fences.get(id)?.push(begun.fence);
        if (random.chance(0.3)) continue;
        if (await complete(store, id, begun.fence, JSON.stringify(name))) won.get(id)?.push(name);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, index) => worker(`worker-${index}`)));

    for (const id of ids) {
      const record = await stores[0].get(id);
      // No fence was given twice, however the two stores met.
      expect(new Set(fences.get(id)).size).toBe(fences.get(id)?.length);
      expect(won.get(id)).toEqual(
        record?.phase === "completed" ? [JSON.parse(record.result!) as string] : [],
      );
    }
    expect([...won.values()].flat().length).toBeGreaterThan(20);
  });

  it("leases to one owner though two stores ask at once", async () => {
    const location = database.location();
    const stores = [await open(location), await open(location)];
    const leases = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        stores[index % 2].leases.acquire("cron", `owner-${index}`, 100, 1000),
      ),
    );
    expect(leases.filter((lease) => lease !== undefined)).toHaveLength(1);
  });
});

let tables = 0;

/** A table (name, amount) for the data of steps. */
async function uniqueTable(store: StateStore): Promise<string> {
  const table = `paid_${process.pid}_${tables++}`;
  await inTransaction(store, `CREATE TABLE ${table} (name text, amount integer)`);
  return table;
}

function rowsOf(store: StateStore, table: string): Promise<Record<string, unknown>[]> {
  return inTransaction(store, `SELECT name, amount FROM ${table}`);
}

async function inTransaction(store: StateStore, sql: string): Promise<Record<string, unknown>[]> {
  const id = `sql-${tables++}`;
  const { fence } = await start(store, id);
  const result = await store.steps.transact(id, "sql", fence, (tx) => tx.query(sql), 1000);
  return JSON.parse(result!) as Record<string, unknown>[];
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((item) => ({ item, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

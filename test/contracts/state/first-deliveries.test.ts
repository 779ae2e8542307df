/** What begins at its first delivery may be written with its outcome: nobody can tell, but that it costs less. */

import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import type { Begun, StateStore } from "../../../src/state/index.ts";
import { describeEachDatabase } from "./databases.ts";

const soon = { nowMs: 2000, expiresAtMs: 9000 };
const done = { result: '"done"', ...soon };

function claim(id: string, isFirstDelivery = true) {
  return { id, type: "mail", queue: "tasks", attempt: 1, nowMs: 1000, isFirstDelivery };
}

async function start(
  store: StateStore,
  id: string,
  isFirstDelivery?: boolean,
): Promise<Extract<Begun, { status: "started" }>> {
  const begun = await store.begin(claim(id, isFirstDelivery));
  if (begun.status !== "started") throw new Error(`${id} has not started: it is ${begun.status}`);
  return begun;
}

describeEachDatabase((database, open) => {
  it("a task that ends at once has been through the same as any other", async () => {
    const store = await open();
    const { fence, attempt } = await start(store, "a");
    expect(attempt).toBe(1);
    const ends = [store.complete("a", fence + 1, done), store.complete("a", fence, done)];
    expect(await Promise.all(ends)).toEqual([false, true]);
    expect(await store.get("a")).toEqual({
      id: "a",
      type: "mail",
      queue: "tasks",
      phase: "completed",
      attempt: 1,
      fence,
      startedAtMs: 1000,
      finishedAtMs: 2000,
      result: '"done"',
    });
    expect(await store.events("a")).toEqual([
      { sequence: 1, kind: "started", atMs: 1000, data: `{"attempt":1,"fence":${fence}}` },
      { sequence: 2, kind: "completed", atMs: 2000 },
    ]);
    expect(await store.complete("a", fence, done)).toBe(false);
    expect(await store.begin(claim("a"))).toMatchObject({ status: "finished" });
  });

  it("whoever looks at a task that has begun finds it at work", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    expect(await store.get("a")).toMatchObject({ phase: "active", attempt: 1, fence });
    await start(store, "b");
    expect(await store.list({ phase: "active" })).toHaveLength(2);
    await start(store, "c");
    expect(await store.counts("tasks", 0)).toEqual({ active: 3, finishedSince: 0 });
    await start(store, "d");
    expect(await store.events("d")).toMatchObject([{ kind: "started" }]);
  });

  it("each other end of it is as of any task", async () => {
    const store = await open();
    const failure = { name: "Error", message: "no luck", attempt: 1, atMs: 1500 };
    const fences = await Promise.all(
      ["dead", "retrying", "released", "cancelled", "progress"].map(
        async (id) => (await start(store, id)).fence,
      ),
    );
    const [dead, retrying, released, , progress] = fences;
    const writes = [
      store.fail("dead", dead, { failure, ...soon }),
      store.retrying("retrying", retrying, { attempt: 2, dueAtMs: 5000, failure }),
      store.release("released", released),
      store.cancel("cancelled", soon),
      store.setProgress("progress", progress, "1", 1100),
    ];
    expect(await Promise.all(writes)).toMatchObject([true, true, true, { phase: "cancelled" }, true]);
    const phases = ["dead", "retrying", "released", "cancelled", "progress"].map(
      async (id) => (await store.get(id))?.phase,
    );
    expect(await Promise.all(phases)).toEqual(["dead", "retrying", "queued", "cancelled", "active"]);
    expect((await store.events("cancelled")).map(({ kind }) => kind)).toEqual([
      "started",
      "cancel-requested",
      "cancelled",
    ]);
    expect(await store.complete("cancelled", fences[3], done)).toBe(false);
  });

  it("a cancellation that was asked for before it is done before it", async () => {
    const store = await open();
    const cancelled = store.cancel("a", soon);
    const begun = store.begin(claim("a"));
    await cancelled;
    expect(await begun).toMatchObject({ status: "finished", record: { phase: "cancelled" } });
  });

  it("steps know it", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    expect(await store.steps.find("a", "pay")).toBeUndefined();
    expect(await store.steps.intend("a", "pay", fence, 1100)).toBe(true);
    expect(await store.steps.record("a", "pay", fence, "1", 1200)).toBe(true);
    const other = await start(store, "b");
    expect(await store.steps.transact("b", "pay", other.fence, () => 2, 1300)).toBe("2");
    expect(await store.complete("a", fence, done)).toBe(true);
    expect(await store.complete("b", other.fence, done)).toBe(true);
  });

  it("whoever works in the transaction of a step may look at any task meanwhile", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    await start(store, "b");
    const phases = await store.steps.transact(
      "a",
      "pay",
      fence,
      async () => [
        (await store.get("a"))?.phase,
        (await store.list()).length > 0,
        (await store.events("a")).length,
      ],
      1300,
    );
    // What Postgres shows to other connections than the transaction's own is the same here.
    expect(phases).toBe('["active",true,1]');
    expect(await store.get("b")).toMatchObject({ phase: "active" });
  });

  it("a step whose transaction fails leaves it at work", async () => {
    const store = await open();
    const { fence } = await start(store, "a");
    const failing = (): never => {
      throw new Error("no luck");
    };
    await expect(store.steps.transact("a", "pay", fence, failing, 1300)).rejects.toThrow("no luck");
    expect(await store.get("a")).toMatchObject({ phase: "active", fence });
    expect(await store.complete("a", fence, done)).toBe(true);
  });

  it("a second delivery takes it over, and counts the first as cut short", async () => {
    const store = await open();
    const first = await start(store, "a");
    const second = await start(store, "a", false);
    expect(second).toMatchObject({ attempt: 2, fence: first.fence + 1 });
    expect(await store.complete("a", first.fence, done)).toBe(false);
    expect(await store.complete("a", second.fence, done)).toBe(true);
    // Both at once.
    const [one, other] = await Promise.all([start(store, "b"), start(store, "b", false)]);
    expect(other).toMatchObject({ attempt: 2, fence: one.fence + 1 });
  });

  it("many are begun and ended at once, among others that are not", async () => {
    const store = await open();
    const ids = Array.from({ length: 300 }, (_, index) => `task ${index}`);
    const ends = ids.map(async (id, index) => {
      const { fence } = await start(store, id, index % 3 > 0);
      if (index % 4 === 0) await nextTurn();
      return store.complete(id, fence, { ...done, result: String(index) });
    });
    expect(new Set(await Promise.all(ends))).toEqual(new Set([true]));
    const records = await store.list({ phase: "completed", limit: 1000 });
    expect(new Set(records.map(({ id, result }) => `${id} ${result}`))).toEqual(
      new Set(ids.map((id, index) => `${id} ${index}`)),
    );
  });

  it.skipIf(!database.isShared)("is seen by other processes when the turn has passed", async () => {
    const location = database.location();
    const [store, other] = [await open(location), await open(location)];
    const { fence } = await start(store, "a");
    // One turn in which it may end, and the one that writes it.
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect(await other.get("a")).toMatchObject({ phase: "active", fence });
    expect(await other.begin(claim("a", false))).toMatchObject({ status: "started", attempt: 2 });
    expect(await store.complete("a", fence, done)).toBe(false);
  });

  it.skipIf(!database.isShared)("of two processes that have begun the same task one may end it", async () => {
    const location = database.location();
    const [store, other] = [await open(location), await open(location)];
    for (const id of ["a", "b", "c", "d", "e"]) {
      const [mine, theirs] = await Promise.all([start(store, id), start(other, id)]);
      expect(mine.fence).not.toBe(theirs.fence);
      const ends = [store.complete(id, mine.fence, done), other.complete(id, theirs.fence, done)];
      const sure = (await Promise.all(ends)).toSorted((a, b) => Number(a) - Number(b));
      expect(sure).toEqual([false, true]);
      expect(await store.get(id)).toMatchObject({ phase: "completed" });
    }
  });

  it.skipIf(!database.isShared)("is there when the store is closed and opened again", async () => {
    const location = database.location();
    const store = await open(location);
    const { fence } = await start(store, "a");
    await store.close();
    expect(await (await open(location)).get("a")).toMatchObject({ phase: "active", fence });
  });
});

/** What the contract cannot say of every database: files, and other programs that write to them. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { openState, StateError, type StateStore } from "../../../src/state/index.ts";
import { openSqliteStore } from "../../../src/state/sqlite-store.ts";
import { dataDirectory } from "../../support/data-directory.ts";

const claim = { id: "a", type: "mail", queue: "tasks", attempt: 1, nowMs: 1000 };

/**
 * What a process does that finds the index of the log in disorder, as one that was killed may leave it: it takes the locks
 * of who writes and who repairs. https://sqlite.org/walformat.html#wal_locks
 */
const repairing = `
import fcntl, os, sys, time
index = os.open(sys.argv[1], os.O_RDWR)
for lock in (120, 122):
    fcntl.lockf(index, fcntl.LOCK_EX, 1, lock)
os.pwrite(index, bytes(48), 0)
print("repairing", flush=True)
time.sleep(0.1)
`;

describe("state in SQLite", () => {
  it("waits for another program's transaction without holding up this one", async () => {
    const { store, file } = await openFile();
    const other = connectTo(file);
    other.exec("BEGIN IMMEDIATE");
    const begun = store.begin(claim);
    // Had the store waited within SQLite, this would run five seconds later, after a failure.
    await delay(20);
    other.exec("COMMIT");
    expect(await begun).toMatchObject({ status: "started", fence: 1 });
  });

  it("says when another program does not stop writing", async () => {
    const { store, file } = await openFile(20);
    const other = connectTo(file);
    other.exec("BEGIN IMMEDIATE");
    await expect(store.begin(claim)).rejects.toThrow("Another process has been writing");
    other.exec("ROLLBACK");
    expect(await store.begin(claim)).toMatchObject({ fence: 1 });
  });

  it("waits with a read until another process has repaired the log", async () => {
    const { store, file } = await openFile();
    await store.begin(claim);
    const repair = spawn("python3", ["-c", repairing, `${file}-shm`]);
    onTestFinished(() => void repair.kill());
    await once(repair.stdout, "data");
    expect(await store.get("a")).toMatchObject({ phase: "active" });
    expect(await store.complete("a", 1, { result: "1", nowMs: 2000, expiresAtMs: 9000 })).toBe(true);
  });

  it("counts an attempt that has ended its process before anything was written", async () => {
    const { store, file } = await openFile();
    await beginAndDie(file, "a");
    expect(await store.begin({ ...claim, isFirstDelivery: false })).toMatchObject({ attempt: 2 });
    expect(await store.events("a")).toMatchObject([
      { kind: "started", data: /"attempt":1/ },
      { kind: "started" },
    ]);
  });

  it("takes over what a process had begun that is long gone, and removes its file", async () => {
    const { store, file } = await openFile();
    await beginAndDie(file, "a");
    const begunFiles = (): string[] => readdirSync(dirname(file)).filter((name) => name.includes("-begun-"));
    const [left] = begunFiles();
    const twoHoursAgo = new Date(Date.now() - 7_200_000);
    utimesSync(join(dirname(file), left), twoHoursAgo, twoHoursAgo);
    await store.close();
    const later = await openState({ sqlite: file });
    onTestFinished(() => later.close());
    expect(begunFiles()).toEqual([]);
    expect(await later.get("a")).toMatchObject({ phase: "active", attempt: 1 });
    expect(await later.begin(claim)).toMatchObject({ attempt: 2 });
  });

  it("a number of a row that was removed is nobody else's", async () => {
    const { store, file } = await openFile();
    await beginAndDie(file, "old");
    const [left] = readdirSync(dirname(file)).filter((name) => name.includes("-begun-"));
    utimesSync(join(dirname(file), left), 1, 1);
    await store.close();
    const later = await openState({ sqlite: file });
    onTestFinished(() => later.close());
    expect(await later.prune(Date.now())).toBe(1);
    const end = async (id: string): Promise<boolean> => {
      const begun = await later.begin({ ...claim, id });
      return later.complete(id, (begun as { fence: number }).fence, {
        result: `"${id}"`,
        nowMs: 2000,
        expiresAtMs: 9000,
      });
    };
    expect([await end("another"), await end("old")]).toEqual([true, true]);
    expect(await later.get("another")).toMatchObject({ result: '"another"' });
    expect(await later.get("old")).toMatchObject({ result: '"old"' });
  });

  it("writes at once what begins when there can be no file for that", async () => {
    const { store, file } = await openFile();
    await store.leases.acquire("any", "me", 1000, 1000);
    // What is open stays usable, and nothing can be opened there any more.
    renameSync(dirname(file), `${dirname(file)}-away`);
    onTestFinished(() => renameSync(`${dirname(file)}-away`, dirname(file)));
    expect(await store.begin({ ...claim, isFirstDelivery: true })).toMatchObject({ fence: 1, attempt: 1 });
    expect(await store.complete("a", 1, { result: "1", nowMs: 2000, expiresAtMs: 9000 })).toBe(true);
    expect(await store.get("a")).toMatchObject({ phase: "completed" });
  });

  it("a store that is closed leaves nothing beside the database", async () => {
    const { store, file } = await openFile();
    await store.begin({ ...claim, isFirstDelivery: true });
    await store.close();
    expect(readdirSync(dirname(file))).toEqual([basename(file)]);
  });

  it("finds tasks and events by an index, however many there are", async () => {
    const prepare = vi.spyOn(DatabaseSync.prototype, "prepare");
    onTestFinished(() => prepare.mockRestore());
    const { store, file } = await openFile();
    await store.begin(claim);
    await store.list();
    await store.list({ type: "mail", queue: "tasks", phase: "active", before: "a", limit: 1 });
    await store.prune(0);
    const statements = prepare.mock.calls.map(([sql]) => sql).filter((sql) => sql.includes("warren_tasks"));
    expect(statements.length).toBeGreaterThan(8);
    const database = connectTo(file);
    const plans = statements.map((sql) => {
      const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all();
      return `${sql}: ${steps.map(({ detail }) => detail).join()}`;
    });
    expect(plans.filter((plan) => /: .*(SCAN (?!CONSTANT)|TEMP B-TREE)/.test(plan))).toEqual([]);
  });

  it("lives beside the tables of a program, whatever version those have", async () => {
    const file = join(dataDirectory(), "app.db");
    connectTo(file).exec("CREATE TABLE orders (id INTEGER); PRAGMA user_version = 12");
    const store = await openState({ sqlite: file });
    onTestFinished(() => store.close());
    expect(await store.begin(claim)).toMatchObject({ status: "started" });
    expect(connectTo(file).prepare("PRAGMA user_version").get()).toEqual({ user_version: 12 });
  });

  it("writes no rows for the events of a task that starts once and completes", async () => {
    const { store, file } = await openFile();
    await store.begin(claim);
    await store.complete("a", 1, { result: "1", nowMs: 2000, expiresAtMs: 9000 });
    expect(await store.events("a")).toHaveLength(2);
    expect(connectTo(file).prepare("SELECT count(*) AS rows FROM warren_events").get()).toEqual({ rows: 0 });
  });

  it("refuses a file that a newer Warren has written", async () => {
    const { store, file } = await openFile();
    await store.close();
    connectTo(file).exec("UPDATE warren_version SET version = 2");
    await expect(openState({ sqlite: file })).rejects.toThrow(/written by a newer Warren.*Upgrade this one/);
  });

  it("says what is wrong with a file that it cannot open", async () => {
    const directory = dataDirectory();
    const text = join(directory, "text.db");
    writeFileSync(
      text,
      "this is no database, but it is long enough to look like a file that could be one\n".repeat(20),
    );
    await expect(openState({ sqlite: text })).rejects.toThrow(
      /text\.db cannot be opened: file is not a database/,
    );
    await expect(openState(`sqlite:${directory}/none/state.db`)).rejects.toThrow("a directory that exists");
  });
});

describe("the address of state", () => {
  it("lists what is possible when it is none of that, without the password in it", async () => {
    const opened = openState("mysql://root:secret@localhost/db");
    await expect(opened).rejects.toThrow(StateError);
    await expect(opened).rejects.toThrow(/^(?!.*secret).*sqlite:PATH.*postgres:/);
    await expect(openState("sqlite:")).rejects.toThrow("sqlite:PATH");
  });

  it("takes a path after sqlite:", async () => {
    const store = await openState(`sqlite:${join(dataDirectory(), "state.db")}`);
    onTestFinished(() => store.close());
    expect(store.kind).toBe("sqlite");
  });
});

async function openFile(busyTimeoutMs?: number): Promise<{ store: StateStore; file: string }> {
  const file = join(dataDirectory(), "state.db");
  const store = await openSqliteStore({ file, busyTimeoutMs });
  onTestFinished(() => store.close());
  return { store, file };
}

function connectTo(file: string): DatabaseSync {
  const database = new DatabaseSync(file);
  onTestFinished(() => database.close());
  return database;
}

/** In a process of its own, which dies as soon as it knows that it may begin. */
async function beginAndDie(file: string, id: string): Promise<void> {
  const program = `
    import { openState } from ${JSON.stringify(new URL("../../../src/state/index.ts", import.meta.url).href)};
    const store = await openState({ sqlite: ${JSON.stringify(file)} });
    await store.begin(${JSON.stringify({ ...claim, id, isFirstDelivery: true })});
    process.kill(process.pid, "SIGKILL");`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
}

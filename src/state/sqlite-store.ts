import { setTimeout as sleep } from "node:timers/promises";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { StateError } from "./errors.ts";
import { lend } from "./lent-transaction.ts";
import type { Operation } from "./operation.ts";
import { BegunFile } from "./sqlite/begun-file.ts";
import { OtherWriters } from "./sqlite/other-writers.ts";
import { prepareSchema } from "./sqlite/schema.ts";
import { pruneSlice } from "./sqlite/prune.ts";
import { isBusy } from "./sqlite/sqlite-error.ts";
import { SqliteReads } from "./sqlite/sqlite-reads.ts";
import { SqliteRows } from "./sqlite/sqlite-rows.ts";
import { Transactions } from "./sqlite/transactions.ts";
import { WalSync } from "./sqlite/wal-sync.ts";
import type { StateDatabase } from "./state-database.ts";
import type {
  JournalEntry,
  JournalSummary,
  StateStore,
  StateTransaction,
  StepRecord,
  TaskEvent,
  TaskFilter,
  TaskRecord,
} from "./state-store.ts";
import { doneStep, recordedStep } from "./step-operations.ts";
import { Store } from "./store.ts";

export interface SqliteOptions {
  /** A path, or `:memory:`. */
  readonly file: string;
  /** How long a write waits for other processes' transactions. Default 5 000. */
  readonly busyTimeoutMs?: number;
}

/** @throws StateError when the file cannot be used. */
export async function openSqliteStore({ file, busyTimeoutMs = 5000 }: SqliteOptions): Promise<StateStore> {
  const database = await openDatabase(file, busyTimeoutMs);
  // In memory there is nothing to sync, and nothing outlives the process.
  const path = database.location() ?? undefined;
  const wal = new WalSync(path);
  const begunFile = path === undefined ? undefined : new BegunFile(path);
  const opened = new SqliteDatabase(database, wal, begunFile, busyTimeoutMs);
  try {
    await opened.takeAbandoned();
  } catch (error) {
    await opened.close();
    throw error;
  }
  return new Store(opened);
}

async function openDatabase(file: string, busyTimeoutMs: number): Promise<DatabaseSync> {
  const deadlineMs = performance.now() + busyTimeoutMs;
  for (;;) {
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(file, { timeout: busyTimeoutMs });
      // 16 MB of log instead of 4: pages that change often, such as those of indexes, are copied back less often. Begin and
      // complete, in batches of 50: a fifth to a quarter less time.
      // Not synchronous = FULL: WalSync does that part, without holding up the event loop.
      database.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000",
      );
      prepareSchema(database, file);
      // From now on nobody waits within SQLite, but for readers in rare moments.
      database.exec("PRAGMA busy_timeout = 0");
      return database;
    } catch (error) {
      database?.close();
      if (error instanceof StateError) throw error;
      // While another process switches to the write-ahead log, SQLite does not wait.
      if (isBusy(error) && performance.now() < deadlineMs) await sleep(10);
      else throw cannotOpen(file, error);
    }
  }
}

function cannotOpen(file: string, error: unknown): StateError {
  return new StateError(
    `The state in ${file} cannot be opened: ${(error as Error).message}. ` +
      "It must be a SQLite database, or a path in a directory that exists and can be written.",
    { cause: error },
  );
}

class SqliteDatabase implements StateDatabase {
  readonly kind = "sqlite";
  private readonly database: DatabaseSync;
  private readonly wal: WalSync;
  private readonly begunFile: BegunFile | undefined;
  private readonly rows: SqliteRows;
  private readonly reads: SqliteReads;
  private readonly transactions: Transactions;
  private readonly others: OtherWriters;
  private closing: Promise<void> | undefined;

  constructor(database: DatabaseSync, wal: WalSync, begunFile: BegunFile | undefined, busyTimeoutMs: number) {
    this.database = database;
    this.wal = wal;
    this.begunFile = begunFile;
    this.rows = new SqliteRows(database);
    this.reads = new SqliteReads(database, busyTimeoutMs);
    this.transactions = new Transactions(database, this.rows, wal, begunFile, busyTimeoutMs);
    this.others = new OtherWriters(() => this.reads.dataVersion());
  }

  /** What processes have begun that are gone, and could not write any more. */
  async takeAbandoned(): Promise<void> {
    if (this.begunFile === undefined) return;
    const abandoned = this.begunFile.abandoned(Date.now());
    const { tasks } = abandoned;
    if (tasks.length > 0) {
      const run = (): void => this.rows.writeBegun(tasks);
      await this.transactions.execute({ touches: {}, isLasting: false, run });
    }
    abandoned.remove();
  }

  execute<T>(operation: Operation<T>): Promise<T> {
    if (this.closing !== undefined) return Promise.reject(isClosed());
    return this.transactions.execute(operation);
  }

  async transact<T>(
    taskId: string,
    name: string,
    fence: number,
    work: (tx: StateTransaction) => T | Promise<T>,
    nowMs: number,
  ): Promise<string | undefined> {
    this.assertOpen();
    return this.transactions.exclusive(async () => {
      const { task, done } = recordedStep(this.rows, taskId, name, fence);
      if (done !== undefined) return done.result;
      const query: StateTransaction["query"] = async (sql, parameters = []) =>
        this.database.prepare(sql).all(...(parameters as SQLInputValue[]));
      const result = JSON.stringify(await lend(query, work)) as string | undefined;
      // From here to the commit in one go: who reads must not see a step as done that is not yet.
      this.rows.saveStep(task, doneStep(name, fence, result, nowMs));
      return result;
    });
  }

  async get(id: string): Promise<TaskRecord | undefined> {
    this.beforeReading();
    return this.reads.task(id);
  }

  async list(filter: TaskFilter & { limit: number }): Promise<TaskRecord[]> {
    this.beforeReading();
    return this.reads.list(filter);
  }

  async counts(queue: string, sinceMs: number): Promise<{ active: number; finishedSince: number }> {
    this.beforeReading();
    return this.reads.counts(queue, sinceMs);
  }

  async events(id: string, afterSequence: number): Promise<TaskEvent[]> {
    this.beforeReading();
    return this.reads.events(id, afterSequence);
  }

  async findStep(taskId: string, name: string): Promise<StepRecord | undefined> {
    this.assertOpen();
    return this.reads.step(taskId, name);
  }

  async readJournal(name: string, after: number): Promise<JournalEntry[]> {
    this.assertOpen();
    return this.reads.journal(name, after);
  }

  async listJournals({ prefix, limit }: { prefix: string; limit: number }): Promise<JournalSummary[]> {
    this.assertOpen();
    return this.reads.journals(prefix, limit);
  }

  pruneSome(nowMs: number): Promise<number> {
    return this.execute({
      touches: {},
      isLasting: false,
      run: () => {
        const pruned = pruneSlice(this.database, nowMs);
        // The numbers of rows that are gone are given to others.
        if (pruned > 0) this.rows.forget();
        return pruned;
      },
    });
  }

  watch(onChange: (id: string | undefined) => void): void {
    if (this.closing === undefined) this.others.watch(() => onChange(undefined));
  }

  unwatch(): void {
    this.others.stop();
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    await this.transactions.settled();
    await this.wal.close();
    if (this.rows.provisional.size === 0) this.begunFile?.close();
    this.others.stop();
    this.database.close();
  }

  /** Whoever reads finds what was begun. */
  private beforeReading(): void {
    this.assertOpen();
    this.transactions.writeProvisional();
  }

  private assertOpen(): void {
    if (this.closing !== undefined) throw isClosed();
  }
}

function isClosed(): StateError {
  return new StateError("the state is closed");
}

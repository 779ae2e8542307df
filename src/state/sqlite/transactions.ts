import { setTimeout as sleep } from "node:timers/promises";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { StateError } from "../errors.ts";
import type { Operation } from "../operation.ts";
import { enqueue, type Pending } from "../pending.ts";
import type { BegunFile } from "./begun-file.ts";
import { rollBack } from "./schema.ts";
import { isBusy } from "./sqlite-error.ts";
import type { SqliteRows } from "./sqlite-rows.ts";
import type { WalSync } from "./wal-sync.ts";

/** As SQLite's own handler begins; then it goes on with the last. */
const busyDelaysMs = [1, 2, 5, 10, 15, 20, 25] as const;

/**
 * What gathers in one turn of the event loop is one transaction, so that a hundred acknowledgements cost one sync of the
 * disk.
 *
 * A turn in which another process writes is repeated later rather than waited out: SQLite's own waiting would hold up the
 * event loop, and with it the connection to the broker; and two stores in one process would wait for each other.
 */
export class Transactions {
  private readonly database: DatabaseSync;
  private readonly beginReading: StatementSync;
  private readonly beginWriting: StatementSync;
  private readonly commit: StatementSync;
  private readonly rows: SqliteRows;
  private readonly busyTimeoutMs: number;
  private waiting: Pending[] = [];
  private isScheduled = false;
  private lastSync: Promise<void> | undefined;
  /** A transaction of {@link exclusive}, or attempts to begin one, go on. */
  private line: Promise<unknown> | undefined;
  private readonly wal: WalSync;
  private readonly begunFile: BegunFile | undefined;

  constructor(
    database: DatabaseSync,
    rows: SqliteRows,
    wal: WalSync,
    begunFile: BegunFile | undefined,
    busyTimeoutMs: number,
  ) {
    this.database = database;
    this.beginReading = database.prepare("BEGIN");
    this.beginWriting = database.prepare("BEGIN IMMEDIATE");
    this.commit = database.prepare("COMMIT");
    this.rows = rows;
    this.wal = wal;
    this.begunFile = begunFile;
    this.busyTimeoutMs = busyTimeoutMs;
  }

  execute<T>(operation: Operation<T>): Promise<T> {
    const answer = enqueue(this.waiting, operation);
    this.schedule();
    return answer;
  }

  /** Runs `work` alone between begin and commit; what others write meanwhile waits. Rolled back when `work` throws. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.inLine(async () => {
      await this.beginWhenFree();
      let result;
      try {
        result = await work();
        this.commit.run();
        this.rows.committed();
      } catch (error) {
        this.rollBack();
        throw error;
      }
      await this.wal.synced();
      return result;
    });
  }

  /** What has begun provisionally is written at once, for those who look; unless somebody else is writing: nobody waits to read. */
  writeProvisional(): void {
    const { provisional } = this.rows;
    if (provisional.size === 0 || this.line !== undefined || !this.begin()) return;
    try {
      this.rows.writeProvisional(provisional.ids);
      this.commit.run();
      this.rows.committed();
    } catch {
      // It stands in the file of what was begun, and whoever ends it finds out what is wrong.
      this.rollBack();
    }
  }

  /** Resolves when all that was handed in has been committed and synced. */
  async settled(): Promise<void> {
    while (this.line !== undefined || this.waiting.length > 0) {
      if (this.line === undefined) this.runTurn();
      await this.line?.catch(() => {});
    }
    this.writeProvisional();
    await this.lastSync;
  }

  private schedule(): void {
    if (this.isScheduled || this.line !== undefined) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.runTurn();
    });
  }

  private runTurn(): void {
    if (this.line !== undefined) return;
    const gathered = this.waiting;
    this.waiting = [];
    // What begins in this turn gets its chance to end before it is written.
    const begun = this.rows.provisional.ids;
    let batch: readonly Pending[] = gathered;
    try {
      batch = this.startProvisionally(gathered);
      if (batch.length === 0 && begun.length === 0) return;
      if (this.begin()) return this.runAndCommit(batch, begun);
    } catch (error) {
      return rejectAll(batch, error);
    }
    void this.inLine(async () => {
      await this.beginWhenFree();
      this.runAndCommit(batch, begun);
    }).catch((error: unknown) => rejectAll(batch, error));
  }

  /** Begins what nobody has heard of, and returns the other operations: they need a transaction that writes. */
  private startProvisionally(batch: readonly Pending[]): readonly Pending[] {
    if (!batch.some(({ operation }) => operation.startProvisionally !== undefined)) return batch;
    const { provisional } = this.rows;
    const started: (readonly [Pending, answer: unknown])[] = [];
    const others: Pending[] = [];
    const othersTasks = new Set<string | undefined>();
    try {
      this.beginReading.run();
      for (const pending of batch) {
        const { operation } = pending;
        const { task } = operation.touches;
        // What was asked for before it is done before it.
        const answer = othersTasks.has(task) ? undefined : operation.startProvisionally?.(this.rows);
        if (answer !== undefined) started.push([pending, answer]);
        else {
          othersTasks.add(task);
          others.push(pending);
        }
      }
      this.commit.run();
      if (started.length === 0) return batch;
      this.begunFile?.write(provisional.all());
    } catch {
      // Whatever is wrong with the disk, whoever writes finds it too, and says it.
      for (const [{ operation }] of started) provisional.remove(operation.touches.task!);
      rollBack(this.database);
      return batch;
    }
    for (const [pending, answer] of started) pending.resolve(answer);
    this.schedule();
    return others;
  }

  private runAndCommit(batch: readonly Pending[], begun: readonly string[]): void {
    const answers: unknown[] = [];
    let failed: Pending | undefined;
    try {
      this.writeBegunByOthers(batch);
      for (const pending of batch) {
        failed = pending;
        answers.push(pending.operation.run(this.rows));
      }
      failed = undefined;
      this.rows.writeProvisional(begun);
      this.commit.run();
      this.rows.committed();
    } catch (error) {
      this.rollBack();
      // After a failed commit nobody knows what the disk has: it is not tried again.
      if (failed === undefined) return rejectAll(batch, error);
      // One that throws must not take the others with it. It may have written already, so that they start again.
      failed.reject(error);
      this.waiting = [...batch.filter((pending) => pending !== failed), ...this.waiting];
      this.schedule();
      return;
    }
    // What only says that an attempt began need not outlive a power failure.
    const synced = batch.some(({ operation }) => operation.isLasting) ? this.sync() : undefined;
    for (const [index, { operation, resolve, reject }] of batch.entries()) {
      if (operation.isLasting) synced!.then(() => resolve(answers[index]), reject);
      else resolve(answers[index]);
    }
  }

  /** A process that has ended, or lost its connection, may have had no turn to write what it has begun. */
  private writeBegunByOthers(batch: readonly Pending[]): void {
    if (this.begunFile === undefined) return;
    const again = batch.filter(({ operation }) => operation.isRedelivery);
    const ids = new Set(again.map(({ operation }) => operation.touches.task!));
    if (ids.size > 0) this.rows.writeBegun(this.begunFile.ofOthers(ids));
  }

  private sync(): Promise<void> {
    const synced = this.wal.synced();
    this.lastSync = synced.catch(() => {
      // Told to those whose operations wait for it.
    });
    return synced;
  }

  /** One after the other; then the turns go on. */
  private inLine<T>(action: () => Promise<T>): Promise<T> {
    const result = this.line === undefined ? action() : this.line.then(action, action);
    const place: Promise<void> = result.then(
      () => this.leaveLine(place),
      () => this.leaveLine(place),
    );
    this.line = place;
    return result;
  }

  private leaveLine(place: Promise<unknown>): void {
    if (this.line !== place) return;
    this.line = undefined;
    if (this.waiting.length > 0 || this.rows.provisional.size > 0) this.schedule();
  }

  private async beginWhenFree(): Promise<void> {
    const deadlineMs = performance.now() + this.busyTimeoutMs;
    for (let tried = 0; !this.begin(); tried++) {
      if (performance.now() >= deadlineMs) {
        throw new StateError(
          `Another process has been writing to the state's file for ${this.busyTimeoutMs / 1000} s: ` +
            "the transactions of steps must be short.",
        );
      }
      await sleep(busyDelaysMs[Math.min(tried, busyDelaysMs.length - 1)]);
    }
  }

  /** False when another connection is writing. */
  private begin(): boolean {
    try {
      this.beginWriting.run();
      this.rows.begin();
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
      return false;
    }
  }

  private rollBack(): void {
    this.rows.rolledBack();
    rollBack(this.database);
  }
}

function rejectAll(batch: readonly Pending[], error: unknown): void {
  for (const pending of batch) pending.reject(error);
}

import type { DatabaseSync, StatementResultingChanges, StatementSync } from "node:sqlite";
import type { Completed, EventRow, LeaseRow, ProvisionalStart, Rows, StepRow } from "../operation.ts";
import type { JournalAddition, StepRecord } from "../state-store.ts";
import { blankTask, isFinished, taskColumns, type TaskChange, type TaskRow } from "../task-row.ts";
import { ProvisionalTasks } from "./provisional-tasks.ts";

const mostRemembered = 10_000;

/**
 * Reads and writes at once: whoever uses it has begun a transaction.
 *
 * Tasks that are not finished are remembered: most are begun and completed by the same process, and reading a row takes as
 * long as writing it (complete: 21 µs without, 13 µs with).
 */
export class SqliteRows implements Rows, ProvisionalStart {
  private readonly remembered = new Map<string, TaskRow>();
  readonly provisional: ProvisionalTasks = new ProvisionalTasks();
  private readonly dataVersion: StatementSync;
  private knownVersion: unknown;
  private readonly selectTask: StatementSync;
  private readonly insertTask: StatementSync;
  private readonly insertCompleted: StatementSync;
  private readonly updateTask: StatementSync;
  private readonly insertEvent: StatementSync;
  private readonly selectStep: StatementSync;
  private readonly upsertStep: StatementSync;
  private readonly selectLease: StatementSync;
  private readonly upsertLease: StatementSync;
  private readonly selectLength: StatementSync;
  private readonly upsertJournal: StatementSync;
  private readonly insertEntry: StatementSync;

  constructor(database: DatabaseSync) {
    this.dataVersion = database.prepare("PRAGMA data_version");
    this.selectTask = database.prepare(`SELECT ${taskColumns} FROM warren_tasks WHERE id = ?`);
    this.insertTask = database.prepare(
      `INSERT INTO warren_tasks (type, queue, phase, attempt, message_attempt, crashes, fence, started_at, finished_at,
         due_at, expires_at, result, failure, progress, event_count, started_sequence, id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
    );
    // Of what a first attempt completes only this is its own: a tenth less than with all columns bound.
    this.insertCompleted = database.prepare(
      `INSERT INTO warren_tasks (type, queue, phase, attempt, message_attempt, fence, started_at, finished_at, expires_at,
         result, event_count, started_sequence, id)
       VALUES (?, ?, 'completed', 1, 1, ?, ?, ?, ?, ?, 2, 1, ?) ON CONFLICT (id) DO NOTHING`,
    );
    this.updateTask = database.prepare(
      `UPDATE warren_tasks SET type = ?, queue = ?, phase = ?, attempt = ?, message_attempt = ?, crashes = ?, fence = ?,
         started_at = ?, finished_at = ?, due_at = ?, expires_at = ?, result = ?, failure = ?, progress = ?,
         event_count = ?, started_sequence = ?
       WHERE key = ?`,
    );
    this.insertEvent = database.prepare("INSERT INTO warren_events VALUES (?, ?, ?, ?, ?)");
    this.selectStep = database.prepare(
      "SELECT name, status, result FROM warren_steps WHERE task = ? AND name = ?",
    );
    this.upsertStep = database.prepare("INSERT OR REPLACE INTO warren_steps VALUES (?, ?, ?, ?, ?, ?)");
    this.selectLease = database.prepare(
      "SELECT name, owner, fence, expires_at AS expiresAtMs FROM warren_leases WHERE name = ?",
    );
    this.upsertLease = database.prepare("INSERT OR REPLACE INTO warren_leases VALUES (?, ?, ?, ?)");
    this.selectLength = database.prepare("SELECT length FROM warren_journals WHERE name = ?");
    this.upsertJournal = database.prepare("INSERT OR REPLACE INTO warren_journals VALUES (?, ?, ?, ?)");
    this.insertEntry = database.prepare("INSERT INTO warren_journal_entries VALUES (?, ?, ?, ?, ?)");
  }

  /** A transaction has begun: what others have written since the last one is seen. */
  begin(): void {
    const version = this.dataVersion.get()?.["data_version"];
    if (version !== this.knownVersion) this.forget();
    this.knownVersion = version;
  }

  committed(): void {
    this.provisional.committed();
  }

  rolledBack(): void {
    this.provisional.rolledBack();
    this.forget();
  }

  /** What is remembered may not be in the database any more. */
  forget(): void {
    this.remembered.clear();
  }

  startProvisionally(task: TaskRow): boolean {
    if (this.provisional.get(task.id) ?? this.selectTask.get(task.id)) return false;
    this.provisional.add(task);
    return true;
  }

  completeProvisional(id: string, fence: number, completed: Completed): boolean {
    const task = this.provisional.get(id);
    if (task?.fence !== fence) return false;
    this.provisional.take(id);
    const { type, queue, startedAtMs } = task;
    const { result, finishedAtMs, expiresAtMs } = completed;
    const row = [type, queue, fence, startedAtMs, finishedAtMs, expiresAtMs, result, id];
    return this.insertCompleted.run(...row).changes !== 0;
  }

  writeProvisional(ids: readonly string[]): void {
    for (const id of ids) {
      const task = this.provisional.take(id);
      // When another process was first, whoever has begun it here learns of that by its fence.
      if (task) this.insert(task);
    }
  }

  /** Writes what others have begun, as they would have themselves. */
  writeBegun(tasks: readonly TaskRow[]): void {
    for (const task of tasks) this.insert(task);
  }

  task(id: string): TaskRow | undefined {
    this.writeProvisional([id]);
    return this.remembered.get(id) ?? (this.selectTask.get(id) as TaskRow | undefined);
  }

  addTask(id: string, change: TaskChange): TaskRow | undefined {
    if (this.remembered.has(id) || this.provisional.get(id)) return undefined;
    return this.insert({ ...blankTask(id), ...change });
  }

  private insert(task: TaskRow): TaskRow | undefined {
    const { changes, lastInsertRowid } = write(this.insertTask, task, task.id);
    if (changes === 0) return undefined;
    const added = { ...task, key: Number(lastInsertRowid) };
    this.remember(added);
    return added;
  }

  saveTask(task: TaskRow, change: TaskChange, events: readonly EventRow[] = []): void {
    const changed = { ...task, ...change };
    write(this.updateTask, changed, task.key);
    for (const { sequence, kind, atMs, data } of events)
      this.insertEvent.run(task.key, sequence, kind, atMs, data);
    if (isFinished(changed)) this.remembered.delete(task.id);
    else this.remember(changed);
  }

  private remember(task: TaskRow): void {
    if (this.remembered.size >= mostRemembered) this.remembered.clear();
    this.remembered.set(task.id, task);
  }

  step(task: TaskRow, name: string): StepRecord | undefined {
    const row = this.selectStep.get(task.key, name);
    return row && stepRecord(row);
  }

  saveStep(task: TaskRow, { name, status, fence, result, atMs }: StepRow): void {
    this.upsertStep.run(task.key, name, status, fence, result, atMs);
  }

  lease(name: string): LeaseRow | undefined {
    return this.selectLease.get(name) as LeaseRow | undefined;
  }

  saveLease({ name, owner, fence, expiresAtMs }: LeaseRow): void {
    this.upsertLease.run(name, owner, fence, expiresAtMs);
  }

  journalLength(name: string): number {
    return Number(this.selectLength.get(name)?.["length"] ?? 0);
  }

  addToJournal(name: string, length: number, { entries, nowMs, expiresAtMs }: JournalAddition): void {
    this.upsertJournal.run(name, length + entries.length, nowMs, expiresAtMs);
    let sequence = length;
    for (const { kind, data } of entries) this.insertEntry.run(name, ++sequence, kind, nowMs, data);
  }
}

/** All columns: to write only those that have changed spares SQLite as much as finding out which takes here. */
function write(statement: StatementSync, task: TaskRow, where: string | number): StatementResultingChanges {
  return statement.run(
    task.type,
    task.queue,
    task.phase,
    task.attempt,
    task.messageAttempt,
    task.crashes,
    task.fence,
    task.startedAtMs,
    task.finishedAtMs,
    task.dueAtMs,
    task.expiresAtMs,
    task.result,
    task.failure,
    task.progress,
    task.eventCount,
    task.startedSequence,
    where,
  );
}

export function stepRecord({ name, status, result }: Record<string, unknown>): StepRecord {
  return { name, status, result: result ?? undefined } as StepRecord;
}

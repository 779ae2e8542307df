import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { LeaseRow, NewEvent, Rows, StepRow } from "../operation.ts";
import type { StepRecord } from "../state-store.ts";
import { isFinished, touchedAtMs, type TaskRow } from "../task-row.ts";

export const taskColumns = `key, id, type, queue, phase, attempt, message_attempt AS messageAttempt, crashes, fence,
  started_at AS startedAtMs, finished_at AS finishedAtMs, due_at AS dueAtMs, expires_at AS expiresAtMs,
  result, failure, progress, event_count AS eventCount`;

const mostRemembered = 10_000;

/**
 * Reads and writes at once: whoever uses it has begun a transaction.
 *
 * Tasks that are not finished are remembered: most are begun and completed by the same process, and reading a row takes as
 * long as writing it (complete: 21 µs without, 13 µs with).
 */
export class SqliteRows implements Rows {
  private readonly remembered = new Map<string, TaskRow>();
  private readonly dataVersion: StatementSync;
  private knownVersion: unknown;
  private readonly selectTask: StatementSync;
  private readonly insertTask: StatementSync;
  private readonly updateTask: StatementSync;
  private readonly insertEvent: StatementSync;
  private readonly selectStep: StatementSync;
  private readonly upsertStep: StatementSync;
  private readonly selectLease: StatementSync;
  private readonly upsertLease: StatementSync;

  constructor(database: DatabaseSync) {
    this.dataVersion = database.prepare("PRAGMA data_version");
    this.selectTask = database.prepare(`SELECT ${taskColumns} FROM warren_tasks WHERE id = ?`);
    this.insertTask = database.prepare(
      `INSERT INTO warren_tasks (type, queue, phase, attempt, message_attempt, crashes, fence, started_at, finished_at,
         due_at, expires_at, result, failure, progress, event_count, touched_at, id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.updateTask = database.prepare(
      `UPDATE warren_tasks SET type = ?, queue = ?, phase = ?, attempt = ?, message_attempt = ?, crashes = ?, fence = ?,
         started_at = ?, finished_at = ?, due_at = ?, expires_at = ?, result = ?, failure = ?, progress = ?,
         event_count = ?, touched_at = ?
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
  }

  /** A transaction has begun: what others have written since the last one is seen. */
  begin(): void {
    const version = this.dataVersion.get()?.["data_version"];
    if (version !== this.knownVersion) this.forget();
    this.knownVersion = version;
  }

  /** What is remembered may not be in the database: a transaction was rolled back, or something else has written. */
  forget(): void {
    this.remembered.clear();
  }

  task(id: string): TaskRow | undefined {
    return this.remembered.get(id) ?? (this.selectTask.get(id) as TaskRow | undefined);
  }

  saveTask(task: TaskRow, events: readonly NewEvent[] = []): void {
    const isNew = task.key === 0;
    const { lastInsertRowid } = (isNew ? this.insertTask : this.updateTask).run(
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
      task.eventCount + events.length,
      touchedAtMs(task),
      isNew ? task.id : task.key,
    );
    const key = isNew ? Number(lastInsertRowid) : task.key;
    this.remember({ ...task, key, eventCount: task.eventCount + events.length });
    let sequence = task.eventCount;
    for (const { kind, atMs, data } of events) this.insertEvent.run(key, ++sequence, kind, atMs, data);
  }

  private remember(task: TaskRow): void {
    if (isFinished(task)) {
      this.remembered.delete(task.id);
      return;
    }
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
}

export function stepRecord({ name, status, result }: Record<string, unknown>): StepRecord {
  return { name, status, result: result ?? undefined } as StepRecord;
}

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type {
  JournalEntry,
  JournalSummary,
  StepRecord,
  TaskEvent,
  TaskFilter,
  TaskPhase,
  TaskRecord,
} from "../state-store.ts";
import { eventsOf, withEventColumns, type TaskWithEvent } from "../task-events.ts";
import { phases, taskColumns, toRecord, type TaskRow } from "../task-row.ts";
import { isBusy } from "./sqlite-error.ts";
import { stepRecord } from "./sqlite-rows.ts";

/** What is only read, beside all transactions. */
export class SqliteReads {
  private readonly database: DatabaseSync;
  private readonly busyTimeoutMs: number;
  private readonly selectTask: StatementSync;
  private readonly selectEvents: StatementSync;
  private readonly selectStep: StatementSync;
  private readonly countTasks: StatementSync;
  private readonly selectEntries: StatementSync;
  private readonly selectJournals: StatementSync;
  private readonly selectVersion: StatementSync;

  constructor(database: DatabaseSync, busyTimeoutMs: number) {
    this.database = database;
    this.busyTimeoutMs = busyTimeoutMs;
    this.selectTask = database.prepare(`SELECT ${taskColumns} FROM warren_tasks WHERE id = ?`);
    this.selectEvents = database.prepare(
      `SELECT ${withEventColumns} FROM warren_tasks AS t
       LEFT JOIN warren_events AS e ON e.task = t.key AND e.sequence > ?2 WHERE t.id = ?1`,
    );
    this.selectStep = database.prepare(
      `SELECT name, status, result FROM warren_steps
       WHERE task = (SELECT key FROM warren_tasks WHERE id = ?) AND name = ?`,
    );
    this.countTasks = database.prepare(
      `SELECT
         (SELECT count(*) FROM warren_tasks WHERE phase = 'active' AND queue = ?1) AS active,
         (SELECT count(*) FROM warren_tasks
          WHERE phase IN ('completed', 'dead', 'cancelled') AND touched_at >= ?2 AND queue = ?1) AS finishedSince`,
    );
    this.selectEntries = database.prepare(
      "SELECT sequence, kind, at AS atMs, data FROM warren_journal_entries WHERE name = ? AND sequence > ? ORDER BY sequence",
    );
    this.selectJournals = database.prepare(
      `SELECT name, length, updated_at AS updatedAtMs FROM warren_journals WHERE substr(name, 1, length(?1)) = ?1
       ORDER BY updated_at DESC, name LIMIT ?2`,
    );
    this.selectVersion = database.prepare("PRAGMA data_version");
  }

  task(id: string): TaskRecord | undefined {
    const row = this.whenFree(() => this.selectTask.get(id));
    return row && toRecord(row as unknown as TaskRow);
  }

  /** One query for each phase, since that is how the index is ordered. */
  list({ type, queue, phase, before, limit }: TaskFilter & { limit: number }): TaskRecord[] {
    const conditions = ["phase = $phase"];
    const values: Record<string, string | number> = { limit };
    if (type !== undefined) {
      conditions.push("type = $type");
      values["type"] = type;
    }
    if (queue !== undefined) {
      conditions.push("queue = $queue");
      values["queue"] = queue;
    }
    if (before !== undefined) {
      conditions.push("(touched_at, key) < (SELECT touched_at, key FROM warren_tasks WHERE id = $before)");
      values["before"] = before;
    }
    const statement = this.database.prepare(
      `SELECT ${taskColumns}, touched_at FROM warren_tasks WHERE ${conditions.join(" AND ")}
       ORDER BY touched_at DESC, key DESC LIMIT $limit`,
    );
    const inPhase = (one: TaskPhase): ListedRow[] =>
      this.whenFree(() => statement.all({ ...values, phase: one })) as unknown as ListedRow[];
    return (phase === undefined ? phases : [phase])
      .flatMap(inPhase)
      .toSorted((a, b) => b.touched_at - a.touched_at || b.key - a.key)
      .slice(0, limit)
      .map(toRecord);
  }

  counts(queue: string, sinceMs: number): { active: number; finishedSince: number } {
    return { ...this.whenFree(() => this.countTasks.get(queue, sinceMs)) } as {
      active: number;
      finishedSince: number;
    };
  }

  events(id: string, afterSequence: number): TaskEvent[] {
    const rows = this.whenFree(() => this.selectEvents.all(id, afterSequence));
    return eventsOf(rows as unknown as TaskWithEvent[], afterSequence);
  }

  step(taskId: string, name: string): StepRecord | undefined {
    const row = this.whenFree(() => this.selectStep.get(taskId, name));
    return row && stepRecord(row);
  }

  journal(name: string, after: number): JournalEntry[] {
    return this.whenFree(() => this.selectEntries.all(name, after)) as unknown as JournalEntry[];
  }

  journals(prefix: string, limit: number): JournalSummary[] {
    return this.whenFree(() => this.selectJournals.all(prefix, limit)) as unknown as JournalSummary[];
  }

  /** Changes when another connection has committed. https://sqlite.org/pragma.html#pragma_data_version */
  dataVersion(): number {
    return this.whenFree(() => this.selectVersion.get())?.["data_version"] as number;
  }

  /**
   * Readers meet only the moments in which another process repairs the log of one that has crashed: these they wait out
   * within SQLite, while those who write never do (transactions.ts).
   */
  private whenFree<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
    this.database.exec(`PRAGMA busy_timeout = ${this.busyTimeoutMs}`);
    try {
      return read();
    } finally {
      this.database.exec("PRAGMA busy_timeout = 0");
    }
  }
}

interface ListedRow extends TaskRow {
  readonly touched_at: number;
}

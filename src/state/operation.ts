import type { JournalAddition, StepRecord } from "./state-store.ts";
import type { TaskChange, TaskRow } from "./task-row.ts";

/**
 * A write, as a decision about rows. It is the same for both databases; what they do with it differs: SQLite reads and
 * writes while it runs, Postgres locks and reads the rows of a whole batch before, and writes them after. It may be run
 * again when the transaction that it was part of came to nothing.
 */
export interface Operation<T> {
  readonly touches: Touched;
  /** Somebody is told what was written, and must be able to rely on it: it has to outlive a power failure. */
  readonly isLasting: boolean;
  run(rows: Rows): T;
  /**
   * Tried first, where the database has provisional tasks, without a transaction that writes. Undefined when it must run after all.
   */
  startProvisionally?(rows: ProvisionalStart): T | undefined;
  /** Others may have begun the task, and not have written it. */
  readonly isRedelivery?: boolean;
}

/**
 * First attempts that have started and are not written yet. The next transaction writes them, and one that completes them writes them
 * once instead of twice: most of what most tasks cost. Whoever looks at {@link Rows.task} finds them written.
 */
export interface ProvisionalStart {
  /** False, and it has not started, when somebody has heard of the task. */
  startProvisionally(task: TaskRow): boolean;
}

/** Which rows an operation reads and writes. */
export interface Touched {
  readonly task?: string;
  /** It writes the task's row in any case, also when there was none. */
  readonly makesTask?: boolean;
  /** Of the task. */
  readonly step?: string;
  readonly lease?: string;
  /** It writes the lease's row in any case. */
  readonly makesLease?: boolean;
  /** The name of a log that it adds to. */
  readonly journal?: string;
}

/** The rows that an operation touches, locked against other writers. */
export interface Rows {
  task(id: string): TaskRow | undefined;
  /** Writes a task that nobody has heard of, blank but for `change`; undefined when somebody has, and nothing is written. */
  addTask(id: string, change: TaskChange): TaskRow | undefined;
  /** Writes what changes of a task, and rows for what has happened to it. */
  saveTask(task: TaskRow, change: TaskChange, events?: readonly EventRow[]): void;
  /**
   * Writes a task that is provisional as completed. False, and nothing is written, when it is not, or has another fence, or somebody
   * else has written it.
   */
  completeProvisional?(id: string, fence: number, completed: Completed): boolean;
  step(task: TaskRow, name: string): StepRecord | undefined;
  saveStep(task: TaskRow, step: StepRow): void;
  lease(name: string): LeaseRow | undefined;
  saveLease(lease: LeaseRow): void;
  /** Entries in a log; 0 in one that is not there. */
  journalLength(name: string): number;
  /** Adds behind the last of so many. */
  addToJournal(name: string, length: number, addition: JournalAddition): void;
}

/** What completing a task says of it. */
export type Completed = Pick<TaskRow, "result" | "finishedAtMs" | "expiresAtMs">;

export interface EventRow {
  readonly sequence: number;
  readonly kind: string;
  readonly atMs: number;
  /** JSON text. */
  readonly data: string | null;
}

export interface StepRow {
  readonly name: string;
  readonly status: "intended" | "done";
  readonly fence: number;
  readonly result: string | null;
  readonly atMs: number;
}

export interface LeaseRow {
  readonly name: string;
  /** Empty: nobody's. */
  readonly owner: string;
  readonly fence: number;
  readonly expiresAtMs: number;
}

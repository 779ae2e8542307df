import type { Operation } from "./operation.ts";
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

/** All that a database must do to keep state. What the writes mean stands in the operations. */
export interface StateDatabase {
  readonly kind: StateStore["kind"];
  /** In the order of the calls. Resolves when it is committed. */
  execute<T>(operation: Operation<T>): Promise<T>;
  transact<T>(
    taskId: string,
    name: string,
    fence: number,
    work: (tx: StateTransaction) => T | Promise<T>,
    nowMs: number,
  ): Promise<string | undefined>;
  get(id: string): Promise<TaskRecord | undefined>;
  list(filter: TaskFilter & { limit: number }): Promise<TaskRecord[]>;
  counts(queue: string, sinceMs: number): Promise<{ active: number; finishedSince: number }>;
  events(id: string, afterSequence: number): Promise<TaskEvent[]>;
  findStep(taskId: string, name: string): Promise<StepRecord | undefined>;
  readJournal(name: string, after: number): Promise<JournalEntry[]>;
  listJournals(filter: { readonly prefix: string; readonly limit: number }): Promise<JournalSummary[]>;
  /** Removes some of what has expired; resolves with how many, 0 at the end. */
  pruneSome(nowMs: number): Promise<number>;
  /** Tells of others' writes from now on: of one task, of one log (by its {@link journalId}), or undefined for any. */
  watch(onChange: (id: string | undefined) => void): void;
  unwatch(): void;
  close(): Promise<void>;
}

/** By which changes of a log are told, beside those of tasks. */
export function journalId(name: string): string {
  return `journal ${name}`;
}

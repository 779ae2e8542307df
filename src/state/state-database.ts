import type { Operation } from "./operation.ts";
import type {
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
  /** Removes some of what has expired; resolves with how many, 0 at the end. */
  pruneSome(nowMs: number): Promise<number>;
  /** Tells of others' writes from now on: of one task, or undefined for any. */
  watch(onChange: (id: string | undefined) => void): void;
  unwatch(): void;
  close(): Promise<void>;
}

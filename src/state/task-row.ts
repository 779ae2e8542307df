import type { TaskFailure, TaskPhase, TaskRecord } from "./state-store.ts";

/** A task as both databases keep it. */
export interface TaskRow {
  /** Its number in the database. */
  readonly key: number;
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly phase: TaskPhase;
  /** Of the attempt that was started last: what its message carries, and the crashes. */
  readonly attempt: number;
  /** What the message carries that is active or expected next; older ones are duplicates. 0: any message will do. */
  readonly messageAttempt: number;
  /** Of attempts with this message. */
  readonly crashes: number;
  readonly fence: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly dueAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly result: string | null;
  /** {@link TaskFailure} as JSON. */
  readonly failure: string | null;
  readonly progress: string | null;
  /** How many events it has: the sequence of the last one. */
  readonly eventCount: number;
  /** Of the event that its last attempt has started, while only this row tells it (task-events.ts); else 0. */
  readonly startedSequence: number;
}

export type TaskChange = Partial<Omit<TaskRow, "key" | "id">>;

/** To select a {@link TaskRow}. */
export const taskColumns = `key, id, type, queue, phase, attempt, message_attempt AS "messageAttempt", crashes, fence,
  started_at AS "startedAtMs", finished_at AS "finishedAtMs", due_at AS "dueAtMs", expires_at AS "expiresAtMs",
  result, failure, progress, event_count AS "eventCount", started_sequence AS "startedSequence"`;

export const phases: readonly TaskPhase[] = [
  "queued",
  "active",
  "retrying",
  "completed",
  "dead",
  "cancelled",
];

/** A task that nobody has heard of; 0 is no key. */
export function blankTask(id: string, key = 0): TaskRow {
  return {
    key,
    id,
    type: "",
    queue: "",
    phase: "queued",
    attempt: 0,
    messageAttempt: 0,
    crashes: 0,
    fence: 0,
    startedAtMs: null,
    finishedAtMs: null,
    dueAtMs: null,
    expiresAtMs: null,
    result: null,
    failure: null,
    progress: null,
    eventCount: 0,
    startedSequence: 0,
  };
}

export function isFinished({ phase }: Pick<TaskRow, "phase">): boolean {
  return phase === "completed" || phase === "dead" || phase === "cancelled";
}

export function toRecord(task: TaskRow): TaskRecord {
  const { id, type, queue, phase, attempt, fence } = task;
  return {
    id,
    type,
    queue,
    phase,
    attempt,
    fence,
    startedAtMs: task.startedAtMs ?? undefined,
    finishedAtMs: task.finishedAtMs ?? undefined,
    dueAtMs: task.dueAtMs ?? undefined,
    result: task.result ?? undefined,
    failure: failureOf(task),
    progress: task.progress ?? undefined,
  };
}

export function failureOf({ failure }: TaskRow): TaskFailure | undefined {
  return failure === null ? undefined : (JSON.parse(failure) as TaskFailure);
}

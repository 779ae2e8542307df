/** The rules of a task's life. The picture is in state-store.ts. */

import type { Completed, EventRow, Operation, Rows } from "./operation.ts";
import type {
  Begun,
  Claim,
  CompletedOutcome,
  DeadOutcome,
  NextAttempt,
  TaskFailure,
  TaskRecord,
} from "./state-store.ts";
import { startedEvent } from "./task-events.ts";
import { blankTask, failureOf, isFinished, toRecord, type TaskChange, type TaskRow } from "./task-row.ts";

export function begin(claim: Claim): Operation<Begun> {
  const run = (rows: Rows): Begun => {
    // Most tasks are new: to find out by adding it spares looking first, which takes half as long.
    const first = start(blankTask(claim.id), claim);
    const added = rows.addTask(claim.id, first);
    if (added !== undefined) return started(added, undefined);

    const task = rows.task(claim.id)!;
    if (isFinished(task)) return { status: "finished", record: toRecord(task) };
    if (claim.attempt < task.messageAttempt) return { status: "superseded", record: toRecord(task) };
    const next = start(task, claim);
    rows.saveTask(task, next, startedEvent(task));
    return started({ ...task, ...next }, failureOf(task));
  };
  // What a power failure takes away is only that an attempt began, and it ends the attempt as well.
  const operation: Operation<Begun> = {
    touches: { task: claim.id, makesTask: true },
    isLasting: false,
    run,
  };
  if (!claim.isFirstDelivery) return { ...operation, isRedelivery: true };
  return claim.attempt === 1 ? { ...operation, startProvisionally: startProvisionally(claim) } : operation;
}

function startProvisionally(claim: Claim): Operation<Begun>["startProvisionally"] {
  return (rows) => {
    // Nobody must take it for the fence of another process that starts the same task before either has written.
    const fence = 1 + Math.floor(Math.random() * 2 ** 40);
    const task = begunTask(claim, fence);
    return rows.startProvisionally(task) ? started(task, undefined) : undefined;
  };
}

/** A task that nobody had heard of before. */
export function begunTask(claim: Claim, fence: number): TaskRow {
  const task = blankTask(claim.id);
  return { ...task, ...start(task, claim), fence };
}

function start(task: TaskRow, claim: Claim): TaskChange {
  const crashes = crashesSince(task, claim.attempt);
  return {
    type: claim.type,
    queue: claim.queue,
    phase: "active",
    attempt: claim.attempt + crashes,
    messageAttempt: claim.attempt,
    crashes,
    fence: task.fence + 1,
    startedAtMs: claim.nowMs,
    dueAtMs: null,
    expiresAtMs: null,
    eventCount: task.eventCount + 1,
    startedSequence: task.eventCount + 1,
  };
}

function started({ fence, attempt }: TaskRow, failure: TaskFailure | undefined): Begun {
  return { status: "started", fence, attempt, failure };
}

/** Whoever was active with the same message has neither finished nor handed it back. */
function crashesSince(task: TaskRow, messageAttempt: number): number {
  if (messageAttempt !== task.messageAttempt) return 0;
  return task.phase === "active" ? task.crashes + 1 : task.crashes;
}

export function complete(id: string, fence: number, outcome: CompletedOutcome): Operation<boolean> {
  const { result = null, nowMs, expiresAtMs } = outcome;
  const completed: Completed = { result, finishedAtMs: nowMs, expiresAtMs };
  // Its event is told by the row.
  const written = change(id, true, holdsFence(fence), (task) => [
    { ...completed, phase: "completed", dueAtMs: null, eventCount: task.eventCount + 1 },
  ]);
  return {
    ...written,
    run: (rows) => rows.completeProvisional?.(id, fence, completed) || written.run(rows),
  };
}

export function fail(id: string, fence: number, outcome: DeadOutcome): Operation<boolean> {
  const { nowMs, expiresAtMs } = outcome;
  const failure = JSON.stringify(outcome.failure);
  return change(id, true, holdsFence(fence), (task) => [
    {
      phase: "dead",
      failure,
      finishedAtMs: nowMs,
      dueAtMs: null,
      expiresAtMs,
      eventCount: task.eventCount + 1,
    },
    { sequence: task.eventCount + 1, kind: "dead", atMs: nowMs, data: failure },
  ]);
}

export function retrying(id: string, fence: number, next: NextAttempt): Operation<boolean> {
  const { attempt, dueAtMs, failure } = next;
  const data = JSON.stringify(next);
  return change(id, true, holdsFence(fence), (task) => [
    {
      phase: "retrying",
      messageAttempt: attempt,
      crashes: attempt === task.messageAttempt ? task.crashes : 0,
      dueAtMs,
      failure: failure === undefined ? task.failure : JSON.stringify(failure),
      eventCount: task.eventCount + 1,
    },
    {
      sequence: task.eventCount + 1,
      kind: "retrying",
      // Nobody says what time it is; a retry without a failure is at least not older than its attempt.
      atMs: failure?.atMs ?? task.startedAtMs ?? dueAtMs,
      data,
    },
  ]);
}

export function release(id: string, fence: number): Operation<boolean> {
  return change(id, false, isActive(fence), () => [{ phase: "queued" }]);
}

export function setProgress(id: string, fence: number, progress: string, nowMs: number): Operation<boolean> {
  return change(id, false, isActive(fence), (task) => [
    { progress, eventCount: task.eventCount + 1 },
    { sequence: task.eventCount + 1, kind: "progress", atMs: nowMs, data: progress },
  ]);
}

export function cancel(id: string, options: { nowMs: number; expiresAtMs: number }): Operation<TaskRecord> {
  const { nowMs, expiresAtMs } = options;
  const run = (rows: Rows): TaskRecord => {
    const task = rows.addTask(id, {}) ?? rows.task(id)!;
    if (isFinished(task)) return toRecord(task);
    const kinds = task.phase === "active" ? ["cancel-requested", "cancelled"] : ["cancelled"];
    const cancelled: TaskChange = {
      phase: "cancelled",
      finishedAtMs: nowMs,
      dueAtMs: null,
      expiresAtMs,
      eventCount: task.eventCount + kinds.length,
    };
    const events = kinds.map((kind, index) => ({
      sequence: task.eventCount + 1 + index,
      kind,
      atMs: nowMs,
      data: null,
    }));
    rows.saveTask(task, cancelled, events);
    return toRecord({ ...task, ...cancelled });
  };
  return { touches: { task: id, makesTask: true }, isLasting: true, run };
}

export function reopen(id: string): Operation<boolean> {
  const mayReopen = ({ phase }: TaskRow): boolean => phase === "dead" || phase === "cancelled";
  return change(id, true, mayReopen, (task) => [
    {
      phase: "queued",
      messageAttempt: 0,
      crashes: 0,
      // Whoever was active when the task was cancelled may still be: what was refused then is refused now.
      fence: task.fence + 1,
      finishedAtMs: null,
      expiresAtMs: null,
      failure: null,
      startedSequence: 0,
    },
    // It tells of the attempt's fence.
    ...startedEvent(task),
  ]);
}

/**
 * No attempt has begun since, and the task is not finished. The attempt itself may have been handed back: an outcome that
 * comes all the same is worth more than running it again.
 */
function holdsFence(fence: number): (task: TaskRow) => boolean {
  return (task) => task.fence === fence && !isFinished(task);
}

function isActive(fence: number): (task: TaskRow) => boolean {
  return (task) => task.fence === fence && task.phase === "active";
}

/** A change that only some tasks permit; false for others. */
function change(
  id: string,
  isLasting: boolean,
  isPermitted: (task: TaskRow) => boolean,
  changed: (task: TaskRow) => [TaskChange, ...EventRow[]],
): Operation<boolean> {
  const run = (rows: Rows): boolean => {
    const task = rows.task(id);
    if (task === undefined || !isPermitted(task)) return false;
    const [next, ...events] = changed(task);
    rows.saveTask(task, next, events);
    return true;
  };
  return { touches: { task: id }, isLasting, run };
}

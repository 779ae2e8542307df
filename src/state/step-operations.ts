import { StaleFenceError } from "./errors.ts";
import type { Operation, Rows, StepRow } from "./operation.ts";
import type { StepRecord } from "./state-store.ts";
import { isFinished, type TaskRow } from "./task-row.ts";

export function intend(taskId: string, name: string, fence: number, nowMs: number): Operation<boolean> {
  const run = (rows: Rows): boolean => {
    const task = rows.task(taskId);
    if (task === undefined || task.fence !== fence || isFinished(task)) return false;
    if (rows.step(task, name) !== undefined) return false;
    rows.saveStep(task, { name, status: "intended", fence, result: null, atMs: nowMs });
    return true;
  };
  return { touches: { task: taskId, step: name }, isLasting: true, run };
}

export function record(
  taskId: string,
  name: string,
  fence: number,
  result: string | undefined,
  nowMs: number,
): Operation<boolean> {
  const run = (rows: Rows): boolean => {
    const task = rows.task(taskId);
    if (task === undefined || task.fence !== fence) return false;
    if (rows.step(task, name)?.status === "done") return false;
    rows.saveStep(task, doneStep(name, fence, result, nowMs));
    return true;
  };
  return { touches: { task: taskId, step: name }, isLasting: true, run };
}

export function doneStep(name: string, fence: number, result: string | undefined, atMs: number): StepRow {
  return { name, status: "done", fence, result: result ?? null, atMs };
}

/**
 * What a transaction finds of its step; `done` is undefined when it is still to be done.
 * @throws StaleFenceError
 */
export function recordedStep(
  rows: Pick<Rows, "task" | "step">,
  taskId: string,
  name: string,
  fence: number,
): { task: TaskRow; done: StepRecord | undefined } {
  const task = rows.task(taskId);
  if (task === undefined) throw new StaleFenceError(taskId, fence, "the task is not known");
  if (task.fence !== fence) {
    throw new StaleFenceError(taskId, fence, `a later one has started (fence ${task.fence})`);
  }
  if (isFinished(task)) throw new StaleFenceError(taskId, fence, `the task is ${task.phase}`);
  const step = rows.step(task, name);
  return { task, done: step?.status === "done" ? step : undefined };
}

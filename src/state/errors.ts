/** Another attempt of the task has started since, or the task is finished: this one must not write any more. */
export class StaleFenceError extends Error {
  override readonly name = "StaleFenceError";
  readonly taskId: string;
  readonly fence: number;

  constructor(taskId: string, fence: number, reason: string) {
    super(`this attempt of task ${taskId} (fence ${fence}) may not write any more: ${reason}`);
    this.taskId = taskId;
    this.fence = fence;
  }
}

/** The state cannot be opened or used. The message says why, and what to do. */
export class StateError extends Error {
  override readonly name = "StateError";
}

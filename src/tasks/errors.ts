import { assertDelay } from "./longest-delay.ts";

/** Thrown by a handler: try again, after so long, and count this as an attempt or not. */
export class Retry extends Error {
  override readonly name = "Retry";
  /** Milliseconds; undefined leaves it to the task's retry policy. */
  readonly after: number | undefined;
  readonly countsAsAttempt: boolean;

  /** @throws RangeError when `after` is longer than 49 days. */
  constructor(
    options: { after?: number; countsAsAttempt?: boolean; message?: string; cause?: unknown } = {},
  ) {
    super(options.message ?? "the handler asks to be tried again", { cause: options.cause });
    assertDelay(options.after ?? 0);
    this.after = options.after;
    this.countsAsAttempt = options.countsAsAttempt ?? true;
  }
}

/** Thrown by a handler: no other attempt would end better. The task goes to the dead letters at once. */
export class Fatal extends Error {
  override readonly name = "Fatal";
}

/** Also one of another copy of this package: `warren worker` may be installed apart from the handlers that it runs. */
export function isRetry(error: unknown): error is Retry {
  return error instanceof Retry || (isNamed(error, "Retry") && "countsAsAttempt" in error);
}

/** As {@link isRetry}. */
export function isFatal(error: unknown): error is Fatal {
  return error instanceof Fatal || isNamed(error, "Fatal");
}

function isNamed(error: unknown, name: string): error is Error {
  return error instanceof Error && error.name === name;
}

/** Input or output is not what the task's schema says. It names the path. */
export class ValidationError extends Error {
  override readonly name = "ValidationError";
  readonly issues: readonly { readonly path: string; readonly message: string }[];

  constructor(what: string, issues: readonly { path: string; message: string }[]) {
    super(
      `${what}: ${issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ")}`,
    );
    this.issues = issues;
  }
}

/** An attempt took longer than its task's `timeout`. */
export class TaskTimeoutError extends Error {
  override readonly name = "TaskTimeoutError";
}

/** `job.result()`: the task went to the dead letters or was cancelled. */
export class TaskFailedError extends Error {
  override readonly name = "TaskFailedError";
  readonly taskId: string;
  readonly phase: "dead" | "cancelled";

  constructor(taskId: string, phase: "dead" | "cancelled", message: string) {
    super(message);
    this.taskId = taskId;
    this.phase = phase;
  }
}

/** A message was not confirmed: it may or may not have been stored. Sending it again with the same id is safe where there is state. */
export class PublishError extends Error {
  override readonly name: string = "PublishError";
}

/** No queue takes what was published, or the exchange is gone. */
export class UnroutableError extends PublishError {
  override readonly name = "UnroutableError";
}

/** What was asked for needs something that this bus does not have. */
export class CapabilityError extends Error {
  override readonly name = "CapabilityError";
}

/** A step with the effect `once` began in an earlier attempt, and nobody knows whether it was done. */
export class UnknownOutcomeError extends Error {
  override readonly name = "UnknownOutcomeError";
}

/** Why `ctx.signal` is aborted when the worker stops. */
export class ShutdownError extends Error {
  override readonly name = "ShutdownError";
}

/** Why `ctx.signal` is aborted when the connection is lost: the task goes to another worker. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
}

/** Why `ctx.signal` is aborted when somebody has cancelled the task. */
export class CancelledError extends Error {
  override readonly name = "CancelledError";
}

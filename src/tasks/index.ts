export { connect, type BrokerLocation, type ConnectOptions } from "./connect.ts";
export {
  defineTask,
  type AnyTask,
  type InputOf,
  type OutputOf,
  type Schema,
  type Task,
  type TaskOptions,
} from "./task.ts";
export type { DeadLetterOptions, QueueBinding, QueueOptions } from "./queue.ts";
export { isUndecidedTrace } from "./traceparent.ts";
export { validate } from "./validate.ts";
export type { RetryOptions } from "./retry-policy.ts";
export { Bus, type ListFilter, type PlainMessage } from "./bus.ts";
export type { SendOptions } from "./sender.ts";
export type { Job, JobEvent, JobState, WaitOptions } from "./job.ts";
export { Worker, type WorkerOptions } from "./worker.ts";
export type { DyingTask, UnknownTask } from "./task-runner.ts";
export type { ChildOptions, Context, Effect, Handler, Middleware, StepTools } from "./context.ts";
export { DeadLetters, type DeadLetter, type LetterFilter, type RedriveOptions } from "./dead-letters.ts";
export { Alerts, type Alert, type AlertOptions, type AlertPattern } from "./alerts.ts";
export type { QueueReport } from "./status.ts";
export type { Capabilities, Support } from "./capabilities.ts";
export type { AttemptError } from "./message.ts";
export type { Death } from "./transport.ts";
export type {
  Journal,
  JournalAddition,
  JournalEntry,
  JournalSummary,
  StateTransaction,
} from "../state/index.ts";
export type { Clock, Logger, Timer } from "../base/index.ts";
export {
  CancelledError,
  CapabilityError,
  ConnectionLostError,
  Fatal,
  PublishError,
  Retry,
  ShutdownError,
  TaskFailedError,
  TaskTimeoutError,
  UnknownOutcomeError,
  UnroutableError,
  ValidationError,
} from "./errors.ts";

import type { Logger } from "../base/index.ts";
import type { StateTransaction } from "../state/index.ts";
import type { Job } from "./job.ts";
import type { SendOptions } from "./sender.ts";
import type { InputOf, OutputOf, Schema, Task } from "./task.ts";

/** What a step does to the world, which decides what happens when a worker dies in the middle of it. */
export type Effect =
  /** Changes nothing: it may run again. */
  | "read"
  /** May run again, since its receiver knows the idempotency key. The default. */
  | "idempotent"
  /** Never runs twice. If nobody knows whether it was done, it throws UnknownOutcomeError, for people to look at. */
  | "once"
  /** Changes the state's own database, in one transaction with the record of it: exactly once. */
  | "transactional";

export interface StepTools {
  /** The same at every attempt of this step; for the receiver of an `idempotent` effect. */
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
  /** In a `transactional` step. @throws CapabilityError in others */
  readonly transaction: StateTransaction;
}

export interface ChildOptions extends SendOptions {
  /** Tells this child from others of the same task. Default: its place among them, which must not change between attempts. */
  readonly key?: string;
}

/** What a handler has beside its input. It may be taken apart: `(input, { step, signal }) => …`. */
export interface Context {
  readonly taskId: string;
  readonly type: string;
  /** From 1. Where there is state, attempts that ended with their worker are counted. */
  readonly attempt: number;
  /** The broker has delivered it before, to a worker that has not finished it. That need not have counted as an attempt. */
  readonly redelivered: boolean;
  /** Aborted when the attempt has timed out, the task was cancelled, the worker stops or has lost its connection; with the reason. */
  readonly signal: AbortSignal;
  /** The message's headers. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** The same at every attempt of this task. */
  readonly idempotencyKey: string;
  /** Names the task in each line. */
  readonly log: Logger;
  /** Tells how far it is, to `job.state()` and `job.events()`. Without state it goes to the log. */
  readonly progress: (value: unknown) => Promise<void>;
  /**
   * Does a part of the task and remembers its result, so that another attempt goes on behind it. The result must be JSON.
   * @throws CapabilityError without state; UnknownOutcomeError
   */
  readonly step: StepFunction;
  /** Sends a task that this one needs; another attempt sends the same, with the same id, not one more. */
  readonly send: SendFunction;
}

interface StepFunction {
  <T>(name: string, work: (tools: StepTools) => T | Promise<T>): Promise<T>;
  <T>(
    name: string,
    options: { readonly effect?: Effect },
    work: (tools: StepTools) => T | Promise<T>,
  ): Promise<T>;
}

type SendFunction = <I extends Schema | undefined, O extends Schema | undefined>(
  task: Task<I, O>,
  input: InputOf<I>,
  options?: ChildOptions,
) => Promise<Job<OutputOf<O>>>;

/** Does a task: gets its input as the schema has made it, and returns its output. */
export type Handler<I extends Schema | undefined, O extends Schema | undefined> = (
  input: OutputOf<I>,
  context: Context,
) => InputOf<O> | Promise<InputOf<O>>;

/** Runs around each handler, the first given outermost. */
export type Middleware = (context: Context, next: () => Promise<unknown>) => Promise<unknown>;

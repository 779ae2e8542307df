import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { DeadLetterOptions, QueueOptions } from "./queue.ts";
import { assertDelay } from "./longest-delay.ts";
import type { RetryOptions } from "./retry-policy.ts";

/** Any Standard Schema: zod, valibot, arktype and others. https://standardschema.dev */
export type Schema = StandardSchemaV1;

/** What a sender gives: the schema's input, before defaults and transformations. */
export type InputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : unknown;
/** What comes out of a schema: what a handler gets, and what a result is. */
export type OutputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : unknown;

export interface TaskOptions<I extends Schema | undefined, O extends Schema | undefined> {
  /** Checked when the task is sent and again before its handler runs. Default: anything that JSON can hold. */
  readonly input?: I;
  /** Checked when the handler has returned. Default: anything that JSON can hold. */
  readonly output?: O;
  /** The queue that carries it; several tasks may share one. Default `tasks`. */
  readonly queue?: string | QueueOptions;
  /** From 0, the lowest, to the queue's `maxPriority`. Default 5. */
  readonly priority?: number;
  /** How long it may wait before a worker takes it, in milliseconds; then it goes to the dead letters. Default: for ever. */
  readonly ttl?: number;
  /** Where the queue's dead letters go. Default: exchange `<queue>.dlx`, queue `<queue>.dead`. */
  readonly deadLetter?: DeadLetterOptions;
  /** What happens when the handler throws. Default: 3 retries, exponential with full jitter. `false`: none. */
  readonly retry?: RetryOptions | false;
  /**
   * Names the task by what it does: the same key is the same task id, so that where there is shared state what has been done
   * is not done again. It is also what {@link Context.idempotencyKey} gives.
   */
  readonly idempotencyKey?: (input: InputOf<I>) => string;
  /** How long one attempt may take, in milliseconds; then its signal is aborted and it has failed. Default: for ever. */
  readonly timeout?: number;
}

/** A contract between who sends a task and who does it. It holds no handler, so that a sender need not load one. */
export interface Task<
  I extends Schema | undefined = Schema | undefined,
  O extends Schema | undefined = Schema | undefined,
> extends TaskOptions<I, O> {
  readonly name: string;
}

/** A task whatever its schemas are. */
// A function's parameter makes Task<I> contravariant in I; this is the type that every Task can be given for.
export type AnyTask = Task | Task<never, never>;

/**
 * Defines a task: `defineTask("email.welcome", { input: z.object({ to: z.email() }) })`.
 *
 * @throws TypeError when the name is empty, or a number is not one that makes sense.
 */
export function defineTask<
  I extends Schema | undefined = undefined,
  O extends Schema | undefined = undefined,
>(name: string, options: TaskOptions<I, O> = {}): Task<I, O> {
  if (name === "") throw new TypeError("a task needs a name, such as email.welcome");
  assertNumber(name, "priority", options.priority, 0, 255);
  assertNumber(name, "ttl", options.ttl, 0, 315_360_000_000);
  if (options.retry) assertDelay(options.retry.maxDelay ?? 0);
  assertNumber(name, "timeout", options.timeout, 1, 2 ** 31 - 1);
  return { ...options, name };
}

function assertNumber(
  task: string,
  what: string,
  value: number | undefined,
  least: number,
  most: number,
): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new TypeError(
    `${what} of task '${task}' is ${value}; it must be a whole number from ${least} to ${most}`,
  );
}

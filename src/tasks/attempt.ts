import type { Clock, Logger } from "../base/index.ts";
import type { StateStore } from "../state/index.ts";
import type { ChildOptions, Context, Effect, Handler, Middleware, StepTools } from "./context.ts";
import { TaskTimeoutError, ValidationError, Fatal } from "./errors.ts";
import { derivedId } from "./ids.ts";
import { needsState, type Job } from "./job.ts";
import type { TaskMessage } from "./message.ts";
import { idOf, type Sender } from "./sender.ts";
import { Steps } from "./steps.ts";
import type { InputOf, OutputOf, Schema, Task } from "./task.ts";
import { validate } from "./validate.ts";

/** A task and who does it, as the worker keeps them. */
export interface Registration {
  readonly task: Task;
  readonly handler: Handler<undefined, undefined>;
}

export interface AttemptParts {
  readonly registration: Registration;
  readonly message: TaskMessage;
  readonly attempt: number;
  /** What lets this attempt write to the state; 0 without state. */
  readonly fence: number;
  readonly middleware: readonly Middleware[];
  readonly state: StateStore | undefined;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly log: Logger;
}

/** One run of a handler. */
export class Attempt {
  readonly parts: AttemptParts;
  readonly startedAtMs: number;
  private readonly abortion = new AbortController();

  constructor(parts: AttemptParts) {
    this.parts = parts;
    this.startedAtMs = parts.clock.nowMs();
  }

  /** The handler goes on until it looks at its signal; the attempt has ended. */
  abort(reason: Error): void {
    this.abortion.abort(reason);
  }

  get isAborted(): boolean {
    return this.abortion.signal.aborted;
  }

  /** @returns the output as JSON. @throws what the handler throws, ValidationError, the reason of the abortion */
  async run(): Promise<string | undefined> {
    const { registration, message, clock } = this.parts;
    const { task } = registration;
    const input = await validate(task.input, message.payload, `input of task '${task.name}'`);
    const timer =
      task.timeout === undefined
        ? undefined
        : clock.after(task.timeout, () =>
            this.abort(new TaskTimeoutError(`task '${task.name}' took longer than ${task.timeout} ms`)),
          );
    try {
      const output = await this.untilAborted(this.handle(input));
      return await this.encode(output);
    } finally {
      timer?.cancel();
    }
  }

  private handle(input: unknown): Promise<unknown> {
    const { middleware, registration } = this.parts;
    const context = this.context();
    const run = middleware.reduceRight<() => Promise<unknown>>(
      (next, around) => () => around(context, next),
      async () => registration.handler(input, context),
    );
    return run();
  }

  private async encode(output: unknown): Promise<string | undefined> {
    const { task } = this.parts.registration;
    try {
      const value = await validate(task.output, output, `output of task '${task.name}'`);
      return value === undefined ? undefined : JSON.stringify(value);
    } catch (error) {
      // What the handler did is done: doing it again would not make its output another.
      if (error instanceof ValidationError) throw error;
      throw new Fatal(`output of task '${task.name}' cannot be made JSON: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  private async untilAborted<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.abortion;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    // Whichever comes second has nobody to tell.
    promise.catch(() => {});
    aborted.catch(() => {});
    if (signal.aborted) throw signal.reason;
    return Promise.race([promise, aborted]);
  }

  private context(): Context {
    const { message, attempt, fence, state, clock, sender, registration } = this.parts;
    const { task } = registration;
    const { signal } = this.abortion;
    const idempotencyKey = task.idempotencyKey?.(message.payload) ?? message.id;
    const log = taskLog(this.parts.log, message, attempt);
    const steps = state && new Steps({ state, taskId: message.id, fence, idempotencyKey, signal, clock });
    const children = new Map<string, number>();
    return {
      taskId: message.id,
      type: message.type,
      attempt,
      signal,
      headers: message.headers,
      idempotencyKey,
      log,
      async progress(value) {
        if (state) await state.setProgress(message.id, fence, JSON.stringify(value), clock.nowMs());
        else log.info({ progress: value }, "progress");
      },
      async step<T>(name: string, ...rest: StepArguments<T>): Promise<T> {
        if (!steps) throw needsState("ctx.step()");
        const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
        return steps.run(name, options.effect ?? "idempotent", work);
      },
      async send<I extends Schema | undefined, O extends Schema | undefined>(
        child: Task<I, O>,
        childInput: InputOf<I>,
        { key, ...options }: ChildOptions = {},
      ): Promise<Job<OutputOf<O>>> {
        const place = children.get(child.name) ?? 0;
        children.set(child.name, place + 1);
        const id =
          options.id ?? idOf(child, childInput) ?? derivedId(message.id, child.name, key ?? String(place));
        return sender.send(child, childInput, {
          ...options,
          headers: { ...trace(message), ...options.headers },
          id,
        });
      },
    };
  }
}

type StepWork<T> = (tools: StepTools) => T | Promise<T>;
type StepArguments<T> = [work: StepWork<T>] | [options: { effect?: Effect }, work: StepWork<T>];

/** A child belongs to the trace of who has sent it. */
function trace({ headers }: TaskMessage): Record<string, unknown> {
  const { traceparent, tracestate } = headers;
  return {
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
  };
}

function taskLog(log: Logger, { id, type }: TaskMessage, attempt: number): Logger {
  const named = (fields: object): object => ({ taskId: id, taskType: type, attempt, ...fields });
  return {
    debug: (fields, text) => log.debug(named(fields), text),
    info: (fields, text) => log.info(named(fields), text),
    warn: (fields, text) => log.warn(named(fields), text),
    error: (fields, text) => log.error(named(fields), text),
  };
}

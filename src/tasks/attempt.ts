import type { Clock, Logger } from "../base/index.ts";
import type { StateStore } from "../state/index.ts";
import type { Handler, Middleware } from "./context.ts";
import { Fatal, TaskTimeoutError, ValidationError } from "./errors.ts";
import type { TaskMessage } from "./message.ts";
import type { Sender } from "./sender.ts";
import { TaskContext } from "./task-context.ts";
import type { Task } from "./task.ts";
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
  /** Made when somebody asks for the signal: a short handler does not. */
  private controller: AbortController | undefined;
  private abortedBy: Error | undefined;
  private onAbort: ((reason: Error) => void) | undefined;

  constructor(parts: AttemptParts) {
    this.parts = parts;
  }

  /** The attempt has ended; its handler goes on until it looks at its signal. */
  abort(reason: Error): void {
    if (this.abortedBy !== undefined) return;
    this.abortedBy = reason;
    this.controller?.abort(reason);
    this.onAbort?.(reason);
  }

  /** @returns the output as JSON. @throws what the handler throws, ValidationError, the reason of the abortion */
  async run(): Promise<string | undefined> {
    const { registration, message, clock } = this.parts;
    const { task } = registration;
    const input = await validate(task.input, message.payload, `input of task '${task.name}'`);
    if (this.abortedBy !== undefined) throw this.abortedBy;
    const timer =
      task.timeout === undefined
        ? undefined
        : clock.after(task.timeout, () =>
            this.abort(new TaskTimeoutError(`task '${task.name}' took longer than ${task.timeout} ms`)),
          );
    try {
      return await this.encode(await this.untilAborted(this.handle(input)));
    } finally {
      timer?.cancel();
    }
  }

  private async handle(input: unknown): Promise<unknown> {
    const { middleware, registration } = this.parts;
    const context = new TaskContext(this.parts, () => this.signal());
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

  /** Whichever comes second has nobody to tell. */
  private untilAborted<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onAbort = reject;
      promise.then(resolve, reject);
    });
  }

  private signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.abortedBy !== undefined) this.controller.abort(this.abortedBy);
    }
    return this.controller.signal;
  }
}

import type { Logger } from "../base/index.ts";
import type { AttemptParts } from "./attempt.ts";
import type { ChildOptions, Context, Effect, StepTools } from "./context.ts";
import { derivedId } from "./ids.ts";
import { needsState } from "./job.ts";
import type { TaskMessage } from "./message.ts";
import { idOf } from "./sender.ts";
import { Steps } from "./steps.ts";

type StepWork<T> = (tools: StepTools) => T | Promise<T>;
type StepArguments<T> = [work: StepWork<T>] | [options: { effect?: Effect }, work: StepWork<T>];

/**
 * What a handler gets. Everything is made when it is asked for, since most handlers ask for little; and what is asked for may
 * be taken apart: `(input, { step, signal }) => …`.
 */
export class TaskContext implements Context {
  readonly taskId: string;
  readonly type: string;
  readonly attempt: number;
  readonly redelivered: boolean;
  private readonly parts: AttemptParts;
  private readonly makeSignal: () => AbortSignal;
  private readonly children = new Map<string, number>();
  private steps: Steps | undefined;

  constructor(parts: AttemptParts, makeSignal: () => AbortSignal) {
    this.parts = parts;
    this.makeSignal = makeSignal;
    this.taskId = parts.message.id;
    this.type = parts.message.type;
    this.attempt = parts.attempt;
    this.redelivered = parts.message.redelivered;
  }

  get signal(): AbortSignal {
    return this.makeSignal();
  }

  get headers(): Context["headers"] {
    return this.parts.message.headers;
  }

  get idempotencyKey(): string {
    const { registration, message } = this.parts;
    return registration.task.idempotencyKey?.(message.payload) ?? message.id;
  }

  get log(): Logger {
    const { log, message, attempt } = this.parts;
    return taskLog(log, message, attempt);
  }

  get progress(): Context["progress"] {
    const { state, message, fence, clock } = this.parts;
    return async (value) => {
      if (state) await state.setProgress(message.id, fence, JSON.stringify(value), clock.nowMs());
      else this.log.info({ progress: value }, "progress");
    };
  }

  get step(): Context["step"] {
    return async <T>(name: string, ...rest: StepArguments<T>): Promise<T> => {
      const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
      return this.recordedSteps().run(name, options.effect ?? "idempotent", work);
    };
  }

  get send(): Context["send"] {
    const { sender, message } = this.parts;
    return async (task, input, { key, ...options }: ChildOptions = {}) => {
      const place = this.children.get(task.name) ?? 0;
      this.children.set(task.name, place + 1);
      const id = options.id ?? idOf(task, input) ?? derivedId(message.id, task.name, key ?? String(place));
      const inherited = options.headers?.["traceparent"] === undefined ? trace(message) : {};
      return sender.send(task, input, { ...options, headers: { ...inherited, ...options.headers }, id });
    };
  }

  private recordedSteps(): Steps {
    const { state, fence, clock } = this.parts;
    if (!state) throw needsState("ctx.step()");
    const { taskId, idempotencyKey, signal } = this;
    return (this.steps ??= new Steps({ state, taskId, fence, idempotencyKey, signal, clock }));
  }
}

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

import type { Clock, Logger } from "../base/index.ts";
import type { Begun, StateStore, TaskFailure } from "../state/index.ts";
import { Attempt, type Registration } from "./attempt.ts";
import type { Middleware } from "./context.ts";
import {
  CancelledError,
  ConnectionLostError,
  Fatal,
  ShutdownError,
  UnknownOutcomeError,
  ValidationError,
  isFatal,
  isRetry,
} from "./errors.ts";
import {
  attemptError,
  decodeErrors,
  decodeTask,
  encodeAttempt,
  Header,
  withError,
  type AttemptError,
  type TaskMessage,
  type Untyped,
} from "./message.ts";
import type { QueueDefinition } from "./queue.ts";
import type { Reply } from "./replies.ts";
import { RetryPolicy } from "./retry-policy.ts";
import type { Sender } from "./sender.ts";
import type { Delivery, Transport } from "./transport.ts";

/** What happens to a task that no handler is for: dead-lettered, or left to another worker of the queue. */
export type UnknownTask = "dead-letter" | "requeue";

export interface RunnerParts {
  readonly transport: Transport;
  readonly state: StateStore | undefined;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** How long the state keeps what has ended. */
  readonly retentionMs: number;
  readonly registrations: ReadonlyMap<string, Registration>;
  readonly middleware: readonly Middleware[];
  unknownTask(): UnknownTask;
  /** What a message of the queue without a type is. */
  untyped(queue: QueueDefinition): Untyped | undefined;
  /** Before a task goes to the dead letters. */
  onDead(task: DyingTask): Promise<void>;
}

/** A task that goes to the dead letters. */
export interface DyingTask {
  readonly id: string;
  readonly type: string;
  readonly payload: unknown;
  /** As a word: `failed`, `invalid`, `fatal`, `crashed`, `expired`, `unknown-outcome`, `unknown-task`. */
  readonly reason: string;
  readonly error: Error;
}

/** A worker that does not know a task puts it back by this delay: nobody may spin on what nobody can do. */
const unknownAgainMs = 1_000;
const handBackAfterMs = 1_000;
/** A reply is for somebody who waits now. */
const replyExpiresMs = 1_800_000;

/** Takes a delivery to its end: a result, another attempt or the dead letters, and only then the acknowledgement. */
export class TaskRunner {
  readonly active: Map<Delivery, Attempt> = new Map();
  private readonly parts: RunnerParts;

  constructor(parts: RunnerParts) {
    this.parts = parts;
  }

  /** Never rejects: what cannot be brought to its end goes back to the queue. */
  async run(delivery: Delivery, queue: QueueDefinition): Promise<void> {
    try {
      await this.process(delivery, queue);
    } catch (error) {
      // The broker or the state did not take what had to come before the acknowledgement.
      this.parts.log.error(
        { queue: queue.name, error: (error as Error).message },
        "task goes back to its queue",
      );
      // Held for a while, so that it does not come back at once to the same trouble.
      await new Promise((resolve) => setTimeout(resolve, handBackAfterMs));
      delivery.requeue();
    }
  }

  private async process(delivery: Delivery, queue: QueueDefinition): Promise<void> {
    const { clock, registrations } = this.parts;
    let message: TaskMessage;
    try {
      message = decodeTask(delivery.message, clock.nowMs(), this.parts.untyped(queue));
    } catch (error) {
      await this.buryUndecodable(delivery, queue, error);
      return;
    }
    const registration = registrations.get(message.type);
    if (registration === undefined) await this.leaveUnknown(delivery, queue, message);
    else await this.attempt(delivery, queue, message, registration);
  }

  private async attempt(
    delivery: Delivery,
    queue: QueueDefinition,
    message: TaskMessage,
    registration: Registration,
  ): Promise<void> {
    const { state, clock, random } = this.parts;
    const task: RunningTask = {
      delivery,
      queue,
      message,
      fence: 0,
      attempt: message.attempt + returnsOf(message),
    };
    if (state !== undefined) {
      const { id, type, attempt } = message;
      const begun = await state.begin({
        id,
        type,
        queue: queue.name,
        attempt,
        nowMs: clock.nowMs(),
        isFirstDelivery: !message.redelivered,
      });
      if (begun.status !== "started") {
        await this.alreadyDone(task, begun);
        return;
      }
      task.fence = begun.fence;
      task.attempt = begun.attempt;
    }
    if (isExpired(message, clock.nowMs())) {
      await this.bury(task, "expired", new Error("it has waited longer than its ttl"));
      return;
    }
    const policy = new RetryPolicy(registration.task.retry, random);
    if (task.attempt > policy.mostAttempts && task.attempt > message.attempt) {
      // This one does not begin.
      const attempt = task.attempt - 1;
      const error = new Error(`its worker has died or gone at the last of its ${attempt} attempts`);
      await this.bury({ ...task, attempt }, "crashed", error);
      return;
    }
    await this.runHandler(task, registration, policy);
  }

  private async runHandler(
    task: RunningTask,
    registration: Registration,
    policy: RetryPolicy,
  ): Promise<void> {
    const { delivery, message, attempt: number, fence } = task;
    const attempt = new Attempt({ ...this.parts, registration, message, attempt: number, fence });
    this.active.set(delivery, attempt);
    try {
      await this.outcome(task, attempt, policy);
    } catch (error) {
      // Not the task's fault: no attempt of its own.
      await this.parts.state?.release(message.id, fence).catch(() => {});
      throw error;
    } finally {
      this.active.delete(delivery);
    }
  }

  private async outcome(task: RunningTask, attempt: Attempt, policy: RetryPolicy): Promise<void> {
    let result: string | undefined;
    try {
      result = await attempt.run();
    } catch (error) {
      await this.failed(task, error, policy);
      return;
    }
    await this.complete(task, result);
  }

  /** INVARIANT 15: the result, then the acknowledgement. */
  private async complete(task: RunningTask, result: string | undefined): Promise<void> {
    const { state, clock, retentionMs } = this.parts;
    const { delivery, message, fence } = task;
    if (state !== undefined) {
      const nowMs = clock.nowMs();
      const isOurs = await state.complete(message.id, fence, {
        result,
        nowMs,
        expiresAtMs: nowMs + retentionMs,
      });
      if (!isOurs) {
        this.parts.log.warn(
          { taskId: message.id },
          "the result comes too late: the task has another worker or outcome",
        );
        delivery.ack();
        return;
      }
    }
    if (message.replyTo !== undefined) await this.reply(message, { status: "completed", result });
    delivery.ack();
  }

  private async failed(task: RunningTask, error: unknown, policy: RetryPolicy): Promise<void> {
    const { state } = this.parts;
    const { delivery, message, fence, attempt } = task;
    // What was lost goes to another worker whatever became of it here.
    if (error instanceof ShutdownError || error instanceof ConnectionLostError || delivery.isLost) {
      await state?.release(message.id, fence);
      delivery.requeue();
      return;
    }
    if (error instanceof CancelledError) {
      await this.reply(message, { status: "cancelled" });
      delivery.ack();
      return;
    }
    if (isRetry(error) && !error.countsAsAttempt) {
      await this.again(task, attempt, error.after ?? policy.delayAfter(1), message.errors, undefined);
      return;
    }
    const reason = finalReason(error);
    if (reason !== undefined || attempt >= policy.mostAttempts) {
      await this.bury(task, reason ?? "failed", error);
      return;
    }
    const delayMs = isRetry(error) && error.after !== undefined ? error.after : policy.delayAfter(attempt);
    const failure = attemptError(attempt, error, this.parts.clock.nowMs());
    this.parts.log.warn(
      { taskId: message.id, attempt, delayMs, error: failure.message },
      "task failed, trying again",
    );
    await this.again(task, attempt + 1, delayMs, withError(message.errors, failure), failure);
  }

  /** INVARIANT 14: the copy for the next attempt, then the acknowledgement. */
  private async again(
    { delivery, queue, message, fence }: RunningTask,
    attempt: number,
    delayMs: number,
    errors: readonly AttemptError[],
    failure: AttemptError | undefined,
  ): Promise<void> {
    const { transport, state, clock } = this.parts;
    const { firstSeenMs } = message;
    const copy = encodeAttempt(delivery.message, { attempt, firstSeenMs, errors });
    await transport.publish({ ...copy, queue: queue.name, delayMs });
    await state?.retrying(message.id, fence, {
      attempt,
      dueAtMs: clock.nowMs() + delayMs,
      failure: failure && failureOf(failure),
    });
    delivery.ack();
  }

  private async bury(task: RunningTask, reason: string, error: unknown): Promise<void> {
    const { transport, state, clock, log, retentionMs } = this.parts;
    const { delivery, queue, message, fence, attempt } = task;
    const nowMs = clock.nowMs();
    const failure = attemptError(attempt, error, nowMs);
    const { id, type, payload } = message;
    log.error({ taskId: id, taskType: type, reason, error: failure.message }, "task is dead");
    const asError = error instanceof Error ? error : new Error(failure.message);
    await this.parts.onDead({ id, type, payload, reason, error: asError });
    await transport.bury(delivery.message, queue, {
      [Header.attempt]: attempt,
      [Header.firstSeen]: message.firstSeenMs,
      [Header.reason]: reason,
      [Header.errors]: JSON.stringify(withError(message.errors, failure)),
    });
    await state?.fail(message.id, fence, {
      failure: failureOf(failure, error),
      nowMs,
      expiresAtMs: nowMs + retentionMs,
    });
    await this.reply(message, { status: "dead", error: { name: failure.name, message: failure.message } });
    delivery.ack();
  }

  private async buryUndecodable(delivery: Delivery, queue: QueueDefinition, thrown: unknown): Promise<void> {
    const { transport, clock, log } = this.parts;
    const failure = attemptError(1, thrown, clock.nowMs());
    log.error({ queue: queue.name, error: failure.message }, "a message is no task");
    const errors = withError(decodeErrors(delivery.message.headers[Header.errors]), failure);
    await transport.bury(delivery.message, queue, {
      [Header.reason]: "undecodable",
      [Header.errors]: JSON.stringify(errors),
    });
    delivery.ack();
  }

  private async leaveUnknown(
    delivery: Delivery,
    queue: QueueDefinition,
    message: TaskMessage,
  ): Promise<void> {
    const { id, type, attempt, firstSeenMs, errors } = message;
    if (this.parts.unknownTask() === "dead-letter") {
      const task = { delivery, queue, message, fence: 0, attempt };
      await this.bury(
        task,
        "unknown-task",
        new Fatal(`no handler on this worker for tasks of type '${type}'`),
      );
      return;
    }
    this.parts.log.warn({ taskId: id, taskType: type }, "no handler here: left to other workers");
    const copy = encodeAttempt(delivery.message, { attempt, firstSeenMs, errors });
    await this.parts.transport.publish({ ...copy, queue: queue.name, delayMs: unknownAgainMs });
    delivery.ack();
  }

  /** A redelivery, or a copy: nothing is to be done any more, but perhaps nobody was told. */
  private async alreadyDone(task: RunningTask, begun: Exclude<Begun, { status: "started" }>): Promise<void> {
    const { record, status } = begun;
    this.parts.log.debug({ taskId: task.message.id, phase: record.phase }, "nothing to be done any more");
    if (status === "finished") {
      const { phase, result, failure } = record;
      await this.reply(task.message, {
        status: phase as Reply["status"],
        result,
        error: failure && { name: failure.name, message: failure.message },
      });
    }
    task.delivery.ack();
  }

  /** The result is JSON text. */
  private async reply(
    { id, replyTo }: TaskMessage,
    { status, result, error }: Reply & { readonly result?: string },
  ): Promise<void> {
    if (replyTo === undefined) return;
    const value: unknown = result === undefined ? undefined : JSON.parse(result);
    await this.parts.transport.publish({
      queue: replyTo,
      isOptional: true,
      body: { task_id: id, status, result: value, error },
      messageId: undefined,
      contentType: "application/json",
      priority: undefined,
      expirationMs: replyExpiresMs,
      replyTo: undefined,
      correlationId: id,
      timestampMs: this.parts.clock.nowMs(),
      headers: {},
    });
  }
}

interface RunningTask {
  readonly delivery: Delivery;
  readonly queue: QueueDefinition;
  readonly message: TaskMessage;
  fence: number;
  /** With what has gone wrong without anybody noting it: the message may say less. */
  attempt: number;
}

/** Why no other attempt would end better; undefined when it might. */
function finalReason(error: unknown): string | undefined {
  if (error instanceof ValidationError) return "invalid";
  if (error instanceof UnknownOutcomeError) return "unknown-outcome";
  if (isFatal(error)) return "fatal";
  return undefined;
}

function failureOf({ attempt, name, message, at }: AttemptError, thrown?: unknown): TaskFailure {
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return { attempt, name, message, atMs: at, ...(stack !== undefined && { stack }) };
}

/** How often a quorum queue has taken it back: what was lost with a worker, and some that was not. */
function returnsOf({ headers }: TaskMessage): number {
  const count = Number(headers["x-delivery-count"]);
  return Number.isInteger(count) && count > 0 ? count : 0;
}

function isExpired({ headers }: TaskMessage, nowMs: number): boolean {
  const expiresAt = headers[Header.expiresAt];
  return typeof expiresAt === "number" && expiresAt <= nowMs;
}

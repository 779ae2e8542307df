import type { Clock } from "../base/index.ts";
import type { StateStore } from "../state/index.ts";
import { derivedId, newId } from "./ids.ts";
import { assertDelay } from "./longest-delay.ts";
import { StateJob, ReplyJob, UnawaitedJob, type Job } from "./job.ts";
import { defaultPriority, encodeTask } from "./message.ts";
import { newTraceparent } from "./traceparent.ts";
import type { KnownQueues, QueueDefinition } from "./queue.ts";
import { Expiries } from "./expiries.ts";
import { Replies } from "./replies.ts";
import type { AnyTask, InputOf, OutputOf, Schema, Task } from "./task.ts";
import type { OutgoingMessage, Transport } from "./transport.ts";
import { validate } from "./validate.ts";

export interface SendOptions {
  /** Instead of the task's. */
  readonly priority?: number;
  /** Not before so many milliseconds have passed. */
  readonly delay?: number;
  /** Not before this time, a Date or milliseconds since 1970. */
  readonly at?: Date | number;
  /** Default: by the task's `idempotencyKey`, else a random UUID. */
  readonly id?: string;
  /** Go along as AMQP headers. Without a `traceparent` among them the task begins a trace. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** `false`: nobody will ask for the result. Where there is no state it spares a reply. */
  readonly result?: boolean;
  /** Gives up waiting for the confirm; the task may be on its way. */
  readonly signal?: AbortSignal;
}

/** Sends tasks and says when they are safe. */
export class Sender {
  private readonly transport: Transport;
  private readonly state: StateStore | undefined;
  private readonly queues: KnownQueues;
  private readonly replies: Replies;
  private readonly expiries: Expiries;
  private readonly clock: Clock;

  constructor(parts: {
    transport: Transport;
    state: StateStore | undefined;
    queues: KnownQueues;
    clock: Clock;
  }) {
    this.transport = parts.transport;
    this.state = parts.state;
    this.queues = parts.queues;
    this.replies = new Replies(parts.transport);
    this.expiries = new Expiries(parts.transport);
    this.clock = parts.clock;
  }

  /** Resolves when the broker has confirmed it. @throws ValidationError, PublishError */
  async send<I extends Schema | undefined, O extends Schema | undefined>(
    task: Task<I, O>,
    input: InputOf<I>,
    options: SendOptions = {},
  ): Promise<Job<OutputOf<O>>> {
    const queue = this.queues.of(task);
    const priority = priorityOf(task, options);
    // What has not to be waited for is not: of most tasks that is only the confirm.
    const declaring = this.transport.declare(queue);
    if (declaring) await declaring;
    // The worker validates what was sent, not what this makes of it: transformations run once, there.
    if (task.input) await validate(task.input, input, `input of task '${task.name}'`);
    const id = options.id ?? idOf(task, input) ?? newId(this.clock.nowMs());
    const expires = (task.ttl ?? queue.ttl) !== undefined && options.result !== false;
    if (expires) await this.expiries.watch(queue);
    const expiries = expires ? this.expiries : undefined;
    const job = this.state
      ? new StateJob<OutputOf<O>>(id, this.state, this.clock, expiries)
      : await this.jobWithoutState<OutputOf<O>>(id, options, expiries);
    const nowMs = this.clock.nowMs();
    const message = encodeTask({
      id,
      type: task.name,
      payload: input,
      priority,
      ttl: task.ttl,
      replyTo: job.replyTo,
      headers: { traceparent: newTraceparent(), ...options.headers },
      nowMs,
    });
    await this.transport.publish(
      { ...message, queue: queue.name, via: wayTo(queue), delayMs: delayOf(options, nowMs) },
      options.signal,
    );
    return job;
  }

  private async jobWithoutState<T>(
    id: string,
    { result = true }: SendOptions,
    expiries: Expiries | undefined,
  ): Promise<Job<T> & { replyTo?: string }> {
    if (!result) return new UnawaitedJob<T>(id);
    return new ReplyJob<T>(id, await this.replies.expect(id), expiries);
  }
}

function wayTo({ binding }: QueueDefinition): OutgoingMessage["via"] {
  return binding && { exchange: binding.exchange, routingKey: binding.routingKeys[0] };
}

export function idOf(task: AnyTask, input: unknown): string | undefined {
  const key = task.idempotencyKey?.(input as never);
  return key === undefined ? undefined : derivedId(task.name, key);
}

/** AMQP has a byte for it. @throws TypeError */
function priorityOf(task: AnyTask, { priority = task.priority ?? defaultPriority }: SendOptions): number {
  if (Number.isInteger(priority) && priority >= 0 && priority <= 255) return priority;
  throw new TypeError(`priority is ${priority}; it must be a whole number from 0 to 255`);
}

/** @throws TypeError for a time that is none; RangeError for one that is too far away */
function delayOf({ delay, at }: SendOptions, nowMs: number): number | undefined {
  const delayMs = at === undefined ? delay : Number(at) - nowMs;
  if (delayMs === undefined) return undefined;
  if (Number.isNaN(delayMs))
    throw new TypeError("delay is milliseconds, and at a Date or milliseconds since 1970");
  assertDelay(delayMs);
  return Math.max(0, delayMs);
}

import type { Clock, Logger } from "../base/index.ts";
import type { Journal, StateStore } from "../state/index.ts";
import { Alerts } from "./alerts.ts";
import type { Capabilities } from "./capabilities.ts";
import { DeadLetters } from "./dead-letters.ts";
import { newId } from "./ids.ts";
import { jobState, needsState, StateJob, type Job, type JobState } from "./job.ts";
import { defineQueue, KnownQueues, type QueueDefinition } from "./queue.ts";
import { Sender, type SendOptions } from "./sender.ts";
import { reportOn, type QueueReport } from "./status.ts";
import type { AnyTask, InputOf, OutputOf, Schema, Task } from "./task.ts";
import { newTraceparent } from "./traceparent.ts";
import type { QueueStatus, Transport } from "./transport.ts";
import { Worker, type WorkerOptions } from "./worker.ts";

export interface BusParts {
  readonly transport: Transport;
  readonly state: StateStore | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly retentionMs: number;
  /** What else ends with the bus, after it: an embedded broker. */
  readonly release: () => Promise<void>;
}

export interface ListFilter {
  readonly type?: string;
  readonly queue?: string;
  readonly phase?: JobState["phase"];
  readonly limit?: number;
}

/** A message that is no task. */
export interface PlainMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, unknown>>;
}

/** Tasks published at a time by `sendMany`: enough for one commit of the broker to carry many. */
const sendManyBatch = 200;
const pruneEveryMs = 60_000;

/** Sends tasks, runs workers, looks after dead letters. Made by {@link connect}. */
export class Bus implements AsyncDisposable {
  /** What the backend does, what is emulated, and what is refused. */
  readonly capabilities: Capabilities;
  readonly alerts: Alerts;
  private readonly parts: BusParts;
  private readonly queues = new KnownQueues();
  private readonly sender: Sender;
  private readonly workers: Worker[] = [];
  private readonly pruning: { cancel(): void } | undefined;
  private closing: Promise<void> | undefined;

  constructor(parts: BusParts) {
    const { transport, state, clock, log } = parts;
    const { queues } = this;
    this.parts = parts;
    this.capabilities = { ...transport.capabilities, ...(state && withState) };
    this.sender = new Sender({ transport, state, queues, clock });
    this.alerts = new Alerts({ transport, queues, clock, log });
    this.pruning = state && clock.every(pruneEveryMs, () => this.prune(state));
  }

  /**
   * Sends a task. Resolves when the broker has confirmed it: from then on it is done at least once, or found in the dead
   * letters, whatever dies.
   *
   * @throws ValidationError when the input is not what the task's schema says; PublishError when it was not confirmed; the
   *   signal's reason.
   */
  send<I extends Schema | undefined, O extends Schema | undefined>(
    task: Task<I, O>,
    input: InputOf<I>,
    options: SendOptions = {},
  ): Promise<Job<OutputOf<O>>> {
    return this.sender.send(task, input, options);
  }

  /** Sends many, in order and in batches. Rejects with the first error; what was sent before it is sent. */
  async sendMany<I extends Schema | undefined, O extends Schema | undefined>(
    task: Task<I, O>,
    inputs: Iterable<InputOf<I>>,
    options: Omit<SendOptions, "id"> = {},
  ): Promise<Job<OutputOf<O>>[]> {
    const jobs: Job<OutputOf<O>>[] = [];
    const all = [...inputs];
    for (let at = 0; at < all.length; at += sendManyBatch) {
      const batch = all.slice(at, at + sendManyBatch);
      jobs.push(...(await Promise.all(batch.map((input) => this.send(task, input, options)))));
    }
    return jobs;
  }

  /** A task that somebody has sent, by its id. @throws CapabilityError without state */
  job(id: string): Job<unknown> {
    const { state, clock } = this.parts;
    if (!state) throw needsState("bus.job()");
    return new StateJob(id, state, clock);
  }

  /** Tasks that workers have begun, the latest first; 100 unless a limit says otherwise. @throws CapabilityError without state */
  async list(filter: ListFilter = {}): Promise<JobState[]> {
    const { state } = this.parts;
    if (!state) throw needsState("bus.list()");
    return (await state.list({ limit: 100, ...filter })).map(jobState);
  }

  /** Logs that all processes share. @throws CapabilityError without state */
  get journal(): Journal {
    const { state } = this.parts;
    if (!state) throw needsState("bus.journal");
    return state.journal;
  }

  /** What the bus was given, for what stands on it. */
  get surroundings(): { readonly clock: Clock; readonly logger: Logger; readonly retentionMs: number } {
    const { clock, log: logger, retentionMs } = this.parts;
    return { clock, logger, retentionMs };
  }

  /**
   * Publishes a message that is no task, as JSON, to an exchange: to whatever queues are bound there, also to none. Resolves when the
   * broker has confirmed it.
   *
   * @throws PublishError when it was not confirmed, or there is no such exchange
   */
  async publish(message: PlainMessage): Promise<void> {
    const { exchange, routingKey, body, headers = {} } = message;
    const nowMs = this.parts.clock.nowMs();
    await this.parts.transport.publish({
      queue: "",
      via: { exchange, routingKey },
      isOptional: true,
      body,
      messageId: newId(nowMs),
      contentType: "application/json",
      priority: undefined,
      expirationMs: undefined,
      replyTo: undefined,
      correlationId: undefined,
      timestampMs: nowMs,
      headers: { traceparent: newTraceparent(), ...headers },
    });
  }

  /** What the broker says of a queue; undefined when there is none of the name. */
  queueStatus(queue: string): Promise<QueueStatus | undefined> {
    return this.parts.transport.queueStatus(queue);
  }

  worker(options: WorkerOptions = {}): Worker {
    const { sender, queues } = this;
    const worker = new Worker(options, { ...this.parts, sender, queues });
    this.workers.push(worker);
    return worker;
  }

  /** The dead letters of a task's queue, or of a queue by its name. Other tasks that share it have theirs there, too. */
  deadLetters(of: AnyTask | string): DeadLetters {
    return new DeadLetters(typeof of === "string" ? this.queueNamed(of) : this.queues.of(of), this.parts);
  }

  /** Of the queues that this bus has met, or of those named. */
  async status(queues: readonly string[] = []): Promise<QueueReport[]> {
    const wanted = queues.length > 0 ? queues.map((queue) => this.queueNamed(queue)) : this.queues.all;
    return Promise.all(wanted.map((queue) => reportOn(queue, this.parts)));
  }

  /** Closes workers, which drain, then the connection. Closing twice is fine. */
  close(): Promise<void> {
    return (this.closing ??= this.shutDown());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async shutDown(): Promise<void> {
    const { transport, state, release } = this.parts;
    this.pruning?.cancel();
    await Promise.all(this.workers.map((worker) => worker.close()));
    await transport.close();
    await state?.close();
    await release();
  }

  /** As a task has described it; one that none has is as a queue is by default. */
  private queueNamed(name: string): QueueDefinition {
    return this.queues.all.find((queue) => queue.name === name) ?? defineQueue({ name });
  }

  private prune(state: StateStore): void {
    state.prune(this.parts.clock.nowMs()).catch((error: Error) => {
      this.parts.log.warn({ error: error.message }, "cannot remove old results");
    });
  }
}

/** Where the workers and senders share state, whatever the broker is. */
const withState = {
  results: "native",
  cancel: "emulated",
  state: "native",
  steps: "native",
  crashAttempts: "native",
} as const satisfies Partial<Capabilities>;

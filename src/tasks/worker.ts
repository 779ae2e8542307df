import type { Clock, Logger, Timer } from "../base/index.ts";
import type { StateStore } from "../state/index.ts";
import type { Attempt, Registration } from "./attempt.ts";
import { closeOnSignals } from "./close-on-signals.ts";
import type { Handler, Middleware } from "./context.ts";
import { CancelledError, ConnectionLostError, ShutdownError } from "./errors.ts";
import type { KnownQueues, QueueDefinition } from "./queue.ts";
import type { Sender } from "./sender.ts";
import type { AnyTask, Schema, Task } from "./task.ts";
import { TaskRunner, type DyingTask, type UnknownTask } from "./task-runner.ts";
import type { Consumption, Delivery, Transport } from "./transport.ts";

export interface WorkerOptions {
  /**
   * Tasks that run at a time, which is also the prefetch: a worker holds no more than it works on. Default 10. Start with what
   * the memory holds: 2 GB and up to 500 KB of context each, with their model calls, are 3 to 5.
   */
  readonly concurrency?: number;
  /** How long {@link Worker.close} lets handlers finish before it aborts their signals, in milliseconds. Default 30 000. */
  readonly drainTimeout?: number;
  /** Close the worker at SIGTERM and SIGINT, then let the signal do what it does. Default true. */
  readonly stopOnSignals?: boolean;
}

export interface WorkerParts {
  readonly transport: Transport;
  readonly state: StateStore | undefined;
  readonly sender: Sender;
  readonly queues: KnownQueues;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly retentionMs: number;
}

/** After its signal was aborted a handler has so long to come back before its task is handed back without it. */
const abortGraceMs = 1_000;
const lookForCancelledMs = 500;

/** Runs the handlers of tasks. */
export class Worker {
  readonly concurrency: number;
  private readonly options: WorkerOptions;
  private readonly parts: WorkerParts;
  private readonly registrations = new Map<string, Registration>();
  private readonly middleware: Middleware[] = [];
  private readonly consumptions = new Map<string, Promise<Consumption>>();
  private readonly runner: TaskRunner;
  private unknownTask: UnknownTask = "dead-letter";
  /** By queue. */
  private readonly untypedTasks = new Map<string, string>();
  private readonly deadListeners: ((task: DyingTask) => void | Promise<void>)[] = [];
  /** Deliveries of several queues that wait for one of the places. */
  private readonly waiting: (readonly [Delivery, QueueDefinition])[] = [];
  private running = 0;
  private startedInTurn = 0;
  /** One half is at work while the other one's results are being written: otherwise all places would wait for the disk at once. */
  private readonly mostAtOnce: number;
  private onIdle: (() => void) | undefined;
  private starting: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  /** By queue: a live connection does not let us consume it. */
  private readonly refusals = new Map<string, { readonly error: Error; readonly tries: number }>();
  private cancellations: Timer | undefined;
  private ignoreSignals: (() => void) | undefined;

  constructor(options: WorkerOptions, parts: WorkerParts) {
    const { concurrency = 10 } = options;
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 65_535)
      throw new TypeError(`concurrency is ${concurrency}; it must be a whole number from 1 to 65535`);
    this.concurrency = concurrency;
    this.mostAtOnce = Math.ceil(concurrency / 2);
    this.options = options;
    this.parts = parts;
    const { registrations, middleware } = this;
    this.runner = new TaskRunner({
      ...parts,
      registrations,
      middleware,
      unknownTask: () => this.unknownTask,
      untyped: ({ name: queue }) => {
        const type = this.untypedTasks.get(queue);
        return type === undefined ? undefined : { type, queue };
      },
      onDead: async (task) => {
        for (const listener of this.deadListeners) await listener(task);
      },
    });
  }

  /** Names who does the task. Tasks are taken from the next turn of the event loop on, or when {@link start} is called. */
  on<I extends Schema | undefined, O extends Schema | undefined>(
    task: Task<I, O>,
    handler: Handler<I, O>,
  ): this {
    if (this.registrations.has(task.name))
      throw new Error(`this worker has a handler for task '${task.name}' already`);
    this.registrations.set(task.name, { task: task, handler: handler as never });
    this.parts.queues.of(task);
    setImmediate(() => {
      this.start().catch((error: Error) =>
        this.parts.log.error({ error: error.message }, "worker cannot start"),
      );
    });
    return this;
  }

  /**
   * Why it does not take tasks from a queue that it should take them from: the broker has refused it again and again, and is
   * asked again. Undefined while all is well, or the connection is only lost.
   */
  refusalOf(task: AnyTask): { readonly error: Error; readonly tries: number } | undefined {
    return this.refusals.get(this.parts.queues.of(task).name);
  }

  /** The names of those that it has handlers for. */
  get tasks(): string[] {
    return [...this.registrations.keys()];
  }

  /** Runs around each handler; the first that was given is outermost. */
  use(middleware: Middleware): this {
    this.middleware.push(middleware);
    return this;
  }

  /** What happens to tasks of the worker's queues that it has no handler for. Default: they are dead-lettered. */
  onUnknown(action: UnknownTask): this {
    this.unknownTask = action;
    return this;
  }

  /**
   * Messages of the task's queue that say no type, as programs send that know nothing of tasks, are this task: what came is its
   * input. Default: they are dead-lettered.
   */
  onUntyped(task: AnyTask): this {
    this.untypedTasks.set(this.parts.queues.of(task).name, task.name);
    return this;
  }

  /** Called, and waited for, before a task goes to the dead letters. What it throws sends the task back to its queue instead. */
  onDead(listener: (task: DyingTask) => void | Promise<void>): this {
    this.deadListeners.push(listener);
    return this;
  }

  /** Resolves when the worker takes tasks from all its queues. Starting twice is fine. @throws what the broker says */
  async start(): Promise<void> {
    if (this.closing) return;
    this.starting ??= this.consumeAll().finally(() => {
      this.starting = undefined;
    });
    await this.starting;
  }

  /**
   * Takes no more tasks, waits for those at work, then hands back what has not ended in time; it does not count as an attempt.
   * Closing twice is fine.
   */
  close(): Promise<void> {
    return (this.closing ??= this.drain());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async consumeAll(): Promise<void> {
    if (this.options.stopOnSignals ?? true) this.ignoreSignals ??= closeOnSignals(() => this.close());
    if (this.parts.state) this.watchCancellations(this.parts.state);
    for (const { task } of this.registrations.values()) {
      const queue = this.parts.queues.of(task);
      if (this.consumptions.has(queue.name)) continue;
      const consumption = this.consume(queue);
      this.consumptions.set(queue.name, consumption);
      try {
        await consumption;
      } catch (error) {
        this.consumptions.delete(queue.name);
        throw error;
      }
    }
  }

  private async consume(queue: QueueDefinition): Promise<Consumption> {
    const { transport, log } = this.parts;
    await transport.declare(queue);
    return transport.consume(queue, {
      prefetch: this.concurrency,
      onDelivery: (delivery) => this.take(delivery, queue),
      onRefused: (error, tries) => {
        this.refusals.set(queue.name, { error, tries });
      },
      onConsuming: () => this.refusals.delete(queue.name),
      onLost: (error) => {
        log.warn(
          { queue: queue.name, error: error.message },
          "worker lost its connection: its tasks go to others",
        );
        this.dropLost(error);
      },
    });
  }

  private take(delivery: Delivery, queue: QueueDefinition): void {
    this.waiting.push([delivery, queue]);
    this.startWaiting();
  }

  /** At most {@link mostAtOnce} in a turn of the event loop, the others in the next. */
  private startWaiting(): void {
    while (this.waiting.length > 0 && this.running < this.concurrency) {
      if (this.startedInTurn >= this.mostAtOnce) return;
      if (this.startedInTurn++ === 0) setImmediate(() => this.nextTurn());
      this.running++;
      const [delivery, queue] = this.waiting.shift()!;
      void this.runner.run(delivery, queue).finally(() => this.finished());
    }
  }

  private nextTurn(): void {
    this.startedInTurn = 0;
    this.startWaiting();
  }

  private finished(): void {
    this.running--;
    this.startWaiting();
    if (this.running === 0) this.onIdle?.();
  }

  private dropLost(error: Error): void {
    const lost = new ConnectionLostError(`the connection was lost: ${error.message}`);
    for (const [delivery, attempt] of this.runner.active) if (delivery.isLost) attempt.abort(lost);
    const held = this.waiting.filter(([delivery]) => !delivery.isLost);
    this.waiting.splice(0, this.waiting.length, ...held);
  }

  /** Looks for tombstones of what has run for a while. What is shorter than that learns of them when it ends. */
  private watchCancellations(state: StateStore): void {
    this.cancellations ??= this.parts.clock.every(lookForCancelledMs, () => {
      for (const attempt of this.runner.active.values()) {
        void this.abortIfCancelled(state, attempt);
      }
    });
  }

  private async abortIfCancelled(state: StateStore, attempt: Attempt): Promise<void> {
    const { id } = attempt.parts.message;
    // A state that cannot be read says so itself when it is wanted.
    const record = await state.get(id).catch(() => undefined);
    if (record?.phase === "cancelled") attempt.abort(new CancelledError(`task ${id} was cancelled`));
  }

  private async drain(): Promise<void> {
    await this.starting?.catch(() => {});
    const consumptions = await Promise.all(
      [...this.consumptions.values()].map((consumption) => consumption.catch(() => undefined)),
    );
    for (const consumption of consumptions) await consumption?.cancel();
    for (const [delivery] of this.waiting.splice(0)) delivery.requeue();
    if (!(await this.idleWithin(this.options.drainTimeout ?? 30_000))) {
      const reason = new ShutdownError("the worker is shutting down");
      for (const attempt of this.runner.active.values()) attempt.abort(reason);
      await this.idleWithin(abortGraceMs);
    }
    for (const consumption of consumptions) await consumption?.close();
    this.cancellations?.cancel();
    this.ignoreSignals?.();
  }

  private async idleWithin(timeoutMs: number): Promise<boolean> {
    if (this.running === 0) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.onIdle = () => resolve(true);
    const timer = setTimeout(() => resolve(false), timeoutMs);
    const isIdle = await promise;
    clearTimeout(timer);
    return isIdle;
  }
}

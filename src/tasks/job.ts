import type { Clock } from "../base/index.ts";
import type { StateStore, TaskEvent, TaskRecord } from "../state/index.ts";
import { CapabilityError, TaskFailedError } from "./errors.ts";
import type { Expiries } from "./expiries.ts";
import type { ExpectedReply } from "./replies.ts";

/** What is known of a task. `queued`: sent, and no worker has begun it. */
export type JobState = Omit<TaskRecord, "fence" | "result" | "progress" | "phase"> & {
  readonly phase: TaskRecord["phase"];
  /** What the handler said last of its progress. */
  readonly progress?: unknown;
};

export interface JobEvent {
  readonly sequence: number;
  /** started, progress, retrying, completed, dead, cancelled */
  readonly kind: string;
  readonly atMs: number;
  readonly data?: unknown;
}

export interface WaitOptions {
  /** Milliseconds. Default: for ever. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** A task that was sent. */
export interface Job<T> {
  readonly id: string;
  /**
   * What the handler has returned.
   * @throws TaskFailedError when it went to the dead letters or was cancelled; TimeoutError (DOMException); the signal's reason
   */
  result(options?: WaitOptions): Promise<T>;
  /** @throws CapabilityError without state */
  state(): Promise<JobState>;
  /** All events from the first, then those that come, until the task has ended. @throws CapabilityError without state */
  events(options?: WaitOptions): AsyncIterable<JobEvent>;
  /**
   * What has not begun will not, and who is at it is told. True unless it had ended before.
   * @throws CapabilityError without state
   */
  cancel(): Promise<boolean>;
}

/** How long a tombstone is kept: longer than anything waits in a queue. */
const tombstoneMs = 30 * 86_400_000;
const lookAgainMs = 1_000;
const ended = new Set(["completed", "dead", "cancelled"]);

/** A job whose fate is in the state that its worker shares. */
export class StateJob<T> implements Job<T> {
  readonly id: string;
  readonly replyTo: undefined;
  private readonly store: StateStore;
  private readonly clock: Clock;
  private readonly expiries: Expiries | undefined;

  constructor(id: string, store: StateStore, clock: Clock, expiries?: Expiries) {
    this.id = id;
    this.store = store;
    this.clock = clock;
    this.expiries = expiries;
  }

  async result(options: WaitOptions = {}): Promise<T> {
    const signal = waitSignal(options);
    for (;;) {
      const record = await this.store.get(this.id);
      if (record && ended.has(record.phase)) return resultOf(record) as T;
      if (this.expiries?.has(this.id)) throw expired(this.id, this.expiries);
      const changed = this.store.changed(this.id, lookAgainMs);
      await raceAbort(
        this.expiries ? Promise.race([changed, this.expiries.whenExpired(this.id)]) : changed,
        signal,
      );
    }
  }

  async state(): Promise<JobState> {
    const record = await this.store.get(this.id);
    return record ? jobState(record) : { id: this.id, type: "", queue: "", phase: "queued", attempt: 0 };
  }

  async *events(options: WaitOptions = {}): AsyncGenerator<JobEvent> {
    const signal = waitSignal(options);
    let last = 0;
    for (;;) {
      // Looked at before the events: those that led to it are among them.
      const phase = (await this.store.get(this.id))?.phase ?? "queued";
      for (const event of await this.store.events(this.id, last)) {
        last = event.sequence;
        yield eventOf(event);
      }
      if (ended.has(phase)) return;
      await raceAbort(this.store.changed(this.id, lookAgainMs), signal);
    }
  }

  async cancel(): Promise<boolean> {
    const nowMs = this.clock.nowMs();
    const { phase } = await this.store.cancel(this.id, { nowMs, expiresAtMs: nowMs + tombstoneMs });
    return phase === "cancelled";
  }
}

/** A job whose worker replies to the bus that has sent it. */
export class ReplyJob<T> implements Job<T> {
  readonly id: string;
  readonly replyTo: string;
  private readonly expected: ExpectedReply;
  private readonly expiries: Expiries | undefined;

  constructor(id: string, expected: ExpectedReply, expiries?: Expiries) {
    this.id = id;
    this.expiries = expiries;
    this.replyTo = expected.replyTo;
    this.expected = expected;
  }

  async result(options: WaitOptions = {}): Promise<T> {
    const { reply } = this.expected;
    const expiry = this.expiries?.whenExpired(this.id);
    const first = await raceAbort(expiry ? Promise.race([reply, expiry]) : reply, waitSignal(options));
    if (!first) throw expired(this.id, this.expiries!);
    const { status, result, error } = first;
    if (status === "completed") return result as T;
    throw new TaskFailedError(
      this.id,
      status,
      error ? `${error.name}: ${error.message}` : `task ${this.id} is ${status}`,
    );
  }

  state(): Promise<JobState> {
    return Promise.reject(needsState("job.state()"));
  }

  events(): AsyncIterable<JobEvent> {
    throw needsState("job.events()");
  }

  cancel(): Promise<boolean> {
    return Promise.reject(needsState("job.cancel()"));
  }
}

/** A job that nobody waits for. */
export class UnawaitedJob<T> implements Job<T> {
  readonly id: string;
  readonly replyTo: undefined;

  constructor(id: string) {
    this.id = id;
  }

  result(): Promise<T> {
    return Promise.reject(
      new CapabilityError(
        "this task was sent, or found, without anything by which its result could come; see docs/tasks.md",
      ),
    );
  }

  state(): Promise<JobState> {
    return Promise.reject(needsState("job.state()"));
  }

  events(): AsyncIterable<JobEvent> {
    throw needsState("job.events()");
  }

  cancel(): Promise<boolean> {
    return Promise.reject(needsState("job.cancel()"));
  }
}

export function needsState(what: string): CapabilityError {
  return new CapabilityError(
    `${what} needs state that all processes share: connect(url, { state: "postgres://…" }). embedded:./data brings its own.`,
  );
}

export function jobState(record: TaskRecord): JobState {
  const { fence: _fence, result: _result, progress, ...state } = record;
  // One that was counted and might not begin any more was no attempt.
  const attempt = state.phase === "dead" && state.failure ? state.failure.attempt : state.attempt;
  return { ...state, attempt, ...(progress !== undefined && { progress: JSON.parse(progress) as unknown }) };
}

function expired(id: string, expiries: Expiries): TaskFailedError {
  expiries.forget(id);
  return new TaskFailedError(id, "dead", `task ${id} has expired: no worker took it within its ttl`);
}

function resultOf({ id, phase, result, failure }: TaskRecord): unknown {
  if (phase === "completed") return result === undefined ? undefined : (JSON.parse(result) as unknown);
  const why = failure ? `${failure.name}: ${failure.message}` : `task ${id} was cancelled`;
  throw new TaskFailedError(id, phase as "dead" | "cancelled", why);
}

function eventOf({ sequence, kind, atMs, data }: TaskEvent): JobEvent {
  return { sequence, kind, atMs, ...(data !== undefined && { data: JSON.parse(data) as unknown }) };
}

function waitSignal({ timeout, signal }: WaitOptions): AbortSignal | undefined {
  const signals = [
    ...(timeout === undefined ? [] : [AbortSignal.timeout(timeout)]),
    ...(signal ? [signal] : []),
  ];
  return signals.length === 0 ? undefined : AbortSignal.any(signals);
}

/** @throws the signal's reason */
async function raceAbort<V>(promise: Promise<V>, signal: AbortSignal | undefined): Promise<V> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * What is known of tasks beside their messages: which attempt runs, how it ended, what its steps have done. All times are
 * milliseconds since 1970 and come from the caller.
 *
 * Whoever begins an attempt gets a **fence**, a number that grows with each. Writes name it, so that a worker that was
 * thought dead and is not cannot write after another has taken over.
 *
 * ```
 *            begin            complete
 *   (none) ────────► active ───────────► completed
 *              ▲ ▲    │ │ │     fail
 *      begin   │ │    │ │ └────────────► dead ──┐
 *   retrying ──┘ │    │ │ retrying              │ reopen
 *      ▲─────────┼────┼─┘                       │
 *                └────┴─► queued ◄──────────────┤
 *                release                        │
 *   anything unfinished ── cancel ─► cancelled ─┘
 * ```
 */
export interface StateStore extends AsyncDisposable {
  readonly kind: "sqlite" | "postgres";
  /**
   * Says that an attempt starts, or why it must not. An attempt that is active already was cut short by a crash, since only
   * one message of a task is delivered at a time: it is counted.
   */
  begin(claim: Claim): Promise<Begun>;
  /**
   * The first writer wins: false when another attempt has started since, or the task is finished already.
   * `expiresAtMs`: when {@link prune} may remove it.
   */
  complete(id: string, fence: number, outcome: CompletedOutcome): Promise<boolean>;
  /** As {@link complete}, with the phase `dead`. */
  fail(id: string, fence: number, outcome: DeadOutcome): Promise<boolean>;
  /** The copy of the message for `next.attempt` has been confirmed. False as for {@link complete}. */
  retrying(id: string, fence: number, next: NextAttempt): Promise<boolean>;
  /**
   * The attempt was handed back unfinished (shutdown, lost connection) and does not count as a crash. False when it is not
   * the active one.
   */
  release(id: string, fence: number): Promise<boolean>;
  /**
   * Leaves a tombstone, also of a task that nobody has heard of (its type and queue are empty then). What is queued will not
   * start; what is active is told by an event `cancel-requested`, and its outcome is refused. A task that was finished
   * before stays as it is. Resolves with what is known now.
   */
  cancel(id: string, options: { nowMs: number; expiresAtMs: number }): Promise<TaskRecord>;
  /** A dead or cancelled task may run again, from any attempt: forgets the outcome, keeps steps. Others stay as they are. */
  reopen(id: string): Promise<void>;
  get(id: string): Promise<TaskRecord | undefined>;
  /** The latest first, by when they have finished, or else started. */
  list(filter?: TaskFilter): Promise<TaskRecord[]>;
  counts(queue: string, sinceMs: number): Promise<{ active: number; finishedSince: number }>;
  /** `progress` is JSON text. False when the attempt is not the active one. */
  setProgress(id: string, fence: number, progress: string, nowMs: number): Promise<boolean>;
  /** What has happened to a task, in order. All of it, or what came after a sequence. */
  events(id: string, afterSequence?: number): Promise<TaskEvent[]>;
  /**
   * Resolves when something may have changed for the task since the call, or at the latest after `timeoutMs`. To miss
   * nothing, call it first, then look, then wait.
   */
  changed(id: string, timeoutMs: number): Promise<void>;
  readonly steps: StepLedger;
  readonly leases: Leases;
  readonly journal: Journal;
  /** Removes tasks that have expired, with their events and steps; resolves with how many. Leases stay: their fences must grow. */
  prune(nowMs: number): Promise<number>;
  /** Finishes what was begun. Closing twice is fine. */
  close(): Promise<void>;
}

export type TaskPhase = "queued" | "active" | "retrying" | "completed" | "dead" | "cancelled";

export interface TaskRecord {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly phase: TaskPhase;
  /** Of the attempt that was started last, counted from 1; crashes are counted. 0 before the first. */
  readonly attempt: number;
  readonly fence: number;
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  /** When the next attempt may start; only when retrying. */
  readonly dueAtMs?: number;
  /** JSON text; only when completed. */
  readonly result?: string;
  /** Of the last attempt that has failed, also when a later one did not. */
  readonly failure?: TaskFailure;
  /** JSON text of what the handler said last. */
  readonly progress?: string;
}

export interface TaskFailure {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly attempt: number;
  readonly atMs: number;
}

export interface Claim {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  /** The number that the message carries, from 1. */
  readonly attempt: number;
  readonly nowMs: number;
  /**
   * The broker has not delivered this message before. That the attempt has begun may then be written together with its outcome, if
   * that comes at once: with SQLite, one write instead of two. It counts as begun all the same.
   */
  readonly isFirstDelivery?: boolean;
}

export type Begun =
  | {
      readonly status: "started";
      readonly fence: number;
      /** What the message carries, and the crashes since. */
      readonly attempt: number;
      /** Of the attempt before. */
      readonly failure?: TaskFailure;
    }
  /** Completed, dead or cancelled already: acknowledge without running. */
  | { readonly status: "finished"; readonly record: TaskRecord }
  /** A later attempt of the task was published: this one is a duplicate. */
  | { readonly status: "superseded"; readonly record: TaskRecord };

export interface CompletedOutcome {
  /** JSON text. */
  readonly result: string | undefined;
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

export interface DeadOutcome {
  readonly failure: TaskFailure;
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

export interface NextAttempt {
  readonly attempt: number;
  readonly dueAtMs: number;
  readonly failure: TaskFailure | undefined;
}

export interface TaskFilter {
  readonly type?: string;
  readonly queue?: string;
  readonly phase?: TaskPhase;
  /** Default 100. */
  readonly limit?: number;
  /** The id of the last task of the page before. */
  readonly before?: string;
}

/** `started`, `progress`, `retrying`, `completed`, `dead`, `cancel-requested`, `cancelled`. */
export interface TaskEvent {
  /** From 1, without gaps within a task. */
  readonly sequence: number;
  readonly kind: string;
  readonly atMs: number;
  /**
   * JSON text. `started`: attempt and fence; `progress`: what was said; `retrying`: attempt, dueAtMs and failure;
   * `dead`: the failure.
   */
  readonly data?: string;
}

/** What the steps of tasks have done, so that a later attempt does not do it again. */
export interface StepLedger {
  find(taskId: string, name: string): Promise<StepRecord | undefined>;
  /**
   * Records that the step is about to have its effect, before it has. False when it is recorded already, intended or done;
   * when the fence is no longer the task's; or the task is finished.
   */
  intend(taskId: string, name: string, fence: number, nowMs: number): Promise<boolean>;
  /**
   * The first writer wins: false when the step is done already, or the fence is no longer the task's. It works without an
   * intent, and after the task was cancelled: what has been done is worth knowing.
   */
  record(
    taskId: string,
    name: string,
    fence: number,
    result: string | undefined,
    nowMs: number,
  ): Promise<boolean>;
  /**
   * Runs `work` and records its result in one transaction of the same database: either both or neither. Resolves with the
   * result as JSON text. A step that is done already is not run, its recorded result comes back.
   *
   * `work` must not wait for another write of this store: with SQLite, that one waits for `work`.
   *
   * @throws StaleFenceError when the fence is no longer the task's, or the task is finished; what `work` throws.
   */
  transact<T>(
    taskId: string,
    name: string,
    fence: number,
    work: (tx: StateTransaction) => T | Promise<T>,
    nowMs: number,
  ): Promise<string | undefined>;
}

export interface StepRecord {
  readonly name: string;
  readonly status: "intended" | "done";
  /** JSON text; only when done. */
  readonly result?: string;
}

/** SQL in the state's database, with its own parameters: `?` in SQLite, `$1` in Postgres. */
export interface StateTransaction {
  query(sql: string, parameters?: readonly unknown[]): Promise<Record<string, unknown>[]>;
}

/** Who may do what only one may do at a time, until when. */
export interface Leases {
  /** Undefined while somebody else holds it. Its fence grows with each change of owner. */
  acquire(name: string, owner: string, ttlMs: number, nowMs: number): Promise<Lease | undefined>;
  /** Undefined when it is lost: it has expired, or somebody else holds it. */
  renew(lease: Lease, ttlMs: number, nowMs: number): Promise<Lease | undefined>;
  /** Releasing what is lost does nothing. */
  release(lease: Lease): Promise<void>;
}

export interface Lease {
  readonly name: string;
  readonly owner: string;
  readonly fence: number;
  readonly expiresAtMs: number;
}

/**
 * Logs by name, to which only who knows the end can add: whoever has decided something from what a log says adds it only if that is
 * still all it says.
 */
export interface Journal {
  /**
   * Adds entries behind the one with the sequence `after` (0: to an empty log), all or none. False when that is not the last. They
   * outlive a power failure. `expiresAtMs` is when {@link StateStore.prune} may remove the whole log; the latest holds.
   */
  append(name: string, after: number, addition: JournalAddition): Promise<boolean>;
  /** What came after a sequence, in order. */
  read(name: string, after?: number): Promise<JournalEntry[]>;
  /** As {@link StateStore.changed}. */
  changed(name: string, timeoutMs: number): Promise<void>;
  /** Those whose names begin so, what was added to last first. */
  list(filter: { readonly prefix: string; readonly limit: number }): Promise<JournalSummary[]>;
}

export interface JournalAddition {
  readonly entries: readonly { readonly kind: string; readonly data: string }[];
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

export interface JournalEntry {
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly kind: string;
  readonly atMs: number;
  readonly data: string;
}

export interface JournalSummary {
  readonly name: string;
  readonly length: number;
  readonly updatedAtMs: number;
}

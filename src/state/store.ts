import * as journal from "./journal-operations.ts";
import * as leases from "./lease-operations.ts";
import type { Operation } from "./operation.ts";
import { journalId, type StateDatabase } from "./state-database.ts";
import type {
  Begun,
  Claim,
  CompletedOutcome,
  DeadOutcome,
  Journal,
  Leases,
  NextAttempt,
  StateStore,
  StepLedger,
  TaskEvent,
  TaskFilter,
  TaskRecord,
} from "./state-store.ts";
import * as steps from "./step-operations.ts";
import * as tasks from "./task-operations.ts";
import { Waiters } from "./waiters.ts";

const defaultLimit = 100;

/** The state of tasks in some database. */
export class Store implements StateStore {
  readonly kind: StateStore["kind"];
  readonly steps: StepLedger;
  readonly leases: Leases;
  readonly journal: Journal;
  private readonly database: StateDatabase;
  private readonly waiters = new Waiters();

  constructor(database: StateDatabase) {
    this.database = database;
    this.kind = database.kind;
    this.steps = {
      find: (taskId, name) => database.findStep(taskId, name),
      intend: (...step) => this.write(steps.intend(...step)),
      record: (...step) => this.write(steps.record(...step)),
      transact: async (taskId, name, fence, work, nowMs) => {
        assertText(name);
        return database.transact(taskId, name, fence, work, nowMs);
      },
    };
    this.leases = {
      acquire: (...lease) => this.write(leases.acquire(...lease)),
      renew: (...lease) => this.write(leases.renew(...lease)),
      release: (lease) => this.write(leases.releaseLease(lease)),
    };
    this.journal = {
      append: (...addition) => this.write(journal.append(...addition)),
      read: (name, after = 0) => database.readJournal(name, after),
      changed: (name, timeoutMs) => this.changed(journalId(name), timeoutMs),
      list: (filter) => database.listJournals(filter),
    };
  }

  begin(claim: Claim): Promise<Begun> {
    return this.write(tasks.begin(claim));
  }

  complete(id: string, fence: number, outcome: CompletedOutcome): Promise<boolean> {
    return this.write(tasks.complete(id, fence, outcome));
  }

  fail(id: string, fence: number, outcome: DeadOutcome): Promise<boolean> {
    return this.write(tasks.fail(id, fence, outcome));
  }

  retrying(id: string, fence: number, next: NextAttempt): Promise<boolean> {
    return this.write(tasks.retrying(id, fence, next));
  }

  release(id: string, fence: number): Promise<boolean> {
    return this.write(tasks.release(id, fence));
  }

  cancel(id: string, options: { nowMs: number; expiresAtMs: number }): Promise<TaskRecord> {
    return this.write(tasks.cancel(id, options));
  }

  async reopen(id: string): Promise<void> {
    await this.write(tasks.reopen(id));
  }

  get(id: string): Promise<TaskRecord | undefined> {
    return this.database.get(id);
  }

  list(filter: TaskFilter = {}): Promise<TaskRecord[]> {
    return this.database.list({ ...filter, limit: filter.limit ?? defaultLimit });
  }

  counts(queue: string, sinceMs: number): Promise<{ active: number; finishedSince: number }> {
    return this.database.counts(queue, sinceMs);
  }

  setProgress(id: string, fence: number, progress: string, nowMs: number): Promise<boolean> {
    return this.write(tasks.setProgress(id, fence, progress, nowMs));
  }

  events(id: string, afterSequence = 0): Promise<TaskEvent[]> {
    return this.database.events(id, afterSequence);
  }

  async changed(id: string, timeoutMs: number): Promise<void> {
    if (this.waiters.isEmpty) {
      this.database.watch((other) =>
        other === undefined ? this.waiters.wakeAll() : this.waiters.wake(other),
      );
    }
    await this.waiters.wait(id, timeoutMs);
    if (this.waiters.isEmpty) this.database.unwatch();
  }

  async prune(nowMs: number): Promise<number> {
    let pruned = 0;
    // In slices, so that others get their turn.
    for (let some = -1; some !== 0; pruned += some) some = await this.database.pruneSome(nowMs);
    return pruned;
  }

  async close(): Promise<void> {
    await this.database.close();
    this.waiters.wakeAll();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async write<T>(operation: Operation<T>): Promise<T> {
    const { task, step, lease, journal: log } = operation.touches;
    assertText(task);
    assertText(step);
    assertText(lease);
    assertText(log);
    const answer = await this.database.execute(operation);
    if (task !== undefined) this.waiters.wake(task);
    if (log !== undefined) this.waiters.wake(journalId(log));
    return answer;
  }
}

/** Postgres has no text with a zero byte; refused everywhere, an id means the same in both databases. */
function assertText(text: string | undefined): void {
  if (text?.includes("\0")) throw new TypeError(`${JSON.stringify(text)} contains a zero byte`);
}

import type { EventRow, LeaseRow, Operation, Rows, StepRow } from "../operation.ts";
import { journalId } from "../state-database.ts";
import type { JournalAddition, StepRecord } from "../state-store.ts";
import type { TaskWithEvent } from "../task-events.ts";
import { isFinished, type TaskChange, type TaskRow } from "../task-row.ts";
import type { Query } from "./connections.ts";
import type { statements } from "./sql.ts";

/** The rows that a batch touches, read and locked before it runs; what it changes is written after it in one statement. */
export class PostgresRows implements Rows {
  private readonly tasks = new Map<string, TaskRow>();
  private readonly steps = new Map<string, StepRecord>();
  private readonly leases = new Map<string, LeaseRow>();
  private readonly changedTasks = new Set<string>();
  private readonly newEvents: (EventRow & { task: number })[] = [];
  private readonly changedSteps = new Map<string, StepRow & { task: number }>();
  private readonly changedLeases = new Set<string>();
  private readonly journals = new Map<string, number>();
  private readonly changedJournals = new Map<string, Pick<JournalAddition, "nowMs" | "expiresAtMs">>();
  private readonly newEntries: (EventRow & { name: string })[] = [];

  static async lock(
    query: Query,
    sql: ReturnType<typeof statements>,
    batch: readonly Pick<Operation<unknown>, "touches">[],
  ): Promise<PostgresRows> {
    const rows = new PostgresRows();
    const touched = batch.map(({ touches }) => touches);
    const made = distinct(touched.map(({ task, makesTask }) => (makesTask ? task : undefined)));
    const ids = distinct(touched.map(({ task }) => task));
    // One that somebody removes between the two statements is made again.
    while (ids.length > 0) {
      if (made.length > 0) await query(sql.makeTasks, [made]);
      for (const row of await query(sql.lockTasks, [ids])) rows.tasks.set(row["id"] as string, taskRow(row));
      if (made.every((id) => rows.tasks.has(id))) break;
    }
    const steps = touched.flatMap(({ task = "", step }) => {
      const key = rows.tasks.get(task)?.key;
      return key === undefined || step === undefined ? [] : [{ key, step }];
    });
    if (steps.length > 0) {
      const wanted = [steps.map(({ key }) => key), steps.map(({ step }) => step)];
      for (const row of await query(sql.lockedSteps, wanted)) {
        rows.steps.set(stepKey(Number(row["task"]), row["name"] as string), stepRecord(row));
      }
    }
    const leases = distinct(touched.map(({ lease }) => lease));
    if (leases.length > 0) {
      const madeLeases = distinct(touched.map(({ lease, makesLease }) => (makesLease ? lease : undefined)));
      if (madeLeases.length > 0) await query(sql.makeLeases, [madeLeases]);
      for (const row of await query(sql.lockLeases, [leases])) {
        rows.leases.set(row["name"] as string, leaseRow(row));
      }
    }
    const journals = distinct(touched.map(({ journal }) => journal));
    // One that somebody removes between the two statements is made again.
    while (rows.journals.size < journals.length) {
      await query(sql.makeJournals, [journals]);
      for (const row of await query(sql.lockJournals, [journals]))
        rows.journals.set(row["name"] as string, Number(row["length"]));
    }
    return rows;
  }

  task(id: string): TaskRow | undefined {
    return this.tasks.get(id);
  }

  addTask(id: string, change: TaskChange): TaskRow | undefined {
    // The row is there in any case, since it was locked.
    const task = this.tasks.get(id)!;
    if (task.fence > 0 || isFinished(task)) return undefined;
    this.saveTask(task, change);
    return this.tasks.get(id);
  }

  saveTask(task: TaskRow, change: TaskChange, events: readonly EventRow[] = []): void {
    for (const event of events) this.newEvents.push({ ...event, task: task.key });
    this.tasks.set(task.id, { ...task, ...change });
    this.changedTasks.add(task.id);
  }

  step(task: TaskRow, name: string): StepRecord | undefined {
    return this.steps.get(stepKey(task.key, name));
  }

  saveStep(task: TaskRow, step: StepRow): void {
    const key = stepKey(task.key, step.name);
    this.steps.set(key, stepRecord({ ...step }));
    this.changedSteps.set(key, { ...step, task: task.key });
  }

  lease(name: string): LeaseRow | undefined {
    return this.leases.get(name);
  }

  saveLease(lease: LeaseRow): void {
    this.leases.set(lease.name, lease);
    this.changedLeases.add(lease.name);
  }

  journalLength(name: string): number {
    return this.journals.get(name)!;
  }

  addToJournal(name: string, length: number, { entries, nowMs, expiresAtMs }: JournalAddition): void {
    this.journals.set(name, length + entries.length);
    this.changedJournals.set(name, { nowMs, expiresAtMs });
    for (const [index, { kind, data }] of entries.entries())
      this.newEntries.push({ name, sequence: length + index + 1, kind, atMs: nowMs, data });
  }

  /** The parameters of the statement that writes all of it, and which batch of whom it was if somebody may ask. */
  changes(writer?: string, batch?: number): unknown[] {
    const tasks = [...this.changedTasks].map((id) => this.tasks.get(id)!);
    return [
      JSON.stringify(tasks),
      JSON.stringify(this.newEvents),
      JSON.stringify([...this.changedSteps.values()]),
      JSON.stringify([...this.changedLeases].map((name) => this.leases.get(name)!)),
      writer,
      batch,
      [...tasks.map(({ id }) => id), ...[...this.changedJournals.keys()].map(journalId)].map(toldAs),
      JSON.stringify(
        [...this.changedJournals].map(([name, times]) => ({
          name,
          length: this.journals.get(name),
          ...times,
        })),
      ),
      JSON.stringify(this.newEntries),
    ];
  }
}

/** Postgres tells at most 8 000 bytes; the empty text stands for any task. */
function toldAs(id: string): string {
  return Buffer.byteLength(id) < 8000 ? id : "";
}

function distinct(names: readonly (string | undefined)[]): string[] {
  return [...new Set(names.filter((name) => name !== undefined))];
}

function stepKey(task: number, name: string): string {
  return `${task} ${name}`;
}

/** Numbers of 64 bits come as text. */
export function taskRow(row: Record<string, unknown>): TaskRow {
  return {
    key: Number(row["key"]),
    id: row["id"] as string,
    type: row["type"] as string,
    queue: row["queue"] as string,
    phase: row["phase"] as TaskRow["phase"],
    attempt: Number(row["attempt"]),
    messageAttempt: Number(row["messageAttempt"]),
    crashes: Number(row["crashes"]),
    fence: Number(row["fence"]),
    startedAtMs: numberOrNull(row["startedAtMs"]),
    finishedAtMs: numberOrNull(row["finishedAtMs"]),
    dueAtMs: numberOrNull(row["dueAtMs"]),
    expiresAtMs: numberOrNull(row["expiresAtMs"]),
    result: row["result"] as string | null,
    failure: row["failure"] as string | null,
    progress: row["progress"] as string | null,
    eventCount: Number(row["eventCount"]),
    startedSequence: Number(row["startedSequence"]),
  };
}

export function taskWithEvent(row: Record<string, unknown>): TaskWithEvent {
  return {
    phase: row["phase"] as TaskRow["phase"],
    attempt: Number(row["attempt"]),
    fence: Number(row["fence"]),
    startedAtMs: numberOrNull(row["startedAtMs"]),
    finishedAtMs: numberOrNull(row["finishedAtMs"]),
    eventCount: Number(row["eventCount"]),
    startedSequence: Number(row["startedSequence"]),
    sequence: numberOrNull(row["sequence"]),
    kind: row["kind"] as string | null,
    atMs: numberOrNull(row["atMs"]),
    data: row["data"] as string | null,
  };
}

export function stepRecord({ name, status, result }: Record<string, unknown>): StepRecord {
  return { name, status, result: result ?? undefined } as StepRecord;
}

function leaseRow(row: Record<string, unknown>): LeaseRow {
  return {
    name: row["name"] as string,
    owner: row["owner"] as string,
    fence: Number(row["fence"]),
    expiresAtMs: Number(row["expiresAtMs"]),
  };
}

function numberOrNull(value: unknown): number | null {
  return value === null ? null : Number(value);
}

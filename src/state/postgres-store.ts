import { StateError } from "./errors.ts";
import type { Operation } from "./operation.ts";
import { Batches } from "./postgres/batches.ts";
import { ChangeListener } from "./postgres/change-listener.ts";
import { Connections } from "./postgres/connections.ts";
import { stepRecord, taskRow, taskWithEvent } from "./postgres/postgres-rows.ts";
import { prepareSchema } from "./postgres/schema.ts";
import { channelOf, statements } from "./postgres/sql.ts";
import { runStepTransaction } from "./postgres/step-transaction.ts";
import type { StateDatabase } from "./state-database.ts";
import type {
  JournalEntry,
  JournalSummary,
  StateStore,
  StateTransaction,
  StepRecord,
  TaskEvent,
  TaskFilter,
  TaskRecord,
} from "./state-store.ts";
import { Store } from "./store.ts";
import { eventsOf } from "./task-events.ts";
import { toRecord } from "./task-row.ts";

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** Where the tables are. Default `warren`. */
  readonly schema?: string;
}

/** @throws StateError when the server cannot be reached or used, or the package `pg` is not installed. */
export async function openPostgresStore({ url, schema = "warren" }: PostgresOptions): Promise<StateStore> {
  // It becomes part of names that may have 63 bytes, and of statements.
  if (!/^[a-z_][a-z0-9_]{0,49}$/i.test(schema)) {
    throw new StateError(`'${schema}' cannot be the schema of the state: 1 to 50 letters, digits and _`);
  }
  const connections = await Connections.to(url);
  try {
    await connections.use((_query, client) => prepareSchema(client, schema));
  } catch (error) {
    await connections.close();
    if (error instanceof StateError) throw error;
    throw new StateError(`The state in Postgres cannot be opened: ${reasonOf(error)}. Check its address.`, {
      cause: error,
    });
  }
  return new Store(new PostgresDatabase(connections, schema));
}

/** A host with several addresses fails with an error for each, and none of its own. */
function reasonOf(error: unknown): string {
  return error instanceof AggregateError ? error.errors.map(reasonOf).join(", ") : (error as Error).message;
}

class PostgresDatabase implements StateDatabase {
  readonly kind = "postgres";
  private readonly connections: Connections;
  private readonly sql: ReturnType<typeof statements>;
  private readonly batches: Batches;
  private readonly listener: ChangeListener;
  private closing: Promise<void> | undefined;

  constructor(connections: Connections, schema: string) {
    this.connections = connections;
    this.sql = statements(schema);
    this.batches = new Batches(connections, this.sql);
    this.listener = new ChangeListener(connections, channelOf(schema));
  }

  async execute<T>(operation: Operation<T>): Promise<T> {
    this.assertOpen();
    return this.batches.execute(operation);
  }

  async transact<T>(
    taskId: string,
    name: string,
    fence: number,
    work: (tx: StateTransaction) => T | Promise<T>,
    nowMs: number,
  ): Promise<string | undefined> {
    this.assertOpen();
    return runStepTransaction(this.connections, this.sql, { taskId, name, fence, work, nowMs });
  }

  async get(id: string): Promise<TaskRecord | undefined> {
    const [row] = await this.read(this.sql.task, [id]);
    return row && toRecord(taskRow(row));
  }

  async list({ type, queue, phase, before, limit }: TaskFilter & { limit: number }): Promise<TaskRecord[]> {
    const rows = await this.read(this.sql.list, [type, queue, phase, before, limit]);
    return rows.map((row) => toRecord(taskRow(row)));
  }

  async counts(queue: string, sinceMs: number): Promise<{ active: number; finishedSince: number }> {
    const [{ active, finished }] = await this.read(this.sql.counts, [queue, sinceMs]);
    return { active: Number(active), finishedSince: Number(finished) };
  }

  async events(id: string, afterSequence: number): Promise<TaskEvent[]> {
    const rows = await this.read(this.sql.events, [id, afterSequence]);
    return eventsOf(rows.map(taskWithEvent), afterSequence);
  }

  async findStep(taskId: string, name: string): Promise<StepRecord | undefined> {
    const [row] = await this.read(this.sql.step, [taskId, name]);
    return row && stepRecord(row);
  }

  async readJournal(name: string, after: number): Promise<JournalEntry[]> {
    const rows = await this.read(this.sql.journal, [name, after]);
    return rows.map(({ sequence, kind, atMs, data }) => ({
      sequence: Number(sequence),
      kind: kind as string,
      atMs: Number(atMs),
      data: data as string,
    }));
  }

  async listJournals({ prefix, limit }: { prefix: string; limit: number }): Promise<JournalSummary[]> {
    const rows = await this.read(this.sql.journals, [prefix, limit]);
    return rows.map(({ name, length, updatedAtMs }) => ({
      name: name as string,
      length: Number(length),
      updatedAtMs: Number(updatedAtMs),
    }));
  }

  async pruneSome(nowMs: number): Promise<number> {
    const prune = async (sql: string): Promise<number> =>
      Number((await this.read(sql, [nowMs]))[0]["pruned"]);
    return (await prune(this.sql.prune)) + (await prune(this.sql.pruneJournals));
  }

  watch(onChange: (id: string | undefined) => void): void {
    if (this.closing === undefined) this.listener.watch(onChange);
  }

  unwatch(): void {
    this.listener.unwatch();
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    // What waits for a server that is away would wait for ever.
    const limit = setTimeout(() => this.connections.giveUp(), 5000);
    await this.batches.settled();
    clearTimeout(limit);
    this.connections.giveUp();
    await this.listener.close();
    await this.connections.close();
  }

  private read(sql: string, parameters: readonly unknown[]): Promise<Record<string, unknown>[]> {
    return this.connections.persist(async () => {
      this.assertOpen();
      return this.connections.use((query) => query(sql, parameters));
    });
  }

  private assertOpen(): void {
    if (this.closing !== undefined) throw new StateError("the state is closed");
  }
}

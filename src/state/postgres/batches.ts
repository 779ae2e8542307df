import { randomUUID } from "node:crypto";
import type { Operation } from "../operation.ts";
import { enqueue, type Pending } from "../pending.ts";
import { isConflict, type Connections, type Query } from "./connections.ts";
import { PostgresRows } from "./postgres-rows.ts";
import type { statements } from "./sql.ts";

const most = 1000;
const conflictDelayMs = 10;
/** Locks of a store whose machine has vanished end by this. */
const begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '30s'";

/**
 * What gathers while one batch is being committed is the next: one transaction of four or five round trips, however many
 * operations there are.
 *
 * When the connection breaks during a commit, nobody knows whether it came about. Running the batch again would count
 * attempts as crashes and refuse outcomes that are our own, so that each batch has a number that is written with it.
 */
export class Batches {
  private readonly connections: Connections;
  private readonly sql: ReturnType<typeof statements>;
  private readonly writer = randomUUID();
  private number = 0;
  private waiting: Pending[] = [];
  private running: Promise<void> | undefined;

  constructor(connections: Connections, sql: ReturnType<typeof statements>) {
    this.connections = connections;
    this.sql = sql;
  }

  execute<T>(operation: Operation<T>): Promise<T> {
    const answer = enqueue(this.waiting, operation);
    this.running ??= this.runAll();
    return answer;
  }

  /** Resolves when all that was handed in has ended, well or not. */
  async settled(): Promise<void> {
    await this.running;
    await this.connections.use((query) => query(this.sql.forgetWriter, [this.writer])).catch(() => {});
  }

  private async runAll(): Promise<void> {
    // The rest of this turn comes along.
    await new Promise(setImmediate);
    while (this.waiting.length > 0) await this.run(this.waiting.splice(0, most));
    this.running = undefined;
  }

  private async run(batch: readonly Pending[]): Promise<void> {
    try {
      const answers = await this.commit(batch);
      for (const [index, { resolve }] of batch.entries()) resolve(answers[index]);
    } catch (error) {
      // One that throws, or that the database refuses, must not take the others with it.
      if (batch.length === 1 || this.connections.isClosed) for (const { reject } of batch) reject(error);
      else for (const pending of batch) await this.run([pending]);
    }
  }

  /** Tries until it is committed, once. Resolves with the answers. */
  private async commit(batch: readonly Pending[]): Promise<unknown[]> {
    const number = ++this.number;
    for (;;) {
      /** Of a commit that was asked for, and may have come about. */
      let answers: unknown[] | undefined;
      try {
        await this.connections.persist(() =>
          this.connections.use(async (query) => {
            // The connection during whose commit it broke is gone, this is another one.
            if (answers !== undefined && (await this.isCommitted(query, number))) return;
            answers = undefined;
            await query(begin);
            const rows = await PostgresRows.lock(
              query,
              this.sql,
              batch.map(({ operation }) => operation),
            );
            const decided = batch.map(({ operation }) => operation.run(rows));
            await query(this.sql.save, rows.changes(this.writer, number));
            answers = decided;
            await query("COMMIT");
          }),
        );
        return answers!;
      } catch (error) {
        if (!isConflict(error)) throw error;
        await this.connections.pause(conflictDelayMs, error);
      }
    }
  }

  /** The answer waits for what the lost connection may still be doing. */
  private async isCommitted(query: Query, number: number): Promise<boolean> {
    const [{ batch }] = await query(this.sql.lastBatch, [this.writer]);
    return Number(batch) === number;
  }
}

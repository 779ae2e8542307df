import { setTimeout as sleep } from "node:timers/promises";
import type { Client, Pool, PoolClient, QueryConfig } from "pg";
import { StateError } from "../errors.ts";

/** Runs one statement; resolves with its rows. */
export type Query = (sql: string, parameters?: readonly unknown[]) => Promise<Record<string, unknown>[]>;

const firstDelayMs = 50;
const longestDelayMs = 5000;
/** Of our own statements, which are short. A server that has vanished says nothing. */
const statementTimeoutMs = 30_000;

/** Connections to one Postgres, which come back by themselves. */
export class Connections {
  private readonly pool: Pool;
  private readonly newClient: () => Client;
  private readonly closing = new AbortController();

  private constructor(pool: Pool, newClient: () => Client) {
    this.pool = pool;
    this.newClient = newClient;
    // What idles and breaks leaves the pool; the next use opens another.
    pool.on("error", () => {});
  }

  /** @throws StateError when the package `pg` is not installed. */
  static async to(url: string): Promise<Connections> {
    const { default: pg } = await import("pg").catch((error: unknown) => {
      throw new StateError("State in Postgres needs the package pg: run `npm install pg`.", { cause: error });
    });
    const options = {
      connectionString: url,
      application_name: "warren",
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    };
    return new Connections(new pg.Pool(options), () => new pg.Client(options));
  }

  /** A connection of one's own until `work` ends. It is thrown away after an error, whatever state it is in. */
  async use<T>(work: (query: Query, client: PoolClient) => Promise<T>): Promise<T> {
    if (this.closing.signal.aborted) throw closed();
    const client = await this.pool.connect();
    // A connection that breaks says so here and in the query that it breaks.
    const ignore = (): void => {};
    client.on("error", ignore);
    let failure: Error | undefined;
    try {
      return await work(queryOn(client), client);
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      client.off("error", ignore);
      client.release(failure !== undefined);
    }
  }

  /** Tries again until the server is back, or until it is closed. */
  async persist<T>(action: () => Promise<T>): Promise<T> {
    for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, longestDelayMs)) {
      try {
        return await action();
      } catch (error) {
        if (!isConnectionLoss(error)) throw error;
        await this.pause(delayMs, error);
      }
    }
  }

  /** @throws StateError when it is closed meanwhile. */
  async pause(delayMs: number, cause: unknown): Promise<void> {
    try {
      await sleep(delayMs, undefined, { signal: this.closing.signal });
    } catch {
      throw closed(cause);
    }
  }

  get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  /** A connection beside the pool, for listening. Not connected yet. */
  client(): Client {
    return this.newClient();
  }

  /** What waits for the server gives up. */
  giveUp(): void {
    this.closing.abort();
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.pool.end();
  }
}

function closed(cause?: unknown): StateError {
  return new StateError("the state is closed", { cause });
}

function queryOn(client: PoolClient): Query {
  return async (text, parameters = []) => {
    // The types of pg do not know that the time-out may be given for one statement.
    const statement: QueryConfig & { query_timeout: number } = {
      text,
      values: [...parameters],
      query_timeout: statementTimeoutMs,
    };
    return (await client.query<Record<string, unknown>>(statement)).rows;
  };
}

/** The connection broke, or the server is not there or not ready. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function isConnectionLoss(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code === undefined)
    return /^(connection terminated|query read timeout|timeout)|not queryable/i.test(message ?? "");
  if (/^(08|57P0[1-3]|25006|53300|25P03)/.test(code)) return true;
  return /^E(?!RR_)[A-Z_]+$/.test(code);
}

/** Two transactions met; either may be run again. */
export function isConflict(error: unknown): boolean {
  return /^40(001|P01)$/.test((error as { code?: string }).code ?? "");
}

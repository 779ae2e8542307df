import type { DatabaseSync } from "node:sqlite";

/** Some 5 ms. */
const most = 500;

const expired = `(SELECT key FROM warren_tasks WHERE expires_at <= ?1 ORDER BY expires_at, key LIMIT ${most})`;

/** Removes a part of what has expired, within a transaction. Returns how many tasks. */
export function pruneSlice(database: DatabaseSync, nowMs: number): number {
  database.prepare(`DELETE FROM warren_events WHERE task IN ${expired}`).run(nowMs);
  database.prepare(`DELETE FROM warren_steps WHERE task IN ${expired}`).run(nowMs);
  return Number(database.prepare(`DELETE FROM warren_tasks WHERE key IN ${expired}`).run(nowMs).changes);
}

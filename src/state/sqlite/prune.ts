import type { DatabaseSync } from "node:sqlite";

/** Some 5 ms. */
const most = 500;
const mostJournals = 50;

const expired = `(SELECT key FROM warren_tasks WHERE expires_at <= ?1 ORDER BY expires_at, key LIMIT ${most})`;

/** Removes a part of what has expired, within a transaction. Returns how many tasks and logs. */
export function pruneSlice(database: DatabaseSync, nowMs: number): number {
  database.prepare(`DELETE FROM warren_events WHERE task IN ${expired}`).run(nowMs);
  database.prepare(`DELETE FROM warren_steps WHERE task IN ${expired}`).run(nowMs);
  const tasks = Number(
    database.prepare(`DELETE FROM warren_tasks WHERE key IN ${expired}`).run(nowMs).changes,
  );
  const journals = database.prepare(
    `SELECT name FROM warren_journals WHERE expires_at <= ?1 LIMIT ${mostJournals}`,
  );
  const names = journals.all(nowMs) as unknown as { name: string }[];
  for (const { name } of names) {
    database.prepare("DELETE FROM warren_journal_entries WHERE name = ?").run(name);
    database.prepare("DELETE FROM warren_journals WHERE name = ?").run(name);
  }
  return tasks + names.length;
}

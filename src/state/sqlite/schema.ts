import type { DatabaseSync } from "node:sqlite";
import { StateError } from "../errors.ts";

const version = 1;

/**
 * Makes the tables where they are missing. Their names and the table with the version keep apart from a program's own
 * tables, which may live in the same file so that steps can write to them; `PRAGMA user_version` may be that program's.
 *
 * @throws StateError when a newer Warren has written the file.
 */
export function prepareSchema(database: DatabaseSync, file: string): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    const found = versionOf(database);
    if (found !== undefined && found > version) {
      throw new StateError(
        `The state in ${file} was written by a newer Warren: its version is ${found}, this Warren knows ${version}. ` +
          "Upgrade this one, or choose another file.",
      );
    }
    if (found === undefined) database.exec(tables);
    database.exec("COMMIT");
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

export function rollBack(database: DatabaseSync): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // After some errors, such as a full disk, SQLite has done it itself.
  }
}

function versionOf(database: DatabaseSync): number | undefined {
  const isThere = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'warren_version'").get();
  if (isThere === undefined) return undefined;
  return database.prepare("SELECT version FROM warren_version").get()?.["version"] as number;
}

// The key, not the id, is what events and steps refer to: those of recent tasks stand together, and it is short. The defaults
// are a task that nobody has heard of.
const tables = `
  CREATE TABLE warren_version (version INTEGER NOT NULL);
  INSERT INTO warren_version VALUES (${version});

  CREATE TABLE warren_tasks (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL DEFAULT '',
    queue TEXT NOT NULL DEFAULT '',
    phase TEXT NOT NULL DEFAULT 'queued',
    attempt INTEGER NOT NULL DEFAULT 0,
    message_attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    finished_at INTEGER,
    due_at INTEGER,
    expires_at INTEGER,
    result TEXT,
    failure TEXT,
    progress TEXT,
    event_count INTEGER NOT NULL DEFAULT 0,
    started_sequence INTEGER NOT NULL DEFAULT 0,
    touched_at INTEGER NOT NULL AS (coalesce(finished_at, started_at, 0))
  );
  CREATE INDEX warren_tasks_listed ON warren_tasks (phase, touched_at);
  CREATE INDEX warren_tasks_expiring ON warren_tasks (expires_at) WHERE expires_at IS NOT NULL;

  CREATE TABLE warren_events (
    task INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT,
    PRIMARY KEY (task, sequence)
  ) WITHOUT ROWID;

  CREATE TABLE warren_steps (
    task INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    fence INTEGER NOT NULL,
    result TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (task, name)
  ) WITHOUT ROWID;

  CREATE TABLE warren_journals (
    name TEXT PRIMARY KEY,
    length INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX warren_journals_listed ON warren_journals (updated_at);
  CREATE INDEX warren_journals_expiring ON warren_journals (expires_at);

  CREATE TABLE warren_journal_entries (
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (name, sequence)
  ) WITHOUT ROWID;

  CREATE TABLE warren_leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) WITHOUT ROWID;
`;

import type { ClientBase } from "pg";
import { StateError } from "../errors.ts";

const version = 1;

/**
 * Makes the schema and its tables where they are missing.
 *
 * @throws StateError when a newer Warren has made them.
 */
export async function prepareSchema(client: ClientBase, schema: string): Promise<void> {
  await client.query("BEGIN");
  // Several workers start at once: CREATE … IF NOT EXISTS alone fails when two do it at the same time.
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`warren state ${schema}`]);
  const found = await versionOf(client, schema);
  if (found !== undefined && found > version) {
    throw new StateError(
      `The state in the schema ${schema} was written by a newer Warren: its version is ${found}, this Warren knows ` +
        `${version}. Upgrade this one, or choose another schema.`,
    );
  }
  if (found === undefined) await client.query(tables(schema));
  await client.query("COMMIT");
}

async function versionOf(client: ClientBase, schema: string): Promise<number | undefined> {
  const name = `"${schema}".version`;
  const { rows } = await client.query<{ is_there: boolean }>(
    "SELECT to_regclass($1) IS NOT NULL AS is_there",
    [name],
  );
  if (!rows[0].is_there) return undefined;
  return (await client.query<{ version: number }>(`SELECT version FROM ${name}`)).rows[0].version;
}

function tables(schema: string): string {
  return `
    CREATE SCHEMA IF NOT EXISTS "${schema}";
    SET LOCAL search_path TO "${schema}";

    CREATE TABLE version (version integer NOT NULL);
    INSERT INTO version VALUES (${version});

    -- The defaults are a task that nobody has heard of. Room in the pages lets a row change in place.
    CREATE TABLE tasks (
      key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      id text NOT NULL UNIQUE,
      type text NOT NULL DEFAULT '',
      queue text NOT NULL DEFAULT '',
      phase text NOT NULL DEFAULT 'queued',
      attempt bigint NOT NULL DEFAULT 0,
      message_attempt bigint NOT NULL DEFAULT 0,
      crashes bigint NOT NULL DEFAULT 0,
      fence bigint NOT NULL DEFAULT 0,
      started_at bigint,
      finished_at bigint,
      due_at bigint,
      expires_at bigint,
      result text,
      failure text,
      progress text,
      event_count bigint NOT NULL DEFAULT 0,
      started_sequence bigint NOT NULL DEFAULT 0,
      touched_at bigint NOT NULL GENERATED ALWAYS AS (coalesce(finished_at, started_at, 0)) STORED
    ) WITH (fillfactor = 70);
    CREATE INDEX tasks_listed ON tasks (phase, touched_at, key);
    CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE events (
      task bigint NOT NULL,
      sequence bigint NOT NULL,
      kind text NOT NULL,
      at bigint NOT NULL,
      data text,
      PRIMARY KEY (task, sequence)
    );

    CREATE TABLE steps (
      task bigint NOT NULL,
      name text NOT NULL,
      status text NOT NULL,
      fence bigint NOT NULL,
      result text,
      at bigint NOT NULL,
      PRIMARY KEY (task, name)
    );

    CREATE TABLE journals (
      name text PRIMARY KEY,
      length bigint NOT NULL DEFAULT 0,
      updated_at bigint NOT NULL DEFAULT 0,
      expires_at bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 70);
    CREATE INDEX journals_listed ON journals (updated_at);
    CREATE INDEX journals_expiring ON journals (expires_at);

    CREATE TABLE journal_entries (
      name text NOT NULL,
      sequence bigint NOT NULL,
      kind text NOT NULL,
      at bigint NOT NULL,
      data text NOT NULL,
      PRIMARY KEY (name, sequence)
    );

    CREATE TABLE leases (
      name text PRIMARY KEY,
      owner text NOT NULL DEFAULT '',
      fence bigint NOT NULL DEFAULT 0,
      expires_at bigint NOT NULL DEFAULT 0
    );

    -- The last batch that each store has committed, for one that has lost the answer.
    CREATE TABLE writers (
      writer text PRIMARY KEY,
      batch bigint NOT NULL,
      used_at timestamptz NOT NULL DEFAULT now()
    );
  `;
}

import { withEventColumns } from "../task-events.ts";
import { phases, taskColumns } from "../task-row.ts";

/** Our statements, for the schema that they are to use. Batches travel as JSON, so that a batch of any size is one statement. */
export function statements(schema: string): Record<Statement, string> {
  const tasks = `"${schema}".tasks`;
  const events = `"${schema}".events`;
  const steps = `"${schema}".steps`;
  const leases = `"${schema}".leases`;
  const journals = `"${schema}".journals`;
  const entries = `"${schema}".journal_entries`;
  const writers = `"${schema}".writers`;
  return {
    // In the order of ids, as everywhere: two batches that wait for each other's rows cannot come about.
    makeTasks: `
      INSERT INTO ${tasks} (id) SELECT id FROM unnest($1::text[]) AS id ORDER BY id ON CONFLICT (id) DO NOTHING`,
    lockTasks: `SELECT ${taskColumns} FROM ${tasks} WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE`,
    makeLeases: `
      INSERT INTO ${leases} (name) SELECT name FROM unnest($1::text[]) AS name ORDER BY name ON CONFLICT (name) DO NOTHING`,
    lockLeases: `
      SELECT name, owner, fence, expires_at AS "expiresAtMs" FROM ${leases}
      WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE`,
    makeJournals: `
      INSERT INTO ${journals} (name) SELECT name FROM unnest($1::text[]) AS name ORDER BY name ON CONFLICT (name) DO NOTHING`,
    lockJournals: `
      SELECT name, length FROM ${journals} WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE`,
    lockedSteps: `
      SELECT task, name, status, result FROM ${steps}
      WHERE (task, name) IN (SELECT task, name FROM unnest($1::bigint[], $2::text[]) AS wanted (task, name))`,
    save: `
      WITH saved_tasks AS (
        UPDATE ${tasks} AS t SET type = n.type, queue = n.queue, phase = n.phase, attempt = n.attempt,
          message_attempt = n."messageAttempt", crashes = n.crashes, fence = n.fence, started_at = n."startedAtMs",
          finished_at = n."finishedAtMs", due_at = n."dueAtMs", expires_at = n."expiresAtMs", result = n.result,
          failure = n.failure, progress = n.progress, event_count = n."eventCount",
          started_sequence = n."startedSequence"
        FROM json_to_recordset($1) AS n (key bigint, type text, queue text, phase text, attempt bigint,
          "messageAttempt" bigint, crashes bigint, fence bigint, "startedAtMs" bigint, "finishedAtMs" bigint,
          "dueAtMs" bigint, "expiresAtMs" bigint, result text, failure text, progress text, "eventCount" bigint,
          "startedSequence" bigint)
        WHERE t.key = n.key
      ), saved_events AS (
        INSERT INTO ${events} SELECT task, sequence, kind, "atMs", data
        FROM json_to_recordset($2) AS n (task bigint, sequence bigint, kind text, "atMs" bigint, data text)
      ), saved_steps AS (
        INSERT INTO ${steps} AS s SELECT task, name, status, fence, result, "atMs"
        FROM json_to_recordset($3) AS n
          (task bigint, name text, status text, fence bigint, result text, "atMs" bigint)
        ON CONFLICT (task, name) DO UPDATE
          SET status = excluded.status, fence = excluded.fence, result = excluded.result, at = excluded.at
      ), saved_leases AS (
        UPDATE ${leases} AS l SET owner = n.owner, fence = n.fence, expires_at = n."expiresAtMs"
        FROM json_to_recordset($4) AS n (name text, owner text, fence bigint, "expiresAtMs" bigint)
        WHERE l.name = n.name
      ), saved_journals AS (
        UPDATE ${journals} AS j SET length = n.length, updated_at = n."nowMs", expires_at = n."expiresAtMs"
        FROM json_to_recordset($8) AS n (name text, length bigint, "nowMs" bigint, "expiresAtMs" bigint)
        WHERE j.name = n.name
      ), saved_entries AS (
        INSERT INTO ${entries} SELECT name, sequence, kind, "atMs", data
        FROM json_to_recordset($9) AS n (name text, sequence bigint, kind text, "atMs" bigint, data text)
      ), marked AS (
        INSERT INTO ${writers} (writer, batch) SELECT $5::text, $6::bigint WHERE $5::text IS NOT NULL
        ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, used_at = now()
      )
      SELECT pg_notify('${channelOf(schema)}', id) FROM unnest($7::text[]) AS id`,
    // Waits for a transaction of this writer that is still being committed, so that the answer is final.
    lastBatch: `
      INSERT INTO ${writers} AS w (writer, batch) VALUES ($1, 0)
      ON CONFLICT (writer) DO UPDATE SET batch = w.batch RETURNING batch`,
    forgetWriter: `DELETE FROM ${writers} WHERE writer = $1 OR used_at < now() - interval '7 days'`,
    task: `SELECT ${taskColumns} FROM ${tasks} WHERE id = $1`,
    // One query for each phase, since that is how the index is ordered.
    list: `
      SELECT * FROM (${phases.map((phase) => `(${listed(tasks, phase)})`).join(" UNION ALL ")}) AS listed
      ORDER BY touched_at DESC, key DESC LIMIT $5`,
    counts: `
      SELECT
        (SELECT count(*) FROM ${tasks} WHERE phase = 'active' AND queue = $1) AS active,
        (SELECT count(*) FROM ${tasks}
         WHERE phase IN ('completed', 'dead', 'cancelled') AND touched_at >= $2 AND queue = $1) AS finished`,
    events: `
      SELECT ${withEventColumns} FROM ${tasks} AS t
      LEFT JOIN ${events} AS e ON e.task = t.key AND e.sequence > $2 WHERE t.id = $1`,
    step: `
      SELECT name, status, result FROM ${steps} WHERE task = (SELECT key FROM ${tasks} WHERE id = $1) AND name = $2`,
    journal: `
      SELECT sequence, kind, at AS "atMs", data FROM ${entries} WHERE name = $1 AND sequence > $2 ORDER BY sequence`,
    // One that was made and never added to is none.
    journals: `
      SELECT name, length, updated_at AS "updatedAtMs" FROM ${journals}
      WHERE starts_with(name, $1) AND length > 0 ORDER BY updated_at DESC, name LIMIT $2`,
    pruneJournals: `
      WITH expired AS (
        DELETE FROM ${journals} WHERE name IN (
          SELECT name FROM ${journals} WHERE expires_at <= $1 LIMIT 100 FOR UPDATE SKIP LOCKED
        ) RETURNING name
      ), without_entries AS (
        DELETE FROM ${entries} WHERE name IN (SELECT name FROM expired)
      )
      SELECT count(*) AS pruned FROM expired`,
    prune: `
      WITH expired AS (
        DELETE FROM ${tasks} WHERE key IN (
          SELECT key FROM ${tasks} WHERE expires_at <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) RETURNING key
      ), without_events AS (
        DELETE FROM ${events} WHERE task IN (SELECT key FROM expired)
      ), without_steps AS (
        DELETE FROM ${steps} WHERE task IN (SELECT key FROM expired)
      )
      SELECT count(*) AS pruned FROM expired`,
  };
}

type Statement =
  | "makeTasks"
  | "lockTasks"
  | "makeLeases"
  | "makeJournals"
  | "lockJournals"
  | "journal"
  | "journals"
  | "pruneJournals"
  | "lockLeases"
  | "lockedSteps"
  | "save"
  | "lastBatch"
  | "forgetWriter"
  | "task"
  | "list"
  | "counts"
  | "events"
  | "step"
  | "prune";

/** Where the ids of tasks are told that have changed. */
export function channelOf(schema: string): string {
  return `${schema}_changes`;
}

/** `$1` type, `$2` queue, `$3` phase, `$4` before, `$5` limit. */
function listed(tasks: string, phase: string): string {
  return `
    SELECT ${taskColumns}, touched_at FROM ${tasks}
    WHERE phase = '${phase}' AND ($3::text IS NULL OR $3 = '${phase}')
      AND ($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR queue = $2)
      AND ($4::text IS NULL OR (touched_at, key) < (SELECT touched_at, key FROM ${tasks} WHERE id = $4))
    ORDER BY touched_at DESC, key DESC LIMIT $5`;
}

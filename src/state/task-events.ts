import type { EventRow } from "./operation.ts";
import type { TaskEvent } from "./state-store.ts";
import type { TaskRow } from "./task-row.ts";

/**
 * Most tasks start once and complete. These two events have no rows, since the task's row tells them: rows would cost as much
 * as the task itself. That an attempt has started gets its row when the task's is about to forget it; that a task has
 * completed stays true.
 */
type Telling = Pick<
  TaskRow,
  "phase" | "attempt" | "fence" | "startedAtMs" | "finishedAtMs" | "eventCount" | "startedSequence"
>;

/** A task beside one of its events; beside nulls when none has a row. */
export type TaskWithEvent = Telling & { [Field in keyof EventRow]: EventRow[Field] | null };

/** The columns of {@link TaskWithEvent}, of a task `t` and an event `e`. */
export const withEventColumns = `t.phase, t.attempt, t.fence, t.started_at AS "startedAtMs", t.finished_at AS "finishedAtMs",
  t.event_count AS "eventCount", t.started_sequence AS "startedSequence", e.sequence, e.kind, e.at AS "atMs", e.data`;

/** What has happened to a task after a sequence, in order. */
export function eventsOf(rows: readonly TaskWithEvent[], afterSequence: number): TaskEvent[] {
  if (rows.length === 0) return [];
  const stored = rows.filter((row): row is Telling & EventRow => row.sequence !== null);
  return [...stored, ...startedEvent(rows[0]), ...completedEvent(rows[0])]
    .filter(({ sequence }) => sequence > afterSequence)
    .toSorted((a, b) => a.sequence - b.sequence)
    .map(({ sequence, kind, atMs, data }) => ({ sequence, kind, atMs, data: data ?? undefined }));
}

/** That the last attempt has started, unless it has a row or there was none. */
export function startedEvent({ startedSequence, startedAtMs, attempt, fence }: Telling): EventRow[] {
  if (startedSequence === 0) return [];
  const data = `{"attempt":${attempt},"fence":${fence}}`;
  return [{ sequence: startedSequence, kind: "started", atMs: startedAtMs!, data }];
}

function completedEvent({ phase, eventCount, finishedAtMs }: Telling): EventRow[] {
  if (phase !== "completed") return [];
  return [{ sequence: eventCount, kind: "completed", atMs: finishedAtMs!, data: null }];
}

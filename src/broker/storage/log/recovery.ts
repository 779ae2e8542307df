import { definitionsFile, keepBroken, type DefinitionsContent } from "../definitions-log.ts";
import { rewrite, writeFully } from "../disk.ts";
import { CorruptionError } from "../storage-error.ts";
import { batchHeaderBytes } from "./format.ts";
import { readCheckpoint, type Checkpoint } from "./checkpoint.ts";
import type { LogState } from "./log.ts";
import { readLog, type LogPiece, type ReadLog } from "./log-reader.ts";
import { RecoveredMessages, type SurvivingMessages } from "./recovered-messages.ts";
import type { Segment } from "./segment.ts";
import type { SegmentFiles } from "./segment-files.ts";

/** The definition that a clean stop leaves: the last commit of the log. */
export const cleanStopKey = "clean-stop";
/** The definition that is there from an opening to the next clean stop. */
export const runningKey = "running";

export interface Recovery {
  readonly state: LogState;
  readonly messages: SurvivingMessages;
  /** The broker was stopped in order, and not started since: what it then delivers, the log does not tell. */
  readonly wasClean: boolean;
  /** The batches of the last commit, unless the stop was in order: then they are surely on the disk. */
  readonly last: readonly LogPiece[];
}

/**
 * Finds the messages that queues still have: by the checkpoint of an orderly stop, or by reading the log.
 * @throws CorruptionError, StorageError
 */
export async function recoverLog(
  files: SegmentFiles,
  definitions: DefinitionsContent,
  isKnownQueue: (queueId: number) => boolean,
): Promise<Recovery> {
  const stoppedAt = definitions.values.get(cleanStopKey);
  if (stoppedAt !== undefined && !definitions.values.has(runningKey)) {
    const checkpoint = await readCheckpoint(files, Number(stoppedAt));
    if (checkpoint) return fromCheckpoint(files, checkpoint);
  }
  return readWholeLog(files, definitions, isKnownQueue);
}

function fromCheckpoint(files: SegmentFiles, checkpoint: Checkpoint): Recovery {
  const { messages, segments, lastCommit, logStart } = checkpoint;
  const inLog = new Set(segments.map(({ slot }) => slot));
  const free = [...files.blank, ...files.used.filter(({ slot }) => !inLog.has(slot))];
  const { geometry, nonce } = files;
  const lastGeneration = lastGenerationOf(files);
  const state = { geometry, nonce, segments, free, torn: [], lastGeneration, lastCommit, logStart };
  return { messages, wasClean: true, last: [], state };
}

/** A commit that is cut off may have used generations that nothing shows any more: one for each file at most. */
function lastGenerationOf({ used, blank }: SegmentFiles): number {
  return (used.at(-1)?.generation ?? 0) + used.length + blank.length;
}

/**
 * Finds the messages by reading all of the log, and checks all of it.
 * @throws CorruptionError, StorageError
 */
export async function readWholeLog(
  files: SegmentFiles,
  definitions: DefinitionsContent,
  isKnownQueue: (queueId: number) => boolean,
): Promise<Recovery> {
  const messages = new RecoveredMessages(isKnownQueue);
  const log = await readLog(files, (batch) => messages.read(batch));
  assertComplete(files, definitions, log);
  const stoppedAt = definitions.values.get(cleanStopKey);
  const wasClean = stoppedAt === String(log.lastCommit) && !definitions.values.has(runningKey);
  messages.finish(log.segments, files.geometry);
  return {
    messages,
    wasClean,
    last: log.last,
    state: {
      geometry: files.geometry,
      nonce: files.nonce,
      segments: log.segments,
      free: log.free,
      torn: log.torn,
      lastGeneration: lastGenerationOf(files),
      lastCommit: log.lastCommit,
      logStart: log.logStart,
    },
  };
}

/** What was once durable must be there still. */
function assertComplete(files: SegmentFiles, definitions: DefinitionsContent, log: ReadLog): void {
  const { path } = files.disk;
  if (log.definitions > definitions.count) {
    throw new CorruptionError(
      path,
      definitionsFile,
      definitions.end,
      `the log has seen ${log.definitions} entries, but only ${definitions.count} are left`,
    );
  }
  const stoppedAt = Number(definitions.values.get(cleanStopKey) ?? 0);
  if (log.lastCommit < stoppedAt) {
    const last = log.segments.at(-1)?.file.name ?? "segment-00001.log";
    const what = `the log ends with commit ${log.lastCommit}, but had ${stoppedAt} when the broker was stopped`;
    throw new CorruptionError(path, last, 0, what);
  }
}

/**
 * Makes sure that what was read stays. A killed broker's last writes are with the operating system and not on the disk yet:
 * what goes on from them must not outlive them. The last commit is written again, since its sync may have failed: then the
 * operating system takes it for written and would not write it any more.
 */
export async function settleOnDisk(
  files: SegmentFiles,
  segments: readonly Segment[],
  last: readonly LogPiece[],
): Promise<void> {
  for (const { file, offset, bytes } of last) await rewrite(file, offset, bytes);
  await Promise.all(segments.map(({ file }) => file.sync()));
  await files.disk.sync();
}

/** Takes away what a crash left of a commit, but for a copy, so that it never passes for a part of a later commit. */
export async function cutTorn(files: SegmentFiles, torn: readonly LogPiece[]): Promise<void> {
  const header = new Uint8Array(batchHeaderBytes);
  for (const file of new Set(torn.map((piece) => piece.file))) {
    const pieces = torn.filter((piece) => piece.file === file);
    const from = Math.min(...pieces.map(({ offset }) => offset));
    const to = Math.max(...pieces.map(({ offset, bytes }) => offset + bytes));
    const kept = new Uint8Array(to - from);
    await file.read(kept, from);
    await keepBroken(files.disk, file.name, kept);
    for (const { offset } of pieces) await writeFully(file, header, offset);
    await file.sync();
  }
}

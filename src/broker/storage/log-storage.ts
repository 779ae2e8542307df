import { randomBytes } from "node:crypto";
import type { Clock, EventLoopTurn, Logger } from "../../base/index.ts";
import {
  definitionsFile,
  DefinitionsLog,
  readDefinitions,
  type DefinitionsContent,
} from "./definitions-log.ts";
import { isWantOfRoom, type Disk } from "./disk.ts";
import { Cleaner } from "./log/cleaner.ts";
import { writeCheckpoint, type StoppedQueue } from "./log/checkpoint.ts";
import { defaultGeometry, type Geometry } from "./log/geometry.ts";
import { LogStore } from "./log/log-store.ts";
import { Log } from "./log/log.ts";
import {
  cleanStopKey,
  cutTorn,
  recoverLog,
  runningKey,
  settleOnDisk,
  type Recovery,
} from "./log/recovery.ts";
import { SegmentFiles } from "./log/segment-files.ts";
import { MemoryStore } from "./memory-store.ts";
import type { MessageHandle } from "./message-store.ts";
import { CorruptionError } from "./storage-error.ts";

export interface LogStorageOptions {
  readonly disk: Disk;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called once, when the disk has failed: nothing is confirmed any more. */
  readonly onFailure: (error: Error) => void;
  /** Of a new directory. For tests. */
  readonly geometry?: Geometry;
  /** Chunks of the log that may be in memory. Default 128, which is 32 MiB. */
  readonly cachedChunks?: number;
}

/** What survived in a queue. */
export interface SurvivingMessage {
  readonly handle: MessageHandle;
  readonly position: number;
  readonly sequence: number;
  readonly isRedelivered: boolean;
  /** How often it was returned to the queue, as far as that was noted. */
  readonly deliveries: number;
  /** What the queue has noted of it; 0 is nothing. See Destination. */
  readonly timeMs: number;
  readonly note: number;
}

/** A data directory that has been opened: definitions and messages. */
export interface LogStorage {
  readonly store: LogStore;
  readonly definitions: DefinitionsLog;
  /** Gives back what survived in a queue, in order. Returns the sequence that its next message gets. Once per queue. */
  restore(queueId: number, visit: (message: SurvivingMessage) => void): number;
  /**
   * Writes what has gathered, notes that the stop was in order, and closes the files. With `queues` given, the next start
   * need not read the log.
   */
  close(queues?: readonly StoppedQueue[]): Promise<void>;
  /** Writes what has gathered and closes the files, as if the broker had been killed then. */
  abandon(): Promise<void>;
}

const defaultCachedChunks = 128;

/**
 * Opens a data directory, or makes a new one.
 * @param queueIds the ids of the queues that the definitions name.
 * @throws CorruptionError, StorageError
 */
export async function openLogStorage(
  options: LogStorageOptions,
  queueIds: (definitions: ReadonlyMap<string, string>) => ReadonlySet<number>,
): Promise<LogStorage> {
  const { disk, logger, turn } = options;
  const content = await readOrCreate(disk);
  const files = await SegmentFiles.open(disk, content.nonce);
  if (files.used.length === 0 && files.blank.length === 0)
    files.geometry = options.geometry ?? defaultGeometry;
  const known = queueIds(content.values);
  let recovery: Recovery;
  let definitions: DefinitionsLog;
  try {
    recovery = await recoverLog(files, content, (id) => known.has(id));
    for (const name of files.unfinished) await disk.remove(name);
    await settleOnDisk(files, recovery.state.segments, recovery.last);
    await cutTorn(files, recovery.state.torn);
    definitions = await openDefinitions(disk, content);
  } catch (error) {
    await files.close();
    throw error;
  }
  report(logger, disk, recovery, content);
  const cachedChunks = options.cachedChunks ?? defaultCachedChunks;
  const log = new Log(recovery.state, { ...options, definitions, cachedChunks });
  const store = new LogStore(log, recovery.messages.table, new MemoryStore(turn));
  definitions.onChanged = () => log.commitSoon();
  const cleaner = new Cleaner(store, turn);
  log.onCommitted = () => cleaner.consider();
  // Frees what nobody needs any more, also when the disk is full and nothing else would bring a commit.
  log.commitSoon();
  const endLog = async (): Promise<void> => {
    await cleaner.stop();
    try {
      await log.flush();
    } finally {
      await log.close();
    }
  };
  return {
    store,
    definitions,
    restore: (queueId, visit) =>
      recovery.messages.restore(queueId, (record, position, sequence, deliveries, timeMs, note) => {
        // A broker that did not stop in order cannot know what had been delivered.
        const isRedelivered = !recovery.wasClean || deliveries >= 0;
        const handle = store.restored(record, position, deliveries);
        const returns = Math.max(deliveries, 0);
        visit({ handle, position, sequence, isRedelivered, deliveries: returns, timeMs, note });
      }),
    async abandon() {
      try {
        await endLog();
      } finally {
        await definitions.close();
      }
    },
    async close(queues) {
      try {
        await endLog();
        if (queues) await tryCheckpoint(disk, log, store, queues);
        definitions.put(cleanStopKey, String(log.committed));
        definitions.delete(runningKey);
        await definitions.write(definitions.take()!);
      } finally {
        await definitions.close();
      }
    },
  };
}

/** A disk that is full has no room for a checkpoint, and the next start reads the log. */
async function tryCheckpoint(
  disk: Disk,
  log: Log,
  store: LogStore,
  queues: readonly StoppedQueue[],
): Promise<void> {
  try {
    await writeCheckpoint(disk, log, store.table, queues);
  } catch (error) {
    if (!isWantOfRoom(error)) throw error;
  }
}

async function openDefinitions(disk: Disk, content: DefinitionsContent): Promise<DefinitionsLog> {
  const definitions = await DefinitionsLog.open(disk, content);
  if (content.values.has(runningKey)) return definitions;
  try {
    definitions.put(runningKey, "");
    await definitions.write(definitions.take()!);
  } catch (error) {
    await definitions.close();
    throw error;
  }
  return definitions;
}

async function readOrCreate(disk: Disk): Promise<DefinitionsContent> {
  const names = await disk.list();
  if (names.includes(definitionsFile)) {
    const file = await disk.open(definitionsFile);
    try {
      return await readDefinitions(disk, file);
    } finally {
      await file.close();
    }
  }
  if (names.some((name) => name.startsWith("segment-"))) {
    throw new CorruptionError(
      disk.path,
      definitionsFile,
      0,
      "the file is missing, but segments of a log are there",
    );
  }
  const nonce = randomBytes(8).readBigUInt64LE();
  const created = await DefinitionsLog.create(disk, nonce);
  await created.close();
  return readOrCreate(disk);
}

function report(
  logger: Logger,
  disk: Disk,
  recovery: Recovery,
  { count, tornBytes }: DefinitionsContent,
): void {
  const { messages, wasClean, state } = recovery;
  logger.info(
    {
      dataDir: disk.path,
      messages: messages.table.count,
      segments: state.segments.length,
      definitions: count,
      wasClean,
    },
    "data directory opened",
  );
  for (const { file, offset, bytes } of state.torn) {
    logger.warn(
      { file: file.name, offset, bytes },
      "cut off what a crash left of a commit that nobody was told of; a copy is kept beside it, called .broken",
    );
  }
  if (tornBytes > 0)
    logger.warn(
      { file: definitionsFile, bytes: tornBytes },
      "cut off a definition that a crash left unfinished",
    );
}

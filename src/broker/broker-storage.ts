import type { Clock, EventLoopTurn, Logger } from "../base/index.ts";
import { queueIds, readTopology, type DurableDefinition } from "./durable-topology.ts";
import { unlimitedRoom, type Room } from "./publish-gate.ts";
import {
  isRepairUnfinished,
  lockDirectory,
  MemoryStore,
  NoDefinitions,
  openLogStorage,
  openNodeDisk,
  type Definitions,
  type Disk,
  type LogStore,
  type MessageStore,
  StorageError,
  type StoppedQueue,
} from "./storage/index.ts";
import type { MessageHolder, VirtualHost } from "./virtual-host.ts";

/** Where a broker keeps things: in memory, or in a data directory. */
export interface BrokerStorage {
  readonly store: MessageStore;
  readonly definitions: Definitions;
  /** The definitions of an earlier life of the broker, as long as nothing has changed them. */
  readonly stored: ReadonlyMap<string, string>;
  readonly room: Room;
  /** The log cannot be made longer because the disk is full. */
  readonly isDiskFull: boolean;
  /** Set while the disk has less free than it should: the log keeps only the free segments that it needs soon. */
  isShortOfSpace: boolean;
  readonly logBytes: number;
  /** Absent without a data directory. */
  readonly freeDiskBytes?: () => Promise<number>;
  /** Calls back whenever there may be more room, or less. */
  onRoomChanged(callback: () => void): void;
  /** Brings back what survived of a virtual host. */
  restore(vhost: VirtualHost): void;
  /** Commits what there is. */
  flush(): Promise<void>;
  /** Closes the files as they are: nothing has used them. */
  abandon(): Promise<void>;
  /** Ends in order: what these virtual hosts' queues know of their messages is kept. */
  close(vhosts: readonly VirtualHost[]): Promise<void>;
}

export interface BrokerStorageOptions {
  readonly dataDir: string | undefined;
  /** Instead of `dataDir`; nobody else may use it. */
  readonly disk: Disk | undefined;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onFailure: (error: Error) => void;
}

/** What the queues have in the log; undefined when the storage has failed, and nothing can be written any more. */
function contentOf(vhosts: readonly VirtualHost[], store: LogStore): StoppedQueue[] | undefined {
  const all = vhosts.flatMap((vhost) => [...vhost.allQueues]);
  try {
    // What they have of messages in the log would count as still needed in the next life.
    for (const queue of all) if (!queue.survives) queue.discard();
    for (const queue of all) if (queue.survives) queue.noteRedelivered();
  } catch {
    return undefined;
  }
  const holders = vhosts.flatMap((vhost) => vhost.holders).filter(({ survives }) => survives);
  return holders.map((holder) => stopped(holder, store));
}

/** What a queue has in the log, for the next start. The queue is empty then. */
function stopped(holder: MessageHolder, store: LogStore): StoppedQueue {
  const most = holder.messageCount;
  const records = new Int32Array(most);
  const positions = new Int32Array(most);
  const sequences = new Float64Array(most);
  const deliveries = new Int32Array(most);
  const times = new Float64Array(most);
  const notes = new Int32Array(most);
  let count = 0;
  let isNoted = false;
  holder.takeAll(({ handle, position, sequence, isRedelivered, deliveries: returns, timeMs, note }) => {
    const record = store.recordOf(handle);
    if (record < 0) return;
    records[count] = record;
    positions[count] = position;
    sequences[count] = sequence;
    deliveries[count] = isRedelivered ? returns : -1;
    times[count] = timeMs;
    notes[count++] = note;
    isNoted ||= timeMs !== 0 || note !== 0;
  });
  const { id, nextSequence } = holder;
  const noted = isNoted ? count : 0;
  return {
    id,
    nextSequence,
    records: records.subarray(0, count),
    positions: positions.subarray(0, count),
    sequences: sequences.subarray(0, count),
    deliveries: deliveries.subarray(0, count),
    times: times.subarray(0, noted),
    notes: notes.subarray(0, noted),
  };
}

/** @throws StorageError, CorruptionError */
export async function openBrokerStorage(options: BrokerStorageOptions): Promise<BrokerStorage> {
  const { dataDir } = options;
  if (options.disk) return diskStorage(options.disk, options, () => {});
  if (dataDir === undefined) return memoryStorage(options.turn);
  const disk = await openNodeDisk(dataDir);
  const lock = lockDirectory(dataDir);
  try {
    await assertNoRepair(dataDir);
    return await diskStorage(disk, options, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** @throws StorageError */
async function assertNoRepair(dataDir: string): Promise<void> {
  if (await isRepairUnfinished(dataDir)) throw new StorageError(unfinishedRepair(dataDir));
}

/** Why a directory cannot be used, and what to do. */
export function unfinishedRepair(dataDir: string): string {
  return `A repair of ${dataDir} was interrupted. Finish it with "warren check-data ${dataDir} --repair".`;
}

function memoryStorage(turn: EventLoopTurn): BrokerStorage {
  return {
    store: new MemoryStore(turn),
    definitions: new NoDefinitions(),
    stored: new Map(),
    room: unlimitedRoom,
    isDiskFull: false,
    isShortOfSpace: false,
    logBytes: 0,
    onRoomChanged() {},
    restore() {},
    async flush() {},
    async abandon() {},
    async close() {},
  };
}

async function diskStorage(
  disk: Disk,
  options: BrokerStorageOptions,
  release: () => void,
): Promise<BrokerStorage> {
  const storage = await openLogStorage({ ...options, disk }, queueIds);
  const { store, definitions } = storage;
  const { log } = store;
  let topology: Map<string, DurableDefinition[]> | undefined;
  return {
    store,
    definitions,
    stored: definitions.all,
    room: log,
    get isDiskFull() {
      return log.isFull;
    },
    set isShortOfSpace(isShort: boolean) {
      log.isShortOfSpace = isShort;
    },
    get logBytes() {
      return log.diskBytes;
    },
    freeDiskBytes: () => disk.freeBytes(),
    onRoomChanged(callback) {
      log.onRoomChanged = callback;
    },
    restore(vhost) {
      topology ??= Map.groupBy(readTopology(definitions.all), (definition) => definition.vhost);
      for (const definition of topology.get(vhost.name) ?? []) {
        const holder = vhost.restore(definition);
        if (!holder) continue;
        holder.continueFrom(storage.restore(holder.id, (message) => holder.restore(message)));
      }
      // One that is made anew under this name begins empty.
      topology.delete(vhost.name);
    },
    flush: () => log.flush(),
    async abandon() {
      try {
        await storage.abandon();
      } finally {
        release();
      }
    },
    async close(vhosts) {
      try {
        await storage.close(contentOf(vhosts, store));
      } finally {
        release();
      }
    },
  };
}

import type { Clock, EventLoopTurn, Logger } from "../base/index.ts";
import { queueIds, readTopology } from "./durable-topology.ts";
import { unlimitedRoom, type Room } from "./publish-gate.ts";
import {
  lockDirectory,
  MemoryStore,
  NoDefinitions,
  openLogStorage,
  openNodeDisk,
  type Definitions,
  type Disk,
  type LogStore,
  type MessageStore,
  type StoppedQueue,
} from "./storage/index.ts";
import type { Queue } from "./queues/index.ts";
import type { VirtualHost } from "./virtual-host.ts";

/** Where a broker keeps things: in memory, or in a data directory. */
export interface BrokerStorage {
  readonly store: MessageStore;
  readonly definitions: Definitions;
  readonly room: Room;
  /** The log cannot be made longer because the disk is full. */
  readonly isDiskFull: boolean;
  readonly logBytes: number;
  /** Absent without a data directory. */
  readonly freeDiskBytes?: () => Promise<number>;
  /** Calls back whenever there may be more room, or less. */
  onRoomChanged(callback: () => void): void;
  /** Brings back what survived of a virtual host. */
  restore(vhost: VirtualHost): void;
  /** Commits what there is. */
  flush(): Promise<void>;
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

/** What a queue has in the log, for the next start. The queue is empty then. */
function stopped(queue: Queue, store: LogStore): StoppedQueue {
  const most = queue.readyCount;
  const records = new Int32Array(most);
  const positions = new Int32Array(most);
  const sequences = new Float64Array(most);
  const deliveries = new Int32Array(most);
  let count = 0;
  queue.takeAll((handle, position, sequence, isRedelivered) => {
    const record = store.recordOf(handle);
    if (record < 0) return;
    records[count] = record;
    positions[count] = position;
    sequences[count] = sequence;
    deliveries[count++] = isRedelivered ? 1 : 0;
  });
  const { id, nextSequence } = queue;
  return {
    id,
    nextSequence,
    records: records.subarray(0, count),
    positions: positions.subarray(0, count),
    sequences: sequences.subarray(0, count),
    deliveries: deliveries.subarray(0, count),
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
    return await diskStorage(disk, options, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

function memoryStorage(turn: EventLoopTurn): BrokerStorage {
  return {
    store: new MemoryStore(turn),
    definitions: new NoDefinitions(),
    room: unlimitedRoom,
    isDiskFull: false,
    logBytes: 0,
    onRoomChanged() {},
    restore() {},
    async flush() {},
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
  return {
    store,
    definitions,
    room: log,
    get isDiskFull() {
      return log.isFull;
    },
    get logBytes() {
      return log.diskBytes;
    },
    freeDiskBytes: () => disk.freeBytes(),
    onRoomChanged(callback) {
      log.onRoomChanged = callback;
    },
    restore(vhost) {
      for (const definition of readTopology(definitions.all)) {
        if (definition.vhost !== vhost.name) continue;
        const queue = vhost.restore(definition);
        if (!queue) continue;
        queue.nextSequence = storage.restore(queue.id, ({ handle, position, sequence, isRedelivered }) =>
          queue.restore(handle, position, sequence, isRedelivered),
        );
      }
    },
    flush: () => log.flush(),
    async close(vhosts) {
      try {
        const all = vhosts.flatMap((vhost) => [...vhost.allQueues]);
        const queues = all.filter(({ survives }) => survives);
        // What they have of messages in the log would count as still needed in the next life.
        for (const queue of all) if (!queue.survives) queue.purge();
        for (const queue of queues) queue.noteRedelivered();
        await storage.close(queues.map((queue) => stopped(queue, store)));
      } finally {
        release();
      }
    },
  };
}

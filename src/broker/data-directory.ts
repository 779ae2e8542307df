import { statSync } from "node:fs";
import { queueIds, readTopology } from "./durable-topology.ts";
import { unfinishedRepair } from "./broker-storage.ts";
import {
  checkData,
  isRepairUnfinished,
  lockDirectory,
  openNodeDisk,
  repairData,
  StorageError,
  type DataReport,
  type RepairReport,
} from "./storage/index.ts";

/** What {@link checkDataDirectory} finds. */
export interface DataDirectoryReport extends Omit<DataReport, "definitions"> {
  readonly exchanges: number;
  readonly queues: number;
  readonly bindings: number;
}

/**
 * Says what a data directory holds and what is wrong with it. Changes nothing.
 * @throws StorageError when there is no such directory, or a broker is using it.
 */
export async function checkDataDirectory(path: string): Promise<DataDirectoryReport> {
  return withLock(path, async () => {
    const { definitions, ...report } = await checkData(await openNodeDisk(path), queueIds);
    const damage = (await isRepairUnfinished(path)) ? [unfinishedRepair(path)] : report.damage;
    const topology = readTopology(definitions?.values ?? new Map());
    const count = (kind: string): number => topology.filter((definition) => definition.kind === kind).length;
    return {
      ...report,
      damage,
      exchanges: count("exchange"),
      queues: count("queue"),
      bindings: count("binding"),
    };
  });
}

/**
 * Makes a damaged data directory usable again with what of it can be read; the old files stay, called `.broken`.
 * @throws StorageError when there is no such directory, a broker is using it, or nothing can be read.
 */
export async function repairDataDirectory(path: string): Promise<RepairReport> {
  return withLock(path, () => repairData(path, queueIds));
}

async function withLock<T>(path: string, use: () => Promise<T>): Promise<T> {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new StorageError(`There is no directory ${path}.`);
  }
  const lock = lockDirectory(path);
  try {
    return await use();
  } finally {
    lock.release();
  }
}

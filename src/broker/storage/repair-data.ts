import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { EventLoopTurn, silentLogger, systemClock } from "../../base/index.ts";
import { definitionsFile, readDefinitions, type DefinitionsContent } from "./definitions-log.ts";
import { writeFully, type Disk } from "./disk.ts";
import { checkpointFile } from "./log/checkpoint.ts";
import { slotOf } from "./log/segment-pool.ts";
import { StorageError } from "./storage-error.ts";
import { openLogStorage, type LogStorage } from "./log-storage.ts";
import {
  fragmentHeaderBytes,
  getSafeInteger,
  messageOverhead,
  pairBytes,
  pairBytesOf,
  RecordType,
  settleRecordBytes,
} from "./log/format.ts";
import { cleanStopKey } from "./log/recovery.ts";
import { RecoveredMessages } from "./log/recovered-messages.ts";
import { SegmentFiles, type FoundBatch } from "./log/segment-files.ts";
import { Segment } from "./log/segment.ts";
import type { Destination } from "./message-store.ts";
import { MessageView, readStored, storedBytes } from "./message-view.ts";
import { openNodeDisk } from "./node-disk.ts";

export interface RepairReport {
  /** Messages that were kept. */
  readonly messages: number;
  /** Messages of which only a part could be read. */
  readonly incomplete: number;
  /** Files that were put aside, under these names. */
  readonly kept: readonly string[];
}

/** The new files stand here until the old ones are put aside. */
const workDirectory = "repair";
/** In there once they are complete: what is to be renamed, and what the repair has found. */
const planFile = "plan.json";

interface Plan {
  readonly report: RepairReport;
  readonly aside: readonly { readonly from: string; readonly to: string }[];
}

/**
 * Makes a data directory usable again: writes all messages that can be read into a new log and puts the old files aside,
 * with `.broken` behind their names. What stood in unreadable places is lost: messages, and also that some were settled, so
 * that those are delivered again. A repair that was interrupted is finished.
 * @throws StorageError when not even the definitions can be read.
 */
export async function repairData(
  path: string,
  queueIds: (definitions: ReadonlyMap<string, string>) => ReadonlySet<number>,
): Promise<RepairReport> {
  const work = join(path, workDirectory);
  if (!(await isRepairUnfinished(path))) {
    await rm(work, { recursive: true, force: true });
    await mkdir(work);
    try {
      await writeRepaired(path, work, queueIds);
    } catch (error) {
      await rm(work, { recursive: true, force: true });
      throw error;
    }
  }
  return swap(path, work);
}

/** A repair was interrupted while it put files into their places: the directory is good for nothing until it is finished. */
export async function isRepairUnfinished(path: string): Promise<boolean> {
  return exists(join(path, workDirectory, planFile));
}

async function writeRepaired(
  path: string,
  work: string,
  queueIds: (definitions: ReadonlyMap<string, string>) => ReadonlySet<number>,
): Promise<void> {
  const disk = await openNodeDisk(path);
  const definitions = await readAtLeastStart(disk);
  const files = await SegmentFiles.open(disk, definitions.nonce);
  try {
    const known = queueIds(definitions.values);
    const found = await readAll(files, (id) => known.has(id));
    const storage = await openCopy(work, definitions, Math.max(found.messages.highestQueueId, ...known));
    const report = await copyMessages(files, found, storage);
    // Not in order: what had been delivered is not known.
    await storage.abandon();
    const old = (await readdir(path)).filter((name) => isData(name));
    const aside = await Promise.all(old.map(async (from) => ({ from, to: await brokenName(path, from) })));
    const plan: Plan = { report: { ...report, kept: aside.map(({ to }) => to) }, aside };
    await writeDurably(work, planFile, JSON.stringify(plan));
    await disk.sync();
  } finally {
    await files.close();
  }
}

/** Puts the old files aside, and only when all of them are, the new ones into their places. Can be done again at any point. */
async function swap(path: string, work: string): Promise<RepairReport> {
  const { report, aside } = JSON.parse(await readFile(join(work, planFile), "utf8")) as Plan;
  const disk = await openNodeDisk(path);
  for (const { from, to } of aside) {
    if (!(await exists(join(path, to)))) await rename(join(path, from), join(path, to));
  }
  await disk.sync();
  for (const name of await readdir(work)) {
    if (isData(name)) await rename(join(work, name), join(path, name));
  }
  await disk.sync();
  await rm(work, { recursive: true });
  await disk.sync();
  return report;
}

/** The files that a data directory consists of; a repaired one has no checkpoint. */
function isData(name: string): boolean {
  return name === definitionsFile || name === checkpointFile || slotOf(name) !== undefined;
}

/** A name that no earlier repair has used. */
async function brokenName(path: string, name: string): Promise<string> {
  for (let number = 1; ; number++) {
    const broken = number === 1 ? `${name}.broken` : `${name}.broken.${number}`;
    if (!(await exists(join(path, broken)))) return broken;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function writeDurably(directory: string, name: string, text: string): Promise<void> {
  const disk = await openNodeDisk(directory);
  const file = await disk.open(`${name}.new`);
  await writeFully(file, Buffer.from(text), 0);
  await file.sync();
  await file.close();
  await disk.rename(`${name}.new`, name);
  await disk.sync();
}

async function readAtLeastStart(disk: Disk): Promise<DefinitionsContent> {
  if (!(await disk.list()).includes(definitionsFile)) {
    throw new StorageError(
      `${disk.path} has no ${definitionsFile}: without it nobody knows whose the messages are.`,
    );
  }
  const file = await disk.open(definitionsFile);
  try {
    return await readDefinitions(disk, file, "skip");
  } finally {
    await file.close();
  }
}

/** What is live, by reading all whole batches of the log in order, whatever is missing between them. */
async function readAll(
  files: SegmentFiles,
  isKnownQueue: (id: number) => boolean,
): Promise<{ messages: RecoveredMessages; logStart: number }> {
  let logStart = 0;
  for await (const { header } of allBatches(files, 0)) logStart = Math.max(logStart, header.logStart);
  const messages = new RecoveredMessages(isKnownQueue);
  for await (const { segment, offset, start, end, bytes, view } of allBatches(files, logStart)) {
    const chunkOffset = offset & -files.geometry.chunkBytes;
    messages.read({ segment, chunkOffset, bytes, view, start, end });
  }
  return { messages, logStart };
}

async function* allBatches(
  files: SegmentFiles,
  logStart: number,
): AsyncGenerator<FoundBatch & { segment: Segment }> {
  for (const { slot, file, generation } of files.used) {
    if (generation < logStart) continue;
    const segment = new Segment(slot, generation, file, files.geometry);
    for await (const batch of files.search(file)) {
      if (batch.header.generation === generation) yield { ...batch, segment };
    }
  }
}

async function openCopy(
  target: string,
  { values }: DefinitionsContent,
  highestQueueId: number,
): Promise<LogStorage> {
  const storage = await openLogStorage(
    {
      disk: await openNodeDisk(target),
      turn: new EventLoopTurn(),
      clock: systemClock,
      logger: silentLogger,
      onFailure: (error) => {
        throw error;
      },
    },
    () => new Set(),
  );
  for (const [key, value] of values) if (key !== cleanStopKey) storage.definitions.put(key, value);
  // Unreadable definitions may have had higher ones.
  storage.definitions.neverGiveAgain(highestQueueId);
  return storage;
}

async function copyMessages(
  files: SegmentFiles,
  { messages, logStart }: { messages: RecoveredMessages; logStart: number },
  storage: LogStorage,
): Promise<{ messages: number; incomplete: number }> {
  const { table } = messages;
  const records = new Map<number, number>();
  for (let record = 0; record < table.size; record++) {
    if (table.slot(record) >= 0) records.set(placeKey(table.slot(record), table.offset(record)), record);
  }
  let copied = 0;
  /** A long message of which the fragments are being gathered. */
  let long: { record: number; commit: number; bytes: Uint8Array; done: number } | undefined;
  const copy = async (record: number, view: DataView, bytes: Uint8Array, recordAt: number): Promise<void> => {
    const first = view.getUint32(recordAt, true);
    const pairs = first >>> 8;
    const bytesPerPair = pairBytesOf(first & 0xff);
    const isNoted = bytesPerPair > pairBytes;
    const pairsAt = recordAt + 8;
    const destinations: Destination[] = [];
    for (let position = 0; position < pairs; position++) {
      const at = pairsAt + position * bytesPerPair;
      if (!table.isLive(record, position)) continue;
      destinations.push({
        id: view.getUint32(at, true),
        survives: true,
        nextSequence: getSafeInteger(view, at + 4),
        nextTimeMs: isNoted ? getSafeInteger(view, at + 12) : 0,
        nextNote: isNoted ? view.getUint32(at + 20, true) : 0,
      });
    }
    const message = new MessageView();
    readStored(bytes, view, pairsAt + pairs * bytesPerPair + 4, message);
    await roomIn(storage, storedBytes(message));
    const handle = storage.store.append(message, true, destinations, destinations.length);
    for (const [position, destination] of destinations.entries()) {
      const { id, nextSequence } = destination;
      const count = messages.deliveriesOf(id, nextSequence);
      if (count >= 0) storage.store.returned(handle, position, destination, nextSequence, count);
    }
    copied++;
  };
  for await (const { header, segment, offset, bytes, view, start, end } of allBatches(files, logStart)) {
    const chunkOffset = offset & -files.geometry.chunkBytes;
    // All fragments of a message are of one commit.
    if (long?.commit !== header.commit) long = undefined;
    for (let at = start; at < end;) {
      const type = view.getUint32(at, true) & 0xff;
      if (type === RecordType.Message || type === RecordType.NotedMessage) {
        const pairsBytes = (view.getUint32(at, true) >>> 8) * pairBytesOf(type);
        const record = records.get(placeKey(segment.slot, chunkOffset + at + pairsBytes + messageOverhead));
        if (record !== undefined) await copy(record, view, bytes, at);
        at += view.getUint32(at + 4, true);
      } else if (type === RecordType.Fragment) {
        const done = view.getUint32(at + 16, true);
        const record = done === 0 ? records.get(placeKey(segment.slot, offset)) : undefined;
        if (done === 0) long = undefined;
        if (record !== undefined)
          long = {
            record,
            commit: header.commit,
            bytes: new Uint8Array(getSafeInteger(view, at + 8)),
            done: 0,
          };
        if (long?.done === done && long.bytes.length === getSafeInteger(view, at + 8)) {
          long.bytes.set(bytes.subarray(at + fragmentHeaderBytes, end), done);
          long.done += end - at - fragmentHeaderBytes;
        }
        if (long && long.done === long.bytes.length) {
          const whole = new DataView(long.bytes.buffer);
          await copy(long.record, whole, long.bytes, 0);
          long = undefined;
        }
        at = end;
      } else {
        at += settleRecordBytes;
      }
    }
  }
  return { messages: copied, incomplete: records.size - copied };
}

async function roomIn({ store }: LogStorage, bytes: number): Promise<void> {
  while (!store.log.hasRoom || !store.log.hasRoomFor(bytes)) {
    if (store.log.isFull)
      throw new StorageError("The disk is full. A repair needs as much space as the messages take.");
    await store.log.flush();
    await setTimeout(1);
  }
}

/** Offsets are below 2 GiB. */
function placeKey(slot: number, offset: number): number {
  return slot * 0x8000_0000 + offset;
}

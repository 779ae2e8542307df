import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { EventLoopTurn, silentLogger, systemClock } from "../../base/index.ts";
import { definitionsFile, readDefinitions, type DefinitionsContent } from "./definitions-log.ts";
import type { Disk } from "./disk.ts";
import { openLogStorage, type LogStorage } from "./log-storage.ts";
import {
  fragmentHeaderBytes,
  getSafeInteger,
  messageOverhead,
  pairBytes,
  RecordType,
  settleRecordBytes,
} from "./log/format.ts";
import { cleanStopKey } from "./log/recovery.ts";
import { RecoveredMessages } from "./log/recovered-messages.ts";
import { SegmentFiles, type FoundBatch } from "./log/segment-files.ts";
import { Segment } from "./log/segment.ts";
import { MessageView, readStored } from "./message-view.ts";
import { openNodeDisk } from "./node-disk.ts";

export interface RepairReport {
  /** Messages that were kept. */
  readonly messages: number;
  /** Messages of which only a part could be read. */
  readonly incomplete: number;
  /** Files that were put aside, under these names. */
  readonly kept: readonly string[];
}

const workDirectory = "repair";

/**
 * Makes a data directory usable again: writes all messages that can be read into a new log and puts the old files aside,
 * with `.broken` behind their names. What stood in unreadable places is lost: messages, and also that some were settled, so
 * that those are delivered again.
 * @throws StorageError when not even the definitions can be read.
 */
export async function repairData(
  path: string,
  queueIds: (definitions: ReadonlyMap<string, string>) => ReadonlySet<number>,
): Promise<RepairReport> {
  const disk = await openNodeDisk(path);
  const definitions = await readAtLeastStart(disk);
  const files = await SegmentFiles.open(disk, definitions.nonce);
  const known = queueIds(definitions.values);
  const found = await readAll(files, (id) => known.has(id));

  const target = join(path, workDirectory);
  await rm(target, { recursive: true, force: true });
  await mkdir(target);
  const storage = await openCopy(target, definitions);
  const report = await copyMessages(files, found, storage);
  // Not in order: what had been delivered is not known.
  await storage.abandon();
  await files.close();

  const kept: string[] = [];
  for (const name of await readdir(path)) {
    if (name !== definitionsFile && !/^segment-\d+\.log$/.test(name)) continue;
    await rename(join(path, name), join(path, `${name}.broken`));
    kept.push(`${name}.broken`);
  }
  // The definitions last: without them the directory is refused, not taken for an empty one.
  const made = (await readdir(target)).toSorted(
    (a, b) => Number(a === definitionsFile) - Number(b === definitionsFile),
  );
  for (const name of made) await rename(join(target, name), join(path, name));
  await rm(target, { recursive: true });
  await disk.sync();
  return { ...report, kept };
}

async function readAtLeastStart(disk: Disk): Promise<DefinitionsContent> {
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

async function openCopy(target: string, { values }: DefinitionsContent): Promise<LogStorage> {
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
  let long: { record: number; bytes: Uint8Array; done: number } | undefined;
  const copy = (record: number, view: DataView, bytes: Uint8Array, pairsAt: number, pairs: number): void => {
    const destinations = [];
    for (let position = 0; position < pairs; position++) {
      const at = pairsAt + position * pairBytes;
      if (!table.isLive(record, position)) continue;
      destinations.push({
        id: view.getUint32(at, true),
        survives: true,
        nextSequence: getSafeInteger(view, at + 4),
      });
    }
    const message = new MessageView();
    readStored(bytes, view, pairsAt + pairs * pairBytes + 4, message);
    storage.store.append(message, true, destinations, destinations.length);
    copied++;
  };
  for await (const { segment, offset, bytes, view, start, end } of allBatches(files, logStart)) {
    await roomIn(storage);
    const chunkOffset = offset & -files.geometry.chunkBytes;
    for (let at = start; at < end;) {
      const type = view.getUint32(at, true) & 0xff;
      if (type === RecordType.Message) {
        const pairs = view.getUint32(at, true) >>> 8;
        const record = records.get(
          placeKey(segment.slot, chunkOffset + at + pairs * pairBytes + messageOverhead),
        );
        if (record !== undefined) copy(record, view, bytes, at + 8, pairs);
        at += view.getUint32(at + 4, true);
      } else if (type === RecordType.Fragment) {
        const done = view.getUint32(at + 16, true);
        const record = done === 0 ? records.get(placeKey(segment.slot, offset)) : undefined;
        if (done === 0) long = undefined;
        if (record !== undefined)
          long = { record, bytes: new Uint8Array(getSafeInteger(view, at + 8)), done: 0 };
        if (long?.done === done) {
          long.bytes.set(bytes.subarray(at + fragmentHeaderBytes, end), done);
          long.done += end - at - fragmentHeaderBytes;
        }
        if (long && long.done === long.bytes.length) {
          const whole = new DataView(long.bytes.buffer);
          copy(long.record, whole, long.bytes, 8, whole.getUint32(0, true) >>> 8);
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

async function roomIn({ store }: LogStorage): Promise<void> {
  while (!store.log.hasRoom) {
    await store.log.flush();
    await setTimeout(1);
  }
}

/** Offsets are below 2 GiB. */
function placeKey(slot: number, offset: number): number {
  return slot * 0x8000_0000 + offset;
}

/**
 * The index of a log that was stopped in order, so that the next start need not read the log: which messages which queues
 * have, and where they stand. It is used once, and only if the log still ends with the commit that it was made for; otherwise
 * the log is read, which says the same.
 */
import { crc32 } from "node:zlib";
import { writeFully, type Disk } from "../disk.ts";
import { getSafeInteger, setSafeInteger } from "./format.ts";
import { footprint } from "./geometry.ts";
import type { Log } from "./log.ts";
import type { RestoreMessage, SurvivingMessages } from "./recovered-messages.ts";
import { RecordTable } from "./record-table.ts";
import { Segment } from "./segment.ts";
import type { SegmentFiles } from "./segment-files.ts";

export const checkpointFile = "checkpoint";
const magic = 0x3243_4c57; // "WLC2"
const headerBytes = 64;
/** Pieces that are written at a time. */
const pieceBytes = 4 << 20;

/** A queue's messages of the log when the broker stopped. */
export interface StoppedQueue {
  readonly id: number;
  readonly nextSequence: number;
  /** In the order of their sequences. */
  readonly records: Int32Array;
  readonly positions: Int32Array;
  readonly sequences: Float64Array;
  /** How often each has been returned to the queue; -1 for one that was never delivered. */
  readonly deliveries: Int32Array;
  /** What the queue has noted of each; empty when it has noted nothing of any. */
  readonly times: Float64Array;
  readonly notes: Int32Array;
}

export interface Checkpoint {
  readonly messages: SurvivingMessages;
  readonly segments: Segment[];
  readonly lastCommit: number;
  readonly logStart: number;
}

export async function writeCheckpoint(
  disk: Disk,
  log: Log,
  table: RecordTable,
  queues: readonly StoppedQueue[],
): Promise<void> {
  const parts: Uint8Array[] = [];
  const numbers = (...values: number[]): void => {
    const bytes = new Uint8Array(values.length * 8);
    const view = new DataView(bytes.buffer);
    values.forEach((value, index) => setSafeInteger(view, index * 8, value));
    parts.push(bytes);
  };
  const array = (values: Int32Array | Float64Array): void => {
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  };
  numbers(log.segments.length, queues.length);
  for (const { slot, generation, chunkEnds } of log.segments) {
    numbers(slot, generation);
    array(chunkEnds);
  }
  const { fields, freeList, manyPositions } = table.dump();
  // The end of the free list is -1, and numbers are not negative.
  numbers(fields.length, freeList + 1, table.count, manyPositions.size);
  array(fields);
  for (const [record, bits] of manyPositions) {
    numbers(record, bits.length);
    parts.push(bits);
  }
  for (const { id, nextSequence, records, positions, sequences, deliveries, times, notes } of queues) {
    numbers(id, nextSequence, records.length, times.length);
    for (const values of [records, positions, sequences, deliveries, times, notes]) array(values);
  }

  const header = new Uint8Array(headerBytes);
  const view = new DataView(header.buffer);
  view.setUint32(0, magic, true);
  view.setBigUint64(8, log.nonce, true);
  setSafeInteger(view, 16, log.committed);
  setSafeInteger(view, 24, log.start);
  setSafeInteger(
    view,
    32,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let checksum = crc32(header.subarray(8));
  for (const part of parts) checksum = crc32(part, checksum);
  view.setUint32(4, checksum, true);

  const file = await disk.open(checkpointFile);
  try {
    await file.truncate(0);
    let at = 0;
    for (const part of [header, ...parts]) {
      for (let from = 0; from < part.length; from += pieceBytes) {
        const piece = part.subarray(from, from + pieceBytes);
        await writeFully(file, piece, at);
        at += piece.length;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.sync();
}

/** Undefined unless there is one for a log that ends with this commit, and all of the log's files are there. */
export async function readCheckpoint(
  files: SegmentFiles,
  lastCommit: number,
): Promise<Checkpoint | undefined> {
  if (!(await files.disk.list()).includes(checkpointFile)) return undefined;
  const file = await files.disk.open(checkpointFile);
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await file.size());
    await file.read(bytes, 0);
  } finally {
    await file.close();
  }
  if (bytes.length < headerBytes) return undefined;
  const view = new DataView(bytes.buffer);
  const isWhole =
    view.getUint32(0, true) === magic &&
    view.getBigUint64(8, true) === files.nonce &&
    getSafeInteger(view, 32) === bytes.length - headerBytes &&
    view.getUint32(4, true) === crc32(bytes.subarray(8));
  if (!isWhole || getSafeInteger(view, 16) !== lastCommit) return undefined;
  return new CheckpointReader(bytes, view).read(files);
}

class CheckpointReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = headerBytes;

  constructor(bytes: Uint8Array, view: DataView) {
    this.bytes = bytes;
    this.view = view;
  }

  async read(files: SegmentFiles): Promise<Checkpoint | undefined> {
    const [segmentCount, queueCount] = this.numbers(2);
    const segments: Segment[] = [];
    for (let index = 0; index < segmentCount; index++) {
      const [slot, generation] = this.numbers(2);
      const found = files.used.find((file) => file.slot === slot && file.generation === generation);
      if (!found || (await found.file.size()) !== files.geometry.segmentBytes) return undefined;
      const segment = new Segment(slot, generation, found.file, files.geometry);
      segment.chunkEnds.set(this.int32s(segment.chunkEnds.length));
      segments.push(segment);
    }
    const table = this.table();
    const bySlot = new Map(segments.map((segment) => [segment.slot, segment]));
    for (let record = 0; record < table.size; record++) {
      if (table.slot(record) < 0) continue;
      const bytes = footprint(files.geometry, table.recordBytes(record));
      bySlot.get(table.slot(record))!.retain(table.offset(record), bytes);
    }
    const queues = new Map<number, StoppedQueue>();
    for (let index = 0; index < queueCount; index++) {
      const [id, nextSequence, count, noted] = this.numbers(4);
      queues.set(id, {
        id,
        nextSequence,
        records: this.int32s(count),
        positions: this.int32s(count),
        sequences: this.float64s(count),
        deliveries: this.int32s(count),
        times: this.float64s(noted),
        notes: this.int32s(noted),
      });
    }
    return {
      messages: new StoppedMessages(table, queues),
      segments,
      lastCommit: getSafeInteger(this.view, 16),
      logStart: getSafeInteger(this.view, 24),
    };
  }

  private table(): RecordTable {
    const [length, freeList, count, many] = this.numbers(4);
    const fields = this.int32s(length);
    const manyPositions = new Map<number, Uint8Array>();
    for (let index = 0; index < many; index++) {
      const [record, bytes] = this.numbers(2);
      manyPositions.set(record, this.slice(bytes));
    }
    return RecordTable.load({ fields, freeList: freeList - 1, count, manyPositions });
  }

  private numbers(count: number): number[] {
    return Array.from({ length: count }, () => {
      this.at += 8;
      return getSafeInteger(this.view, this.at - 8);
    });
  }

  private float64s(count: number): Float64Array {
    return new Float64Array(this.slice(count * 8).buffer);
  }

  private int32s(count: number): Int32Array {
    return new Int32Array(this.slice(count * 4).buffer);
  }

  /** A copy, so that arrays of larger numbers are aligned. */
  private slice(count: number): Uint8Array<ArrayBuffer> {
    this.at += count;
    return new Uint8Array(this.bytes.subarray(this.at - count, this.at));
  }
}

class StoppedMessages implements SurvivingMessages {
  readonly table: RecordTable;
  private readonly queues: Map<number, StoppedQueue>;

  constructor(table: RecordTable, queues: Map<number, StoppedQueue>) {
    this.table = table;
    this.queues = queues;
  }

  restore(queueId: number, visit: RestoreMessage): number {
    const queue = this.queues.get(queueId);
    if (!queue) return 1;
    this.queues.delete(queueId);
    const { records, positions, sequences, deliveries, times, notes } = queue;
    const isNoted = times.length > 0;
    for (let index = 0; index < records.length; index++) {
      const timeMs = isNoted ? times[index] : 0;
      const note = isNoted ? notes[index] >>> 0 : 0;
      visit(records[index], positions[index], sequences[index], deliveries[index], timeMs, note);
    }
    return queue.nextSequence;
  }
}

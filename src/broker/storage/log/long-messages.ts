import { readStored, type MessageView } from "../message-view.ts";
import {
  batchHeaderBytes,
  decodeBatch,
  fileHeaderBytes,
  fragmentHeaderBytes,
  messageOverhead,
  pairBytesOf,
} from "./format.ts";
import type { Log } from "./log.ts";
import type { Segment } from "./segment.ts";

/** A record in a buffer of its own: its start, up to the stored message, and the stored message. */
export interface LongRecord {
  readonly head: Uint8Array;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly storedAt: number;
  readonly storedEnd: number;
  /** The commit that brings it to the disk. */
  readonly commit: number;
}

/**
 * Messages longer than a chunk takes, each in a buffer of its own that is never overwritten, so that it may be sent without
 * a copy; read back from their fragments when they have been dropped.
 */
export class LongMessages {
  private readonly log: Log;
  /** Bytes that may be in memory, beside those that have yet to reach the disk: 32 MiB. */
  private readonly budgetBytes: number;
  /** In the order in which they came into memory. */
  private readonly resident = new Map<number, LongRecord>();
  private memoryBytes = 0;

  constructor(log: Log) {
    this.log = log;
    this.budgetBytes = 2 * log.geometry.segmentBytes;
  }

  keep(record: number, long: LongRecord): void {
    this.forget(record);
    this.resident.set(record, long);
    this.memoryBytes += long.bytes.length;
    if (this.memoryBytes <= this.budgetBytes) return;
    for (const [other, { commit }] of this.resident) {
      if (commit <= this.log.committed && other !== record) this.forget(other);
      if (this.memoryBytes <= this.budgetBytes) return;
    }
  }

  forget(record: number): void {
    const long = this.resident.get(record);
    if (!long) return;
    this.resident.delete(record);
    this.memoryBytes -= long.bytes.length;
  }

  find(record: number, segment: Segment, offset: number, recordBytes: number): LongRecord {
    const here = this.resident.get(record);
    if (here) return here;
    const bytes = this.read(segment, offset, recordBytes);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(0, true);
    const headBytes = messageOverhead + (first >>> 8) * pairBytesOf(first & 0xff);
    const head = bytes.subarray(0, headBytes);
    const long = { head, bytes, view, storedAt: headBytes, storedEnd: recordBytes, commit: 0 };
    this.keep(record, long);
    return long;
  }

  locate({ bytes, view, storedAt }: LongRecord, into: MessageView): void {
    readStored(bytes, view, storedAt, into);
    into.owned = true;
  }

  private read(start: Segment, offset: number, recordBytes: number): Uint8Array {
    const { log } = this;
    const { chunkBytes, segmentBytes } = log.geometry;
    const record = new Uint8Array(recordBytes);
    const overhead = batchHeaderBytes + fragmentHeaderBytes;
    let segment = start;
    let at = offset;
    for (let done = 0; done < recordBytes;) {
      const payload = Math.min(chunkBytes - (at & (chunkBytes - 1)) - overhead, recordBytes - done);
      const batch = new Uint8Array(overhead + payload);
      log.read(segment, batch, at);
      const header = decodeBatch(batch, new DataView(batch.buffer), 0, log.nonce);
      if (header?.generation !== segment.generation) throw log.damaged(segment, at);
      record.set(batch.subarray(overhead), done);
      done += payload;
      at = (at & -chunkBytes) + chunkBytes;
      if (at < segmentBytes || done === recordBytes) continue;
      segment = log.segments[log.segments.indexOf(segment) + 1];
      at = fileHeaderBytes;
    }
    return record;
  }
}

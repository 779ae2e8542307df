import type { Segment } from "./segment.ts";
import type { ReadBatch } from "./log-reader.ts";
import {
  fragmentHeaderBytes,
  batchHeaderBytes,
  getSafeInteger,
  messageOverhead,
  pairBytes,
  pairBytesOf,
  RecordType,
} from "./format.ts";
import { footprint, type Geometry } from "./geometry.ts";
import { RecordTable } from "./record-table.ts";

/** A message in a queue, as it was found in the log. `deliveries` is -1 when it is not known to have been delivered at all. */
export type RestoreMessage = (
  record: number,
  position: number,
  sequence: number,
  deliveries: number,
  timeMs: number,
  note: number,
) => void;

/** The messages that were found in a data directory. */
export interface SurvivingMessages {
  readonly table: RecordTable;
  /** Gives back all messages of a queue in order, and forgets them; returns the first sequence that it never had. */
  restore(queueId: number, visit: RestoreMessage): number;
}

/**
 * The index that reading the log's records builds: which messages which queues still have, in the order of their sequences.
 * A record that comes again (the cleaner has copied it) replaces the earlier one.
 */
export class RecoveredMessages implements SurvivingMessages {
  readonly table: RecordTable = new RecordTable();
  private readonly isKnownQueue: (queueId: number) => boolean;
  private readonly queues = new Map<number, RecoveredQueue>();
  /** The highest queue id that any record names. */
  highestQueueId = 0;
  private lastQueueId = -1;
  private lastQueue: RecoveredQueue | undefined;

  constructor(isKnownQueue: (queueId: number) => boolean) {
    this.isKnownQueue = isKnownQueue;
  }

  read({ segment, chunkOffset, view, start, end }: ReadBatch): void {
    for (let at = start; at < end;) {
      switch (view.getUint32(at, true) & 0xff) {
        case RecordType.Message:
        case RecordType.NotedMessage: {
          const length = view.getUint32(at + 4, true);
          this.message(view, at, length, segment, chunkOffset, -1);
          at += length;
          break;
        }
        case RecordType.Settle: {
          const queue = this.queue(view.getUint32(at + 4, true));
          queue?.settle(getSafeInteger(view, at + 8), view.getUint32(at + 16, true), this.table);
          at += 20;
          break;
        }
        case RecordType.Deliveries: {
          const queue = this.queue(view.getUint32(at + 4, true));
          queue?.deliveries.set(getSafeInteger(view, at + 8), view.getUint32(at + 16, true));
          at += 20;
          break;
        }
        case RecordType.Fragment: {
          // The first fragment has the record's start, which is all that the index needs.
          const isFirst = view.getUint32(at + 16, true) === 0;
          const batchOffset = chunkOffset + start - batchHeaderBytes;
          const total = getSafeInteger(view, at + 8);
          if (isFirst) this.message(view, at + fragmentHeaderBytes, total, segment, chunkOffset, batchOffset);
          at = end;
          break;
        }
        default:
          throw new Error(
            `${segment.file.name}: a record of unknown type ${view.getUint32(at, true) & 0xff}`,
          );
      }
    }
  }

  /** Counts what each segment holds. */
  finish(segments: readonly Segment[], geometry: Geometry): void {
    const { table } = this;
    const bySlot: Segment[] = [];
    for (const segment of segments) bySlot[segment.slot] = segment;
    for (let record = 0; record < table.size; record++) {
      const slot = table.slot(record);
      if (slot < 0) continue;
      bySlot[slot].retain(table.offset(record), footprint(geometry, table.recordBytes(record)));
    }
  }

  restore(queueId: number, visit: RestoreMessage): number {
    const queue = this.queues.get(queueId);
    if (!queue) return 1;
    this.queues.delete(queueId);
    queue.visit(visit);
    return queue.nextSequence;
  }

  /** How often a message has been returned to its queue; -1 when it is not known to have been delivered at all. */
  deliveriesOf(queueId: number, sequence: number): number {
    return this.queues.get(queueId)?.deliveries.get(sequence) ?? -1;
  }

  private message(
    view: DataView,
    at: number,
    length: number,
    segment: Segment,
    chunkOffset: number,
    longOffset: number,
  ): void {
    const first = view.getUint32(at, true);
    const pairs = first >>> 8;
    const bytesPerPair = pairBytesOf(first & 0xff);
    let known = 0;
    for (let position = 0; position < pairs; position++) {
      if (this.queue(view.getUint32(at + 8 + position * bytesPerPair, true))) known++;
    }
    if (known === 0) return;
    const offset = longOffset >= 0 ? longOffset : chunkOffset + at + pairs * bytesPerPair + messageOverhead;
    const record = this.table.add(segment.slot, offset, length, known);
    for (let position = 0; position < pairs; position++) {
      const pairAt = at + 8 + position * bytesPerPair;
      const queue = this.queue(view.getUint32(pairAt, true));
      if (!queue) continue;
      this.table.setLive(record, position, pairs);
      const sequence = getSafeInteger(view, pairAt + 4);
      queue.add(sequence, record, position, this.table);
      if (bytesPerPair === pairBytes) continue;
      queue.note(sequence, getSafeInteger(view, pairAt + 12), view.getUint32(pairAt + 20, true));
    }
  }

  private queue(id: number): RecoveredQueue | undefined {
    if (id === this.lastQueueId) return this.lastQueue;
    this.highestQueueId = Math.max(this.highestQueueId, id);
    let queue = this.queues.get(id);
    if (!queue && id > 0 && this.isKnownQueue(id)) {
      queue = new RecoveredQueue();
      this.queues.set(id, queue);
    }
    this.lastQueueId = id;
    this.lastQueue = queue;
    return queue;
  }
}

const initialCapacity = 16;

/** What one queue has, by sequence. Records mostly come in the order of their sequences. */
class RecoveredQueue {
  nextSequence = 1;
  readonly deliveries = new Map<number, number>();
  private sequences = new Float64Array(initialCapacity);
  /** Pairs of record (-1 when the queue is done with it) and position. */
  private entries = new Int32Array(initialCapacity * 2);
  private count = 0;
  /** Times and notes of the slots, as far as there are any; a slot beyond their ends has none. */
  private times = new Float64Array(0);
  private notes = new Uint32Array(0);
  /** Those that came out of order and were not among the others: the cleaner copied them, and the originals are gone. */
  private readonly moved = new Map<
    number,
    { record: number; position: number; timeMs: number; note: number }
  >();

  add(sequence: number, record: number, position: number, table: RecordTable): void {
    if (this.count === 0 || sequence > this.sequences[this.count - 1]) {
      this.push(sequence, record, position);
      return;
    }
    const slot = this.find(sequence);
    const isHere = slot < this.count && this.sequences[slot] === sequence;
    const earlier = isHere
      ? { record: this.entries[slot * 2], position: this.entries[slot * 2 + 1] }
      : this.moved.get(sequence);
    if (earlier) release(table, earlier.record, earlier.position);
    if (isHere) {
      this.entries[slot * 2] = record;
      this.entries[slot * 2 + 1] = position;
    } else {
      this.moved.set(sequence, { record, position, timeMs: 0, note: 0 });
    }
  }

  /** What the queue has noted of a message that was just added. */
  note(sequence: number, timeMs: number, note: number): void {
    const moved = this.moved.get(sequence);
    if (moved) {
      moved.timeMs = timeMs;
      moved.note = note;
      return;
    }
    if (timeMs === 0 && note === 0) return;
    const slot = this.find(sequence);
    if (slot >= this.times.length) {
      const times = new Float64Array(this.sequences.length);
      times.set(this.times);
      this.times = times;
      const notes = new Uint32Array(this.sequences.length);
      notes.set(this.notes);
      this.notes = notes;
    }
    this.times[slot] = timeMs;
    this.notes[slot] = note;
  }

  settle(first: number, count: number, table: RecordTable): void {
    const end = first + count;
    this.nextSequence = Math.max(this.nextSequence, end);
    for (let slot = this.find(first); slot < this.count && this.sequences[slot] < end; slot++) {
      release(table, this.entries[slot * 2], this.entries[slot * 2 + 1]);
      this.entries[slot * 2] = -1;
    }
    if (this.moved.size === 0) return;
    for (let sequence = first; sequence < end; sequence++) {
      const entry = this.moved.get(sequence);
      if (!entry) continue;
      release(table, entry.record, entry.position);
      this.moved.delete(sequence);
    }
  }

  visit(visit: RestoreMessage): void {
    const late = [...this.moved].toSorted(([a], [b]) => a - b);
    let next = 0;
    const visitLateBefore = (sequence: number): void => {
      for (; next < late.length && late[next][0] < sequence; next++) {
        const [moved, { record, position, timeMs, note }] = late[next];
        visit(record, position, moved, this.deliveries.get(moved) ?? -1, timeMs, note);
      }
    };
    for (let slot = 0; slot < this.count; slot++) {
      const sequence = this.sequences[slot];
      visitLateBefore(sequence);
      const record = this.entries[slot * 2];
      if (record < 0) continue;
      const isNoted = slot < this.times.length;
      visit(
        record,
        this.entries[slot * 2 + 1],
        sequence,
        this.deliveries.get(sequence) ?? -1,
        isNoted ? this.times[slot] : 0,
        isNoted ? this.notes[slot] : 0,
      );
    }
    visitLateBefore(Number.POSITIVE_INFINITY);
  }

  private push(sequence: number, record: number, position: number): void {
    if (this.count === this.sequences.length) this.grow();
    this.sequences[this.count] = sequence;
    this.entries[this.count * 2] = record;
    this.entries[this.count * 2 + 1] = position;
    this.count++;
    this.nextSequence = Math.max(this.nextSequence, sequence + 1);
  }

  /** The first slot whose sequence is not smaller. */
  private find(sequence: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sequences[middle] < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private grow(): void {
    const sequences = new Float64Array(this.sequences.length * 2);
    sequences.set(this.sequences);
    this.sequences = sequences;
    const entries = new Int32Array(this.entries.length * 2);
    entries.set(this.entries);
    this.entries = entries;
  }
}

/** A queue is done with a record, or has it elsewhere. */
function release(table: RecordTable, record: number, position: number): void {
  if (record < 0) return;
  table.clearLive(record, position);
  if (table.release(record)) table.free(record);
}

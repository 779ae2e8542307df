/**
 * Hot path: appends, finds and settles every message. Benchmark: P1K, publish-only, drain in bench/.
 *
 * Keeps persistent messages of durable queues in the log, all others in memory. A table says where in the log a message
 * stands; its bytes are in a chunk in memory, or are read back.
 */
import type { MemoryStore } from "../memory-store.ts";
import type { CommitWaiter, Destination, MessageHandle, MessageStore, StoreUsage } from "../message-store.ts";
import {
  MessageView,
  readStored,
  storedBytes,
  storedHeaderBytes,
  writeStored,
  writeStoredHeader,
} from "../message-view.ts";
import {
  getSafeInteger,
  messageOverhead,
  notedFlag,
  notedPairBytes,
  pairBytes,
  pairBytesOf,
  RecordType,
  setSafeInteger,
} from "./format.ts";
import { footprint } from "./geometry.ts";
import type { Log } from "./log.ts";
import { LongMessages, type LongRecord } from "./long-messages.ts";
import type { RecordTable } from "./record-table.ts";
import type { Chunk, Segment } from "./segment.ts";

/** The lowest bit of a handle: a message of the memory store, not of the log. */
const inMemory = 1;

export class LogStore implements MessageStore {
  readonly log: Log;
  readonly table: RecordTable;
  private readonly memory: MemoryStore;
  private readonly long: LongMessages;
  /**
   * How often messages were returned to queues that count it, by record and position: the cleaner must write it again behind
   * a copy. That one was delivered at all need not be: an orderly stop writes it, and after any other all count as delivered.
   */
  private readonly returns = new Map<number, Map<number, number>>();

  constructor(log: Log, table: RecordTable, memory: MemoryStore) {
    this.log = log;
    this.table = table;
    this.memory = memory;
    this.long = new LongMessages(log);
  }

  append(
    message: MessageView,
    persistent: boolean,
    destinations: readonly Destination[],
    count: number,
  ): MessageHandle {
    if (!persistent || !anySurvives(destinations, count)) {
      return (this.memory.append(message, persistent, destinations, count) << 1) | inMemory;
    }
    const stored = storedBytes(message);
    const isNoted = anyNoted(destinations, count);
    const pairsBytes = count * (isNoted ? notedPairBytes : pairBytes);
    const recordBytes = messageOverhead + pairsBytes + stored;
    if (recordBytes > this.log.geometry.mostRecordBytes) return this.appendLong(message, destinations, count);
    const { writer } = this.log;
    const pairsAt = isNoted ? writer.beginNotedMessage(count, stored) : writer.beginMessage(count, stored);
    if (isNoted) writeNotedPairs(writer.view, pairsAt, destinations, count);
    else writePairs(writer.view, pairsAt, destinations, count);
    const at = pairsAt + pairsBytes + 4;
    writeStored(writer.bytes, writer.view, at, message);
    return this.add(writer.segment, writer.chunkOffset + at, recordBytes, destinations, count) << 1;
  }

  locate(handle: MessageHandle, into: MessageView): void {
    if (handle & inMemory) {
      this.memory.locate(handle >> 1, into);
      return;
    }
    const record = handle >> 1;
    if (this.isLong(record)) {
      this.long.locate(this.longRecord(record), into);
      return;
    }
    const { bytes, view } = this.chunk(record);
    readStored(bytes, view, this.table.offset(record) & (this.log.geometry.chunkBytes - 1), into);
    into.owned = false;
  }

  settle(handle: MessageHandle, position: number, destination: Destination, sequence: number): void {
    if (handle & inMemory) {
      this.memory.settle(handle >> 1);
      return;
    }
    const record = handle >> 1;
    if (this.table.isLive(record, position)) {
      this.table.clearLive(record, position);
      this.log.writer.settle(destination.id, sequence);
      this.log.commitSoon();
    }
    this.release(record);
  }

  drop(handle: MessageHandle, position: number): void {
    if (handle & inMemory) {
      this.memory.drop(handle >> 1);
      return;
    }
    this.table.clearLive(handle >> 1, position);
    this.release(handle >> 1);
  }

  returned(
    handle: MessageHandle,
    position: number,
    destination: Destination,
    sequence: number,
    count: number,
  ): void {
    const record = handle >> 1;
    if (handle & inMemory || !this.table.isLive(record, position)) return;
    this.log.writer.deliveries(destination.id, sequence, count);
    this.noteReturns(record, position, count);
    this.log.commitSoon();
  }

  /** The handle for a record that recovery has found, and that a queue has with this history. */
  restored(record: number, position: number, deliveries: number): MessageHandle {
    this.noteReturns(record, position, deliveries);
    return record << 1;
  }

  private noteReturns(record: number, position: number, count: number): void {
    if (count <= 0) return;
    const counts = this.returns.get(record) ?? new Map<number, number>();
    this.returns.set(record, counts.set(position, count));
  }

  /** The record behind a handle; -1 for a message that is kept in memory only. */
  recordOf(handle: MessageHandle): number {
    return handle & inMemory ? -1 : handle >> 1;
  }

  awaitCommit(waiter: CommitWaiter): void {
    this.log.awaitCommit(waiter);
  }

  usage(): StoreUsage {
    const { messages, memoryBytes } = this.memory.usage();
    return { messages: messages + this.table.count, memoryBytes: memoryBytes + this.table.usedBytes };
  }

  /**
   * Copies a record to the end of the log. Pairs of queues that are done with it are blank in the copy, since the records
   * that say so may be gone before it (INVARIANTS 2).
   */
  move(record: number): void {
    const { table, log } = this;
    const { segment, offset } = this.isLong(record) ? this.copyLong(record) : this.copyShort(record);
    this.leaveSegment(record);
    const bytes = table.recordBytes(record);
    table.move(record, segment.slot, offset);
    segment.retain(offset, footprint(log.geometry, bytes));
  }

  private copyShort(record: number): { segment: Segment; offset: number } {
    const { writer, cache, geometry } = this.log;
    const chunk = this.chunk(record);
    // The copy may need a chunk's memory: not this one's.
    chunk.pins++;
    const from = this.table.offset(record) & (geometry.chunkBytes - 1);
    const trailer = chunk.view.getUint32(from - 4, true);
    const isNoted = trailer >= notedFlag;
    const pairs = isNoted ? trailer - notedFlag : trailer;
    const bytesPerPair = isNoted ? notedPairBytes : pairBytes;
    const pairsFrom = from - 4 - pairs * bytesPerPair;
    readStored(chunk.bytes, chunk.view, from, moved);
    const stored = storedBytes(moved);
    const pairsAt = isNoted ? writer.beginNotedMessage(pairs, stored) : writer.beginMessage(pairs, stored);
    const to = pairsAt + pairs * bytesPerPair + 4;
    writer.bytes.set(chunk.bytes.subarray(pairsFrom, from + stored), pairsAt);
    this.blankSettled(record, writer.view, pairsAt, pairs, bytesPerPair);
    const place = { segment: writer.segment, offset: writer.chunkOffset + to };
    this.repeatDeliveries(record, chunk.view, pairsFrom, bytesPerPair);
    cache.unpin(chunk);
    return place;
  }

  private copyLong(record: number): { segment: Segment; offset: number } {
    const long = this.longRecord(record);
    const head = long.head.slice();
    const view = new DataView(head.buffer);
    const first = view.getUint32(0, true);
    const bytesPerPair = pairBytesOf(first & 0xff);
    this.blankSettled(record, view, 8, first >>> 8, bytesPerPair);
    const place = this.log.writer.long(head, long.bytes, long.storedAt, long.storedEnd);
    this.repeatDeliveries(record, view, 8, bytesPerPair);
    this.long.keep(record, { ...long, head, commit: this.log.commitNumber + 1 });
    return place;
  }

  private blankSettled(
    record: number,
    view: DataView,
    pairsAt: number,
    pairs: number,
    bytesPerPair: number,
  ): void {
    for (let position = 0; position < pairs; position++) {
      if (!this.table.isLive(record, position)) blankPair(view, pairsAt + position * bytesPerPair);
    }
  }

  /** The records that said how often the copied message was returned may be gone before the copy. */
  private repeatDeliveries(record: number, view: DataView, pairsAt: number, bytesPerPair: number): void {
    for (const [position, count] of this.returns.get(record) ?? []) {
      if (!this.table.isLive(record, position)) continue;
      const at = pairsAt + position * bytesPerPair;
      this.log.writer.deliveries(view.getUint32(at, true), getSafeInteger(view, at + 4), count);
    }
  }

  private appendLong(
    message: MessageView,
    destinations: readonly Destination[],
    count: number,
  ): MessageHandle {
    const { log } = this;
    const stored = storedBytes(message);
    const isNoted = anyNoted(destinations, count);
    const head = new Uint8Array(messageOverhead + count * (isNoted ? notedPairBytes : pairBytes));
    const recordBytes = head.length + stored;
    const headView = new DataView(head.buffer);
    headView.setUint32(0, (isNoted ? RecordType.NotedMessage : RecordType.Message) | (count << 8), true);
    headView.setUint32(4, recordBytes, true);
    if (isNoted) writeNotedPairs(headView, 8, destinations, count);
    else writePairs(headView, 8, destinations, count);
    headView.setUint32(head.length - 4, isNoted ? (count | notedFlag) >>> 0 : count, true);
    let { bytes, view } = message;
    let storedAt = message.routeAt - storedHeaderBytes;
    if (message.owned) {
      writeStoredHeader(view, storedAt, message);
    } else {
      bytes = new Uint8Array(stored);
      view = new DataView(bytes.buffer);
      storedAt = 0;
      writeStored(bytes, view, storedAt, message);
    }
    const storedEnd = storedAt + stored;
    const { segment, offset } = log.writer.long(head, bytes, storedAt, storedEnd);
    const record = this.add(segment, offset, recordBytes, destinations, count);
    this.long.keep(record, { head, bytes, view, storedAt, storedEnd, commit: log.commitNumber + 1 });
    return record << 1;
  }

  private add(
    segment: Segment,
    offset: number,
    recordBytes: number,
    destinations: readonly Destination[],
    count: number,
  ): number {
    const { table } = this;
    const record = table.add(segment.slot, offset, recordBytes, count);
    for (let position = 0; position < count; position++) {
      if (destinations[position].survives) table.setLive(record, position, count);
    }
    segment.retain(offset, footprint(this.log.geometry, recordBytes));
    // Nobody may be waiting for a confirm.
    this.log.commitSoon();
    return record;
  }

  private isLong(record: number): boolean {
    return this.table.recordBytes(record) > this.log.geometry.mostRecordBytes;
  }

  private longRecord(record: number): LongRecord {
    const { table, log } = this;
    return this.long.find(
      record,
      log.bySlot[table.slot(record)]!,
      table.offset(record),
      table.recordBytes(record),
    );
  }

  /** The chunk in which a record stands, from memory or the disk. */
  private chunk(record: number): Chunk {
    const segment = this.log.bySlot[this.table.slot(record)]!;
    const index = this.table.offset(record) >> this.log.geometry.chunkShift;
    return segment.chunks[index] ?? this.log.load(segment, index);
  }

  /** One queue has let the record go. */
  private release(record: number): void {
    const { table } = this;
    if (!table.release(record)) return;
    this.leaveSegment(record);
    if (this.isLong(record)) this.long.forget(record);
    if (this.returns.size > 0) this.returns.delete(record);
    table.free(record);
  }

  private leaveSegment(record: number): void {
    const { table, log } = this;
    const segment = log.bySlot[table.slot(record)]!;
    const bytes = footprint(log.geometry, table.recordBytes(record));
    const unused = segment.release(table.offset(record), bytes);
    if (unused) log.cache.drop(unused);
    if (segment.live === 0) log.commitSoon();
  }
}

const moved = new MessageView();

function anySurvives(destinations: readonly Destination[], count: number): boolean {
  for (let index = 0; index < count; index++) {
    if (destinations[index].survives) return true;
  }
  return false;
}

/** Queues that do not survive have a place among the pairs, so that positions hold, but no name. */
function writePairs(view: DataView, at: number, destinations: readonly Destination[], count: number): void {
  for (let index = 0; index < count; index++) {
    const { survives, id, nextSequence } = destinations[index];
    const pairAt = at + index * pairBytes;
    if (survives) {
      view.setUint32(pairAt, id, true);
      setSafeInteger(view, pairAt + 4, nextSequence);
    } else {
      blankPair(view, pairAt);
    }
  }
}

function anyNoted(destinations: readonly Destination[], count: number): boolean {
  for (let index = 0; index < count; index++) {
    const { nextTimeMs, nextNote } = destinations[index];
    if (nextTimeMs !== 0 || nextNote !== 0) return true;
  }
  return false;
}

function writeNotedPairs(
  view: DataView,
  at: number,
  destinations: readonly Destination[],
  count: number,
): void {
  for (let index = 0; index < count; index++) {
    const { survives, id, nextSequence, nextTimeMs, nextNote } = destinations[index];
    const pairAt = at + index * notedPairBytes;
    if (survives) {
      view.setUint32(pairAt, id, true);
      setSafeInteger(view, pairAt + 4, nextSequence);
    } else {
      blankPair(view, pairAt);
    }
    setSafeInteger(view, pairAt + 12, nextTimeMs);
    view.setUint32(pairAt + 20, nextNote, true);
  }
}

function blankPair(view: DataView, at: number): void {
  view.setUint32(at, 0, true);
  setSafeInteger(view, at + 4, 0);
}

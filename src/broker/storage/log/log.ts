import type { Clock, EndOfTurn, EventLoopTurn } from "../../../base/index.ts";
import type { DefinitionsLog } from "../definitions-log.ts";
import { writeDurablyFully, type Disk, type DiskFile } from "../disk.ts";
import type { CommitWaiter } from "../message-store.ts";
import { CorruptionError, StorageError } from "../storage-error.ts";
import { ChunkCache } from "./chunk-cache.ts";
import { batchHeaderBytes, decodeBatch, fileHeaderBytes } from "./format.ts";
import type { Geometry } from "./geometry.ts";
import { LogWriter, type Batch } from "./log-writer.ts";
import type { LogPiece } from "./log-reader.ts";
import { Segment, type Chunk } from "./segment.ts";
import { reservedSegments, SegmentPool, type PoolOwner } from "./segment-pool.ts";

export interface LogOptions {
  readonly disk: Disk;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly definitions: DefinitionsLog;
  /** Chunks that may be in memory. */
  readonly cachedChunks: number;
  /** Called once, when the disk has failed: nothing is confirmed any more. */
  readonly onFailure: (error: Error) => void;
}

/** What the log goes on from: as recovery found it, or as a new directory has it. */
export interface LogState {
  readonly geometry: Geometry;
  readonly nonce: bigint;
  /** Oldest first. */
  readonly segments: readonly Segment[];
  readonly free: readonly { readonly slot: number; readonly file: DiskFile }[];
  readonly lastGeneration: number;
  readonly lastCommit: number;
  readonly logStart: number;
  /** What recovery must cut off before anything is written. */
  readonly torn: readonly LogPiece[];
}

/** How long settles may wait for a commit that something else needs. */
const lazyCommitMs = 20;

/**
 * The append-only log: its segments from the oldest to the one being written, and their group commit. While one commit
 * writes and syncs, what arrives gathers for the next. INVARIANTS 1, 4, 5.
 */
export class Log implements EndOfTurn, PoolOwner {
  readonly geometry: Geometry;
  readonly writer: LogWriter;
  readonly cache: ChunkCache;
  readonly bySlot: (Segment | undefined)[] = [];
  /** Oldest first. */
  readonly segments: Segment[];
  /** Called after each commit. */
  onCommitted: () => void = () => {};
  /** Called when {@link hasRoom} may have changed. */
  onRoomChanged: () => void = () => {};
  private readonly options: LogOptions;
  readonly nonce: bigint;
  private readonly pool: SegmentPool;
  private waiters: CommitWaiter[] = [];
  private atTurnsEnd: CommitWaiter[] = [];
  /** The last commit that is durable. */
  committed: number;
  private lastGeneration: number;
  private lastCommit: number;
  /** What batch headers say: durable once the commit under way is. Generations below it may be used again then. */
  private logStart: number;
  /** The segment in which the last whole commit ends: a reader must find one. */
  private committedGeneration: number;
  /** Free segments that the cleaner is waiting for. */
  private cleanerSegments = 0;
  private inFlightBytes = 0;
  private committing: Promise<void> | undefined;
  private lazyDue = false;
  private lazyScheduled = false;
  private awaitingRoom: (() => void)[] = [];
  private failure: Error | undefined;
  /** Those who wait in {@link flush}, to be told that it has failed. */
  private readonly flushing = new Set<(reason: Error) => void>();
  private stopped = false;

  constructor(state: LogState, options: LogOptions) {
    this.options = options;
    this.geometry = state.geometry;
    this.nonce = state.nonce;
    this.lastGeneration = state.lastGeneration;
    this.lastCommit = state.lastCommit;
    this.committed = state.lastCommit;
    this.logStart = state.logStart;
    this.committedGeneration = state.segments.at(-1)?.generation ?? 0;
    this.segments = [...state.segments];
    this.cache = new ChunkCache(state.geometry.chunkBytes, options.cachedChunks);
    this.pool = new SegmentPool(options.disk, state.geometry, state.nonce, options.clock, this);
    for (const segment of this.segments) {
      this.bySlot[segment.slot] = segment;
      this.pool.adopt(segment.slot);
    }
    for (const { slot, file } of state.free) {
      this.pool.adopt(slot);
      this.pool.give(slot, file);
    }
    this.writer = new LogWriter(state.geometry, state.nonce, this.cache, () => this.beginSegment());
    this.pool.extend();
  }

  /** The number of the last commit begun. */
  get commitNumber(): number {
    return this.lastCommit;
  }

  /** A publish may be appended: the disk keeps up, and has room beside what the cleaner and settles need. */
  get hasRoom(): boolean {
    // Publishers wait for a commit when 16 MiB are uncommitted.
    return (
      this.pool.count > reservedSegments + this.cleanerSegments &&
      this.writer.pendingBytes + this.inFlightBytes < this.geometry.segmentBytes
    );
  }

  /** The disk is full: no segment can be made, and there are none left but the reserve. */
  get isFull(): boolean {
    return this.pool.isFull && this.pool.count <= reservedSegments;
  }

  /** The last attempt to make a segment failed for want of space. */
  get cannotGrow(): boolean {
    return this.pool.isFull;
  }

  /** Whether a message of so many bytes may be appended, which may need several segments. If not, sees to it that it may be later. */
  hasRoomFor(bytes: number): boolean {
    const segments = this.segmentsFor(bytes);
    if (this.pool.count >= reservedSegments + this.cleanerSegments + segments) return true;
    this.pool.want(this.cleanerSegments + segments);
    return false;
  }

  /**
   * The same for the cleaner, which would never get many segments while publishers take each that is made: they wait until
   * {@link hasCopied}.
   */
  hasRoomToCopy(bytes: number): boolean {
    this.cleanerSegments = this.segmentsFor(bytes);
    if (this.pool.count >= reservedSegments + this.cleanerSegments) return true;
    this.pool.want(this.cleanerSegments);
    return false;
  }

  hasCopied(): void {
    if (this.cleanerSegments === 0) return;
    this.cleanerSegments = 0;
    this.onRoomChanged();
  }

  private segmentsFor(bytes: number): number {
    return Math.max(1, Math.ceil((bytes * 1.01) / this.geometry.segmentBytes));
  }

  /** The generation with which the log begins. */
  get start(): number {
    return this.logStart;
  }

  /** Bytes of the log's files, and of the free ones. */
  get diskBytes(): number {
    return (this.segments.length + this.pool.count) * this.geometry.segmentBytes;
  }

  get freeSegments(): number {
    return this.pool.count;
  }

  awaitCommit(waiter: CommitWaiter): void {
    if (this.atTurnsEnd.length === 0) this.options.turn.beforeFlush(this);
    this.atTurnsEnd.push(waiter);
  }

  /** Something was appended that may wait for a commit that others need, but not for ever. */
  commitSoon(): void {
    if (this.lazyScheduled) return;
    this.lazyScheduled = true;
    this.options.clock.after(lazyCommitMs, () => {
      this.lazyScheduled = false;
      this.lazyDue = true;
      this.commit();
    });
  }

  /** Who needs no disk need not wait for one; confirms gather until the turn's end anyway. */
  endOfTurn(): void {
    const waiters = this.atTurnsEnd;
    this.atTurnsEnd = [];
    for (const waiter of waiters) {
      if (waiter.needsDisk) {
        this.waiters.push(waiter);
      } else {
        waiter.beforeCommit();
        waiter.committed();
      }
    }
    if (this.waiters.length > 0) this.commit();
  }

  /** Commits all there is, and comes back when it is durable. */
  async flush(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.flushing.add(reject);
      const committed = (): void => {
        this.flushing.delete(reject);
        resolve();
      };
      this.waiters.push({ needsDisk: true, beforeCommit() {}, committed });
      this.commit();
    });
  }

  /** Reads a chunk back, and checks it. Blocking, but the page cache holds what was written lately, and reads ahead. */
  load(segment: Segment, index: number): Chunk {
    const chunk = this.cache.add(segment, index);
    const end = segment.chunkEnds[index];
    const { bytes, view } = chunk;
    try {
      this.read(segment, bytes.subarray(0, end), index * this.geometry.chunkBytes);
    } catch (error) {
      this.cache.drop(chunk);
      throw error;
    }
    for (let at = index === 0 ? fileHeaderBytes : 0; at < end;) {
      const batch = decodeBatch(bytes, view, at, this.nonce);
      if (batch === undefined || batch.generation !== segment.generation) {
        this.cache.drop(chunk);
        throw this.damaged(segment, index * this.geometry.chunkBytes + at);
      }
      at += batchHeaderBytes + batch.payloadBytes;
    }
    chunk.pins--;
    return chunk;
  }

  /** Reads bytes of a segment, blocking. */
  read(segment: Segment, into: Uint8Array, offset: number): void {
    try {
      segment.file.readNow(into, offset);
    } catch (error) {
      this.fail(failed("read from", this.options.disk, error));
      throw error;
    }
  }

  damaged(segment: Segment, offset: number): Error {
    const what = "what was written there is not what is read now";
    const error = new CorruptionError(this.options.disk.path, segment.file.name, offset, what);
    this.fail(error);
    return error;
  }

  /** Stops for good: nothing is confirmed from now on. The first reason counts. */
  fail(error: Error): void {
    if (this.failure) return;
    this.failure = error;
    for (const reject of this.flushing) reject(error);
    this.flushing.clear();
    this.options.onFailure(error);
  }

  /** Ends what is under way and closes the files. What was not committed before is not. Rejects when the disk has failed. */
  async close(): Promise<void> {
    this.stopped = true;
    await this.committing;
    await this.pool.close();
    await Promise.all(this.segments.map(({ file }) => file.close()));
    if (this.failure) throw this.failure;
  }

  poolChanged(): void {
    const { awaitingRoom } = this;
    this.awaitingRoom = [];
    for (const resolve of awaitingRoom) resolve();
    this.onRoomChanged();
  }

  /** Comes back when there are more free segments than now, or the disk turned out to be full. */
  async roomChange(): Promise<void> {
    await new Promise<void>((resolve) => this.awaitingRoom.push(resolve));
  }

  /** While the disk is short of space, no more free segments are kept than are needed soon. */
  set isShortOfSpace(isShort: boolean) {
    this.pool.isShort = isShort;
  }

  poolFailed(error: unknown): void {
    this.fail(failed("make or remove a segment file in", this.options.disk, error));
  }

  private beginSegment(): Segment {
    const free = this.pool.take();
    if (free === undefined) {
      const error = new StorageError(
        `${this.options.disk.path}: the disk is full, and the segments kept for settling messages are used up. ` +
          "Free some space and start again: nothing that was confirmed is lost.",
      );
      this.fail(error);
      throw error;
    }
    const segment = new Segment(free.slot, ++this.lastGeneration, free.file, this.geometry);
    this.bySlot[free.slot] = segment;
    this.segments.push(segment);
    this.onRoomChanged();
    return segment;
  }

  private commit(): void {
    if (this.committing || this.failure || this.stopped) return;
    this.committing = this.commitAll()
      .catch((error: unknown) => this.fail(failed("write to", this.options.disk, error)))
      .finally(() => {
        this.committing = undefined;
        if (this.isDue) this.commit();
      });
  }

  private get isDue(): boolean {
    return this.waiters.length > 0 || this.lazyDue;
  }

  private async commitAll(): Promise<void> {
    do {
      const { waiters } = this;
      this.waiters = [];
      this.lazyDue = false;
      for (const waiter of waiters) waiter.beforeCommit();
      await this.commitOnce();
      for (const waiter of waiters) waiter.committed();
      this.onCommitted();
      this.onRoomChanged();
    } while (this.isDue && !this.stopped && !this.failure);
  }

  /**
   * Writes and syncs all that has gathered. Definitions go first: a message is nothing without its queue, and the log must
   * not forget a queue's messages before the queue's deletion is durable.
   */
  private async commitOnce(): Promise<void> {
    const { definitions } = this.options;
    const { writer } = this;
    const changes = definitions.take();
    const reachable = this.firstNeeded();
    // With nothing to write, all that made older segments dispensable is durable already.
    if (!writer.isDirty) this.logStart = reachable;
    const { logStart } = this;
    let batches: Batch[] = [];
    if (writer.isDirty || logStart > this.segments[0]?.generation) {
      this.inFlightBytes = writer.pendingBytes;
      batches = writer.take(++this.lastCommit, logStart, definitions.count);
    }
    if (changes) await definitions.write(changes);
    const writes = runsOf(batches).map(({ segment, parts, offset }) =>
      writeDurablyFully(segment.file, parts, offset),
    );
    await Promise.all(writes);
    this.inFlightBytes = 0;
    for (const { chunk } of batches) if (chunk) this.cache.unpin(chunk);
    if (batches.length === 0) return;
    this.committed = this.lastCommit;
    this.committedGeneration = batches.at(-1)!.segment.generation;
    this.freeBefore(logStart);
    this.logStart = Math.max(logStart, reachable);
    // The next commit makes the new start durable and frees what lies before it.
    if (reachable > logStart) this.commitSoon();
  }

  /** The oldest segment that is still needed: for a live message, or because the last whole commit is in it. */
  private firstNeeded(): number {
    for (const { live, generation } of this.segments) {
      if (live > 0 || generation >= this.committedGeneration) return generation;
    }
    return this.logStart;
  }

  private freeBefore(generation: number): void {
    while (this.segments.length > 0 && this.segments[0].generation < generation) {
      const { slot, file, chunks } = this.segments.shift()!;
      for (const chunk of chunks) if (chunk) this.cache.drop(chunk);
      this.bySlot[slot] = undefined;
      this.pool.give(slot, file);
    }
  }
}

/** Parts that stand one behind the other in a segment. */
interface Run {
  readonly segment: Segment;
  readonly offset: number;
  readonly parts: Uint8Array[];
  end: number;
}

/**
 * One write for all that is in one piece on the disk, not one for each chunk: each costs a thread's turn, and a file takes
 * one at a time. Worth 1.05× in P1K.
 */
function runsOf(batches: readonly Batch[]): Run[] {
  const runs: Run[] = [];
  for (const { segment, offset, bytes, apart } of batches) {
    const parts = apart ? [bytes, apart] : [bytes];
    const end = offset + bytes.length + (apart?.length ?? 0);
    const last = runs.at(-1);
    if (last?.segment === segment && last.end === offset) {
      last.parts.push(...parts);
      last.end = end;
    } else {
      runs.push({ segment, offset, parts, end });
    }
  }
  return runs;
}

function failed(what: string, disk: Disk, error: unknown): Error {
  if (error instanceof StorageError) return error;
  const { message } = error as Error;
  return new StorageError(
    `Cannot ${what} the data directory ${disk.path}: ${message}. Nothing has been confirmed since. ` +
      "Find out what is wrong with the disk, then start again.",
    { cause: error },
  );
}

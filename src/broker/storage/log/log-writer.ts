/**
 * Hot path: writes each record of a durable message. Benchmark: P1K, publish-only in bench/.
 *
 * Puts records into chunks in memory, which are at once what the disk gets and what consumers are served from. What has
 * gathered since the last commit is taken as batches, one for each chunk that was touched.
 */
import type { ChunkCache } from "./chunk-cache.ts";
import {
  batchHeaderBytes,
  deliveriesRecordBytes,
  encodeBatchHeader,
  fileHeaderBytes,
  fragmentHeaderBytes,
  messageOverhead,
  notedFlag,
  notedPairBytes,
  pairBytes,
  RecordType,
  setSafeInteger,
  settleRecordBytes,
} from "./format.ts";
import type { Geometry } from "./geometry.ts";
import type { Chunk, Segment } from "./segment.ts";

/** What goes to the disk in one piece. */
export interface Batch {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** The rest of the payload, where it was not copied behind the header. */
  readonly apart: Uint8Array | undefined;
  readonly chunk: Chunk | undefined;
}

interface OpenBatch {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  readonly payloadBytes: number;
  /** Zeroes behind the payload, up to the chunk's end. */
  readonly fillBytes: number;
  readonly apart: Uint8Array | undefined;
  readonly chunk: Chunk | undefined;
}

/** Zeroes written to fill a chunk cost less than another write, up to about here. */
const mostFillBytes = 4096;

export class LogWriter {
  /** The chunk being filled; read them after {@link reserve}. */
  segment!: Segment;
  bytes!: Uint8Array;
  view!: DataView;
  /** Where the chunk being filled starts in its segment. */
  chunkOffset = 0;
  /** Appended since the last {@link take}. */
  pendingBytes = 0;
  private readonly geometry: Geometry;
  private readonly nonce: bigint;
  private readonly cache: ChunkCache;
  private readonly nextSegment: () => Segment;
  private chunk: Chunk | undefined;
  private at = 0;
  /** Where the open batch's header stands in the chunk; -1 without one. */
  private batchAt = -1;
  /** Where the last record stands, if it is a settle of the open batch that may be extended; -1 otherwise. */
  private settleAt = -1;
  private settleEnd = 0;
  private settleQueue = 0;
  private batches: OpenBatch[] = [];

  constructor(geometry: Geometry, nonce: bigint, cache: ChunkCache, nextSegment: () => Segment) {
    this.geometry = geometry;
    this.nonce = nonce;
    this.cache = cache;
    this.nextSegment = nextSegment;
  }

  get isDirty(): boolean {
    return this.pendingBytes > 0;
  }

  /**
   * Begins the record of a message in the chunk being filled. The caller writes the pairs at the returned offset, and the
   * stored message {@link messageOverhead} − 8 bytes behind them.
   */
  beginMessage(pairCount: number, storedBytes: number): number {
    return this.begin(RecordType.Message, pairCount, pairBytes, pairCount, storedBytes);
  }

  /** The same with pairs of {@link notedPairBytes}. */
  beginNotedMessage(pairCount: number, storedBytes: number): number {
    const trailer = (pairCount | notedFlag) >>> 0;
    return this.begin(RecordType.NotedMessage, pairCount, notedPairBytes, trailer, storedBytes);
  }

  private begin(
    type: number,
    pairCount: number,
    bytesPerPair: number,
    trailer: number,
    storedBytes: number,
  ): number {
    const length = (messageOverhead + pairCount * bytesPerPair + storedBytes + 3) & ~3;
    const at = this.reserve(length);
    const { view } = this;
    view.setUint32(at, type | (pairCount << 8), true);
    view.setUint32(at + 4, length, true);
    view.setUint32(at + 8 + pairCount * bytesPerPair, trailer, true);
    return at + 8;
  }

  /** The queue is done with the message of this sequence. Runs of sequences become one record. */
  settle(queueId: number, sequence: number): void {
    if (this.settleAt >= 0 && this.settleQueue === queueId && this.settleEnd === sequence) {
      this.settleEnd++;
      const at = this.settleAt + 16;
      this.view.setUint32(at, this.view.getUint32(at, true) + 1, true);
      return;
    }
    const at = this.reserve(settleRecordBytes);
    const { view } = this;
    view.setUint32(at, RecordType.Settle, true);
    view.setUint32(at + 4, queueId, true);
    setSafeInteger(view, at + 8, sequence);
    view.setUint32(at + 16, 1, true);
    this.settleAt = at;
    this.settleEnd = sequence + 1;
    this.settleQueue = queueId;
  }

  deliveries(queueId: number, sequence: number, count: number): void {
    const at = this.reserve(deliveriesRecordBytes);
    const { view } = this;
    view.setUint32(at, RecordType.Deliveries, true);
    view.setUint32(at + 4, queueId, true);
    setSafeInteger(view, at + 8, sequence);
    view.setUint32(at + 16, count, true);
  }

  /**
   * Writes a record longer than a chunk takes, in fragments. `head` is the start of the record up to the stored message,
   * which stands in `bytes[storedAt, storedEnd)` and is not copied. Returns where the first fragment starts.
   */
  long(
    head: Uint8Array,
    bytes: Uint8Array,
    storedAt: number,
    storedEnd: number,
  ): { segment: Segment; offset: number } {
    const totalBytes = head.length + storedEnd - storedAt;
    // A reader wants all of the head in the first fragment.
    if (head.length > this.geometry.chunkBytes - fileHeaderBytes - batchHeaderBytes - fragmentHeaderBytes)
      throw new Error(`a record's head of ${head.length} bytes does not fit into a chunk`);
    let start: { segment: Segment; offset: number } | undefined;
    let rest = head;
    let at = storedAt;
    for (let done = 0; done < totalBytes;) {
      const room = this.nextChunk(false) - batchHeaderBytes - fragmentHeaderBytes;
      const fromStored = Math.min(room - rest.length, storedEnd - at);
      const header = new Uint8Array(batchHeaderBytes + fragmentHeaderBytes + rest.length);
      const view = new DataView(header.buffer);
      const payload = rest.length + fromStored;
      view.setUint32(batchHeaderBytes, RecordType.Fragment, true);
      view.setUint32(batchHeaderBytes + 4, payload, true);
      setSafeInteger(view, batchHeaderBytes + 8, totalBytes);
      view.setUint32(batchHeaderBytes + 16, done, true);
      header.set(rest, batchHeaderBytes + fragmentHeaderBytes);
      const offset = this.chunkOffset + this.at;
      start ??= { segment: this.segment, offset };
      this.batches.push({
        segment: this.segment,
        offset,
        bytes: header,
        view,
        at: 0,
        payloadBytes: fragmentHeaderBytes + payload,
        fillBytes: 0,
        apart: bytes.subarray(at, at + fromStored),
        chunk: undefined,
      });
      this.segment.chunkEnds[this.index] = this.at + batchHeaderBytes + fragmentHeaderBytes + payload;
      this.pendingBytes += payload;
      done += payload;
      at += fromStored;
      rest = nothing;
    }
    // The last chunk's rest stays unused: what follows begins one in memory.
    return start!;
  }

  /** Makes what was appended into batches of one commit. An empty one is made if nothing was: it carries the log's start. */
  take(commit: number, logStart: number, definitions: number): Batch[] {
    if (this.batchAt < 0 && this.batches.length === 0) this.reserve(0);
    this.closeBatch();
    const { batches } = this;
    this.batches = [];
    this.pendingBytes = 0;
    return batches.map(
      ({ segment, offset, bytes, view, at, payloadBytes, fillBytes, apart, chunk }, part) => {
        const isLast = part === batches.length - 1;
        const { generation } = segment;
        const header = { payloadBytes, generation, commit, part, isLast, logStart, definitions };
        encodeBatchHeader(bytes, view, at, header, this.nonce, apart);
        const inPlace = batchHeaderBytes + payloadBytes + fillBytes - (apart?.length ?? 0);
        return { segment, offset, bytes: bytes.subarray(at, at + inPlace), apart, chunk };
      },
    );
  }

  /** Room for a record in the open batch; says where in the chunk. May change `bytes`, `view` and `segment`. */
  private reserve(length: number): number {
    this.settleAt = -1;
    const needed = this.batchAt < 0 ? batchHeaderBytes + length : length;
    if (this.chunk === undefined || this.at + needed > this.geometry.chunkBytes) this.nextChunk(true);
    if (this.batchAt < 0) {
      this.batchAt = this.at;
      this.at += batchHeaderBytes;
      this.chunk!.pins++;
      this.pendingBytes += batchHeaderBytes;
    }
    const at = this.at;
    this.at += length;
    this.pendingBytes += length;
    return at;
  }

  /** `fillBytes` zeroes go with it to the disk. */
  private closeBatch(fillBytes = 0): void {
    this.settleAt = -1;
    if (this.batchAt < 0) return;
    const chunk = this.chunk!;
    if (fillBytes > 0) this.bytes.fill(0, this.at, this.at + fillBytes);
    this.batches.push({
      segment: this.segment,
      offset: this.chunkOffset + this.batchAt,
      bytes: this.bytes,
      view: this.view,
      at: this.batchAt,
      payloadBytes: this.at - this.batchAt - batchHeaderBytes,
      fillBytes,
      apart: undefined,
      chunk,
    });
    this.batchAt = -1;
    this.segment.chunkEnds[this.index] = this.at;
  }

  private get index(): number {
    return this.chunkOffset >> this.geometry.chunkShift;
  }

  /** Begins another chunk, in memory or, for a fragment, without. Returns how many bytes fit into it. */
  private nextChunk(inMemory: boolean): number {
    const { chunkBytes, segmentBytes } = this.geometry;
    // What the last record left of a chunk is little mostly: written as well, it makes one piece of this batch and the next.
    const rest = chunkBytes - this.at;
    this.closeBatch(rest <= mostFillBytes ? rest : 0);
    if (this.chunk) this.cache.unpin(this.chunk);
    this.chunk = undefined;
    if (this.segment === undefined || this.chunkOffset + chunkBytes >= segmentBytes) {
      this.segment = this.nextSegment();
      this.chunkOffset = 0;
    } else {
      this.chunkOffset += chunkBytes;
    }
    this.at = this.chunkOffset === 0 ? fileHeaderBytes : 0;
    if (inMemory) {
      this.chunk = this.cache.add(this.segment, this.index);
      this.bytes = this.chunk.bytes;
      this.view = this.chunk.view;
    }
    return chunkBytes - this.at;
  }
}

const nothing = new Uint8Array(0);

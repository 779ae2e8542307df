import type { DiskFile } from "../disk.ts";
import type { Geometry } from "./geometry.ts";

/** One file of the log while it holds a stretch of it: its place in the log is its generation, its file is its slot. */
export class Segment {
  readonly slot: number;
  readonly generation: number;
  readonly file: DiskFile;
  /** What of it is in memory. */
  readonly chunks: (Chunk | null)[];
  /** Bytes used of each chunk; 0 for one that was never begun. */
  readonly chunkEnds: Int32Array;
  /** Messages of each chunk that some queue still has. */
  readonly chunkLive: Int32Array;
  /** Messages that some queue still has, and the bytes that copying them elsewhere would take. */
  live = 0;
  liveBytes = 0;
  private readonly chunkShift: number;

  constructor(slot: number, generation: number, file: DiskFile, geometry: Geometry) {
    this.slot = slot;
    this.generation = generation;
    this.file = file;
    this.chunkShift = geometry.chunkShift;
    const count = geometry.segmentBytes / geometry.chunkBytes;
    this.chunks = new Array<Chunk | null>(count).fill(null);
    this.chunkEnds = new Int32Array(count);
    this.chunkLive = new Int32Array(count);
  }

  /** A message stands at `offset` that some queue has. */
  retain(offset: number, bytes: number): void {
    this.live++;
    this.liveBytes += bytes;
    this.chunkLive[offset >> this.chunkShift]++;
  }

  /** Nobody has it any more, or it has been copied elsewhere. Returns the chunk it stood in, if nobody needs that now. */
  release(offset: number, bytes: number): Chunk | null {
    this.live--;
    this.liveBytes -= bytes;
    const index = offset >> this.chunkShift;
    if (--this.chunkLive[index] > 0) return null;
    const chunk = this.chunks[index];
    return chunk !== null && chunk.pins === 0 ? chunk : null;
  }
}

/** A chunk's bytes in memory. */
export interface Chunk {
  readonly segment: Segment;
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Reasons to stay in memory: it is being filled, a batch of it has yet to reach the disk. */
  pins: number;
}

/**
 * Hot path: gives a buffer to each chunk that is written or read back. Benchmark: P1K, drain in bench/.
 *
 * The chunks that are in memory, within a budget. What is on disk can be dropped at any time, so that neither one old
 * message nor a long backlog holds memory; the chunk that came first goes first. Consumers that keep up find theirs among
 * the newest; those that do not read chunk after chunk.
 */
import type { Chunk, Segment } from "./segment.ts";

/** Buffers kept for reuse beside the chunks in memory. */
const spareBuffers = 8;

export class ChunkCache {
  private readonly chunkBytes: number;
  private readonly budget: number;
  /** In the order in which they came. */
  private readonly resident = new Set<Chunk>();
  private readonly spare: Uint8Array[] = [];

  /** `budget` is the number of chunks; more are kept only while they may not be dropped. */
  constructor(chunkBytes: number, budget: number) {
    this.chunkBytes = chunkBytes;
    this.budget = budget;
  }

  /** Memory for a chunk, pinned once. What it holds is left over from others. */
  add(segment: Segment, index: number): Chunk {
    if (this.resident.size >= this.budget) this.makeRoom();
    const bytes = this.spare.pop() ?? new Uint8Array(this.chunkBytes);
    const chunk = { segment, index, bytes, view: new DataView(bytes.buffer), pins: 1 };
    segment.chunks[index] = chunk;
    this.resident.add(chunk);
    return chunk;
  }

  /** One reason to stay is gone. Nobody needs a chunk without live messages. */
  unpin(chunk: Chunk): void {
    if (--chunk.pins === 0 && chunk.segment.chunkLive[chunk.index] === 0) this.drop(chunk);
  }

  drop(chunk: Chunk): void {
    chunk.segment.chunks[chunk.index] = null;
    this.resident.delete(chunk);
    if (this.spare.length < spareBuffers) this.spare.push(chunk.bytes);
  }

  private makeRoom(): void {
    for (const chunk of this.resident) {
      if (chunk.pins > 0) continue;
      this.drop(chunk);
      if (this.resident.size < this.budget) return;
    }
  }
}

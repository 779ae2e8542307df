/** Hot path: an output buffer is taken and given back in most turns of the event loop. Benchmark: T16 in bench/. */

export interface PooledBuffer {
  /** Not a Buffer, whose `slice` shares memory where Uint8Array's copies. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Buffers of one size, shared by all connections of a broker: an idle connection holds none. */
export class BufferPool {
  readonly bufferBytes: number;
  private readonly free: PooledBuffer[] = [];
  private readonly keep: number;

  /** Keeps at most `keep` unused buffers; more are left to the garbage collector. */
  constructor(bufferBytes: number, keep: number) {
    this.bufferBytes = bufferBytes;
    this.keep = keep;
  }

  take(): PooledBuffer {
    return this.free.pop() ?? createBuffer(this.bufferBytes);
  }

  give(buffer: PooledBuffer): void {
    if (this.free.length < this.keep && buffer.bytes.length === this.bufferBytes) this.free.push(buffer);
  }
}

export function createBuffer(length: number): PooledBuffer {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}

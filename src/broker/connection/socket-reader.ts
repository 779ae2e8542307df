/**
 * Hot path: every byte that reaches the broker passes here. Benchmark: T16, P1K, publish-only in bench/.
 *
 * Reads a socket into a buffer that all connections share; only what a frame leaves over is kept per connection, so that
 * an idle connection holds no buffer. A connection that sends much gives way after a bounded number of bytes per turn
 * of the event loop. It is never paused for longer than a turn, unless it does not read our replies (INVARIANTS 11).
 */
import { Socket } from "node:net";
import type { EndOfTurn, EventLoopTurn } from "../../base/index.ts";
import { createBuffer, type BufferPool, type PooledBuffer } from "./buffer-pool.ts";

/** Holds at least one frame of the largest size. */
export const readBufferBytes: number = 256 << 10;
/** Bytes per turn of a connection whose consumers do not keep up. Small, so that theirs come in between. */
const smallestSlice = 8 << 10;

export interface Receiver {
  /** Takes whole frames from `bytes[start, end)`; returns where the first incomplete one starts. */
  receive(bytes: Uint8Array, view: DataView, start: number, end: number): number;
}

/** What the readers of a broker share. */
export interface ReadResources {
  readonly turn: EventLoopTurn;
  readonly partials: BufferPool;
  readonly shared: PooledBuffer;
}

export class SocketReader implements EndOfTurn {
  /** Set by the receiver when what it publishes piles up before consumers that are there: it gets smaller slices. */
  outpacing = false;
  readonly socket: Socket;
  private readonly resources: ReadResources;
  private receiver: Receiver | null = null;
  private partial: PooledBuffer | null = null;
  private partialLength = 0;
  private slice = readBufferBytes;
  private turnBytes = 0;
  private turnNumber = 0;
  private paused = false;
  private held = false;

  /**
   * Takes over an accepted, paused socket. Its handle is put into a new socket with a static read buffer (`onread`),
   * which saves a Buffer object per read: 5–35 % (HOT-PATH.md). Where there is no such handle (TLS, another Node), or
   * with `staticReads` false, it listens to `data` events.
   */
  constructor(accepted: Socket, resources: ReadResources, staticReads: boolean) {
    this.resources = resources;
    const handle = staticReads ? takeHandle(accepted) : null;
    if (handle === null) {
      this.socket = accepted;
      accepted.on("data", (chunk: Buffer) => this.receivedChunk(chunk));
    } else {
      const onread = {
        buffer: () => this.nextBuffer(),
        callback: (count: number) => this.received(count),
      };
      this.socket = new Socket({ handle, onread } as ConstructorParameters<typeof Socket>[0]);
      // Without its handle it is an empty shell; only its end lets the server count it as gone.
      accepted.destroy();
    }
  }

  start(receiver: Receiver): void {
    this.receiver = receiver;
    this.socket.resume();
  }

  /** Whether bytes that have arrived are left waiting, so that silence says nothing about the peer. */
  get isPaused(): boolean {
    return this.paused || this.held;
  }

  /** Stops reading until {@link release}: the peer leaves too many of our replies unread. */
  hold(): void {
    this.held = true;
    this.socket.pause();
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    if (!this.paused) this.socket.resume();
  }

  /** The turn is over: read on. */
  endOfTurn(): void {
    this.paused = false;
    if (!this.held && !this.socket.destroyed) this.socket.resume();
  }

  /** Gives the buffer back when the connection has ended. */
  close(): void {
    this.keep(null, 0);
  }

  private nextBuffer(): Uint8Array {
    const { partial, slice } = this;
    if (partial !== null) return partial.bytes.subarray(this.partialLength, this.partialLength + slice);
    const { bytes } = this.resources.shared;
    return slice < bytes.length ? bytes.subarray(0, slice) : bytes;
  }

  private received(count: number): boolean {
    const buffer = this.partial ?? this.resources.shared;
    const end = this.partialLength + count;
    const taken = this.receiver!.receive(buffer.bytes, buffer.view, 0, end);
    this.keepRest(buffer, taken, end);
    return this.goesOn(count);
  }

  private receivedChunk(chunk: Buffer): void {
    const { partials } = this.resources;
    // In pieces that fit behind what is left over, in the same buffers as the static path.
    for (let at = 0; at < chunk.length && !this.socket.destroyed;) {
      this.partial ??= partials.take();
      const { partial } = this;
      const count = chunk.copy(partial.bytes, this.partialLength, at);
      at += count;
      const end = this.partialLength + count;
      const taken = this.receiver!.receive(partial.bytes, partial.view, 0, end);
      this.keepRest(partial, taken, end);
    }
    if (!this.goesOn(chunk.length)) this.socket.pause();
  }

  /** Keeps the bytes of a frame that has not arrived wholly. */
  private keepRest(buffer: PooledBuffer, from: number, end: number): void {
    const rest = end - from;
    if (rest === 0) {
      this.keep(null, 0);
      return;
    }
    const partial = this.partial ?? this.resources.partials.take();
    if (from > 0 || partial !== buffer) partial.bytes.set(buffer.bytes.subarray(from, end));
    this.keep(partial, rest);
  }

  private keep(partial: PooledBuffer | null, length: number): void {
    if (this.partial !== null && partial === null) this.resources.partials.give(this.partial);
    this.partial = partial;
    this.partialLength = length;
  }

  /** Whether the socket may be read again in this turn. */
  private goesOn(count: number): boolean {
    const { turn } = this.resources;
    if (turn.number !== this.turnNumber) {
      this.turnNumber = turn.number;
      this.turnBytes = 0;
      this.slice = this.outpacing
        ? Math.max(smallestSlice, this.slice >> 1)
        : Math.min(readBufferBytes, this.slice << 1);
      this.outpacing = false;
    }
    this.turnBytes += count;
    if (this.held) return false;
    if (this.turnBytes < this.slice) return true;
    this.paused = true;
    turn.afterFlush(this);
    return false;
  }
}

export function createReadResources(turn: EventLoopTurn, partials: BufferPool): ReadResources {
  return { turn, partials, shared: createBuffer(readBufferBytes) };
}

/**
 * The handle of an accepted socket that has read nothing yet. Undocumented, so that a Node without it is not an error.
 */
function takeHandle(socket: Socket): object | null {
  const inner = socket as unknown as { _handle?: { useUserBuffer?: unknown } | null };
  const handle = inner._handle;
  if (!handle || typeof handle.useUserBuffer !== "function") return null;
  inner._handle = null;
  return handle;
}

/**
 * Hot path: every byte that reaches the broker passes here. Benchmark: T16, P1K, publish-only in bench/.
 *
 * Reads a socket into a buffer that all connections share; only what a frame leaves over is kept per connection, so that
 * an idle connection holds no buffer. A connection that sends much gives way after a bounded number of bytes per turn
 * of the event loop. It is paused for longer than a turn only for what it says in `HoldReason` (INVARIANTS 11).
 */
import { Socket } from "node:net";
import type { EndOfTurn, EventLoopTurn } from "../../base/index.ts";
import { createBuffer, type BufferPool, type PooledBuffer } from "./buffer-pool.ts";

/** Holds at least one frame of the largest size. */
export const readBufferBytes: number = 256 << 10;
/** Bytes per turn of a connection whose consumers do not keep up. Small, so that theirs come in between. */
const smallestSlice = 8 << 10;

/** What a connection may be waiting for before it is read again. */
export type HoldReason =
  /** The peer does not read our replies. */
  | "replies"
  /** It is being found out who the peer is. */
  | "login"
  /** The next reply needs a commit first. */
  | "commit"
  /** It has something to publish and may not yet. */
  | "publishing";

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
  /** Why it is not read, until they are gone. */
  private readonly holds = new Set<HoldReason>();
  /** What had arrived behind `partial` when the receiver asked to be held. */
  private later: Uint8Array | null = null;

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
      accepted.on("data", (chunk: Buffer) => {
        this.receivedChunk(chunk);
        this.giveEmptyPartial();
        if (!this.goesOn(chunk.length)) accepted.pause();
      });
    } else {
      const onread = {
        buffer: () => this.nextBuffer(),
        callback: (count: number, buffer: Uint8Array) => this.received(count, buffer),
      };
      this.socket = new Socket({ handle, onread, allowHalfOpen: true } as ConstructorParameters<
        typeof Socket
      >[0]);
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
    return this.paused || this.holds.size > 0;
  }

  /** Whether bytes that have arrived may have been put aside. */
  get isHeld(): boolean {
    return this.holds.size > 0;
  }

  /** Stops reading until the same reason is released. The receiver may call it in the middle of `receive`. */
  hold(reason: HoldReason): void {
    this.holds.add(reason);
    this.socket.pause();
  }

  release(reason: HoldReason): void {
    if (!this.holds.delete(reason) || this.holds.size > 0) return;
    this.receiveHeldBack();
    this.resume();
  }

  /** The turn is over: read on. */
  endOfTurn(): void {
    this.paused = false;
    this.resume();
  }

  /** Gives the buffer back when the connection has ended. */
  close(): void {
    this.partialLength = 0;
    this.giveEmptyPartial();
  }

  private resume(): void {
    if (!this.isPaused && !this.socket.destroyed) this.socket.resume();
  }

  private nextBuffer(): Uint8Array {
    const { partial, slice } = this;
    // A connection that is held may have its buffer full, and Node keeps for the next read what it is given now: never an
    // empty buffer (ENOBUFS). What comes into the shared one is put behind the rest then.
    const hasRoom = partial !== null && this.partialLength < partial.bytes.length;
    if (hasRoom) return partial.bytes.subarray(this.partialLength, this.partialLength + slice);
    const { bytes } = this.resources.shared;
    return slice < bytes.length ? bytes.subarray(0, slice) : bytes;
  }

  /** Node has read into the buffer that {@link nextBuffer} gave last, and asks for the next one afterwards. */
  private received(count: number, into: Uint8Array): boolean {
    const buffer = this.partial ?? this.resources.shared;
    if (into.buffer === buffer.bytes.buffer && into.byteOffset === this.partialLength) {
      const end = this.partialLength + count;
      this.keepRest(buffer, this.receiver!.receive(buffer.bytes, buffer.view, 0, end), end);
    } else {
      // What was left over has moved since, when a hold was released. Copied, since it may overlap with it.
      this.receivedChunk(into.slice(0, count));
    }
    this.giveEmptyPartial();
    return this.goesOn(count);
  }

  /** Receives bytes that stand elsewhere, in pieces that fit behind what is left over. */
  private receivedChunk(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.socket.destroyed;) {
      if (this.holds.size > 0) {
        this.later = chunk.slice(at);
        return;
      }
      const partial = (this.partial ??= this.resources.partials.take());
      const piece = chunk.subarray(at, at + partial.bytes.length - this.partialLength);
      partial.bytes.set(piece, this.partialLength);
      at += piece.length;
      const end = this.partialLength + piece.length;
      this.keepRest(partial, this.receiver!.receive(partial.bytes, partial.view, 0, end), end);
    }
  }

  /** Whole frames may be among what was kept. The buffer stays, even empty: Node may be about to read into it. */
  private receiveHeldBack(): void {
    const { partial, later } = this;
    if (partial !== null) {
      const end = this.partialLength;
      this.keepRest(partial, this.receiver!.receive(partial.bytes, partial.view, 0, end), end);
    }
    if (later === null || this.holds.size > 0) return;
    this.later = null;
    this.receivedChunk(later);
  }

  /** Keeps the bytes that were not received: of a frame that has not arrived wholly, or held back. */
  private keepRest(buffer: PooledBuffer, from: number, end: number): void {
    const rest = end - from;
    this.partialLength = rest;
    if (rest === 0) return;
    this.partial ??= this.resources.partials.take();
    if (from > 0 || this.partial !== buffer) this.partial.bytes.set(buffer.bytes.subarray(from, end));
  }

  private giveEmptyPartial(): void {
    if (this.partial === null || this.partialLength > 0) return;
    this.resources.partials.give(this.partial);
    this.partial = null;
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
    if (this.holds.size > 0) return false;
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

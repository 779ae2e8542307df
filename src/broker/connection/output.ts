/**
 * Hot path: writes every frame that leaves the broker. Benchmark: T16, T1K, drain in bench/.
 *
 * Frames gather in one buffer, which goes to the socket at the end of the turn or when it is full: one write per turn
 * and connection instead of one per delivery is worth 9× (HOT-PATH.md). The body of a message that has a buffer of its
 * own goes out from there, uncopied.
 */
import type { Socket } from "node:net";
import type { EndOfTurn, EventLoopTurn } from "../../base/index.ts";
import {
  basicClassId,
  ByteWriter,
  copyBytes,
  FrameType,
  frameEnd,
  writeMethod,
  type Method,
} from "../../wire/index.ts";
import type { MessageView } from "../storage/index.ts";
import { createBuffer, type BufferPool, type PooledBuffer } from "./buffer-pool.ts";

/** Frame type, channel and size before the payload, and the end octet behind it. */
const frameOverhead = 8;
/** Class, weight and body size before a content header's properties. */
const contentHeaderBytes = 12;
/** Bytes the peer has not taken yet, past which consumers get no more until it has. */
const congestedAt = 1 << 20;
/** Bytes written in one turn, past which consumers wait for the next, so that one does not hold up all others. */
const turnBudget = 1 << 20;
/** A body at least this long is sent without a copy where that is allowed. */
const uncopiedBodyAt = 64 << 10;

export interface OutputOwner {
  /** Consumers may be served again: the turn is over, or the peer has caught up. */
  outputReady(): void;
}

export class Output implements EndOfTurn {
  /** The largest frame the peer accepts, all octets counted; set when the connection is tuned. */
  frameMax = 4096;
  /** Deliveries have to wait. Replies and confirms are written all the same. */
  full = false;
  /** Pieces handed to the socket. */
  writes = 0;
  private readonly socket: Socket;
  private readonly turn: EventLoopTurn;
  private readonly pool: BufferPool;
  private readonly owner: OutputOwner;
  private buffer: PooledBuffer | null = null;
  private length = 0;
  private scheduled = false;
  private turnBytes = 0;
  private congested = false;
  /** Buffers handed to the socket while it could not write them at once. */
  private inFlight: PooledBuffer[] = [];
  private lastSent = false;

  constructor(socket: Socket, turn: EventLoopTurn, pool: BufferPool, owner: OutputOwner) {
    this.socket = socket;
    this.turn = turn;
    this.pool = pool;
    this.owner = owner;
    socket.on("drain", () => this.drained());
  }

  /** Bytes that the peer has not taken yet. */
  get unsentBytes(): number {
    return this.length + this.socket.writableLength;
  }

  /** Whether anything was sent since this was last asked: then no heartbeat is due. */
  takeActivity(): boolean {
    const active = this.lastSent;
    this.lastSent = false;
    return active;
  }

  method(channel: number, method: Method): void {
    writeMethod(scratch.reset(), method);
    const payload = scratch.written();
    const at = this.reserve(payload.length + frameOverhead);
    this.frameHeader(at, FrameType.Method, channel, payload.length);
    this.buffer!.bytes.set(payload, at + 7);
    this.buffer!.bytes[at + 7 + payload.length] = frameEnd;
  }

  heartbeat(): void {
    const at = this.reserve(frameOverhead);
    this.frameHeader(at, FrameType.Heartbeat, 0, 0);
    this.buffer!.bytes[at + 7] = frameEnd;
  }

  /** basic.ack, the confirm of `deliveryTag` and, if `multiple`, of all before it. */
  confirm(channel: number, deliveryTag: number, multiple: boolean): void {
    const at = this.reserve(21);
    const { bytes, view } = this.buffer!;
    this.frameHeader(at, FrameType.Method, channel, 13);
    view.setInt32(at + 7, 0x003c0050);
    view.setUint32(at + 11, (deliveryTag / 0x1_0000_0000) >>> 0);
    view.setUint32(at + 15, deliveryTag >>> 0);
    bytes[at + 19] = multiple ? 1 : 0;
    bytes[at + 20] = frameEnd;
  }

  /**
   * basic.deliver with its content. `prefix` is the method frame up to and including the consumer tag, the same for all
   * deliveries to a consumer but for the frame's size.
   */
  deliver(
    channel: number,
    prefix: Uint8Array,
    prefixView: DataView,
    deliveryTag: number,
    redelivered: boolean,
    message: MessageView,
  ): void {
    const { routeLength, propertiesLength, bodyLength } = message;
    const methodBytes = prefix.length + 9 + routeLength + 1;
    const headerBytes = frameOverhead + contentHeaderBytes + propertiesLength;
    const bodyBytes = bodyLength > 0 ? bodyLength + frameOverhead : 0;
    const inOneFrame = bodyBytes <= this.frameMax && bodyLength < uncopiedBodyAt;
    let at = this.reserve(methodBytes + headerBytes + (inOneFrame ? bodyBytes : 0));
    const { bytes, view } = this.buffer!;
    copyBytes(bytes, view, at, prefix, prefixView, 0, prefix.length);
    view.setInt32(at + 3, methodBytes - frameOverhead);
    at += prefix.length;
    view.setUint32(at, (deliveryTag / 0x1_0000_0000) >>> 0);
    view.setUint32(at + 4, deliveryTag >>> 0);
    bytes[at + 8] = redelivered ? 1 : 0;
    at += 9;
    copyBytes(bytes, view, at, message.bytes, message.view, message.routeAt, routeLength);
    at += routeLength;
    bytes[at++] = frameEnd;
    at = this.contentHeader(at, channel, message);
    if (!inOneFrame) {
      this.body(channel, message);
    } else if (bodyLength > 0) {
      this.frameHeader(at, FrameType.Body, channel, bodyLength);
      at += 7;
      copyBytes(bytes, view, at, message.bytes, message.view, message.bodyAt, bodyLength);
      bytes[at + bodyLength] = frameEnd;
    }
  }

  /** A method followed by content (basic.return, basic.get-ok), given as the payload of its method frame. */
  contentMethod(channel: number, payload: Uint8Array, message: MessageView): void {
    const methodBytes = payload.length + frameOverhead;
    let at = this.reserve(methodBytes + frameOverhead + contentHeaderBytes + message.propertiesLength);
    this.frameHeader(at, FrameType.Method, channel, payload.length);
    this.buffer!.bytes.set(payload, at + 7);
    this.buffer!.bytes[at + methodBytes - 1] = frameEnd;
    at += methodBytes;
    this.contentHeader(at, channel, message);
    this.body(channel, message);
  }

  /** Writes what has gathered and returns the buffer, so that nothing is left behind when the connection ends. */
  flush(): void {
    const { buffer, length, socket } = this;
    if (buffer === null) return;
    this.buffer = null;
    this.length = 0;
    if (length === 0 || !socket.writable) {
      this.pool.give(buffer);
      return;
    }
    this.writes++;
    socket.write(length === buffer.bytes.length ? buffer.bytes : buffer.bytes.subarray(0, length));
    this.lastSent = true;
    // Written at once: the buffer is free. Otherwise the socket needs it until everything is written.
    if (socket.writableLength === 0) {
      this.pool.give(buffer);
      this.reclaim();
    } else {
      this.inFlight.push(buffer);
      this.noteCongestion();
    }
  }

  /** Nothing that has not left yet, nor what is written from now on, leaves before {@link release}. Calls may be nested. */
  hold(): void {
    this.socket.cork();
  }

  release(): void {
    this.flush();
    this.socket.uncork();
    // What was held went into buffers of its own, and a socket that was never full says no drain.
    if (this.socket.writableLength === 0) this.reclaim();
  }

  endOfTurn(): void {
    this.scheduled = false;
    this.turnBytes = 0;
    this.flush();
    if (this.full && !this.congested) this.ready();
  }

  private ready(): void {
    this.full = false;
    this.owner.outputReady();
  }

  private drained(): void {
    this.reclaim();
    this.congested = false;
    if (this.full && this.turnBytes <= turnBudget) this.ready();
  }

  private noteCongestion(): void {
    if (this.socket.writableLength < congestedAt) return;
    this.congested = true;
    this.full = true;
  }

  private reclaim(): void {
    for (const buffer of this.inFlight) this.pool.give(buffer);
    this.inFlight.length = 0;
  }

  private contentHeader(at: number, channel: number, message: MessageView): number {
    const { bytes, view } = this.buffer!;
    const { propertiesLength } = message;
    this.frameHeader(at, FrameType.Header, channel, contentHeaderBytes + propertiesLength);
    view.setInt32(at + 7, basicClassId << 16);
    view.setInt32(at + 11, 0);
    view.setInt32(at + 15, message.bodyLength);
    at += 19;
    copyBytes(bytes, view, at, message.bytes, message.view, message.propertiesAt, propertiesLength);
    at += propertiesLength;
    bytes[at++] = frameEnd;
    return at;
  }

  /** The body in as many frames as the peer's frame-max asks for. */
  private body(channel: number, message: MessageView): void {
    const limit = this.frameMax - frameOverhead;
    if (message.owned && Math.min(limit, message.bodyLength) >= uncopiedBodyAt) {
      this.uncopiedBody(channel, message, limit);
      return;
    }
    for (let sent = 0; sent < message.bodyLength;) {
      const length = Math.min(limit, message.bodyLength - sent);
      const at = this.reserve(length + frameOverhead);
      const { bytes, view } = this.buffer!;
      this.frameHeader(at, FrameType.Body, channel, length);
      copyBytes(bytes, view, at + 7, message.bytes, message.view, message.bodyAt + sent, length);
      bytes[at + 7 + length] = frameEnd;
      sent += length;
    }
  }

  /** Sends the body from where it is; what stands between its parts comes from one small buffer. */
  private uncopiedBody(channel: number, message: MessageView, limit: number): void {
    const parts = Math.ceil(message.bodyLength / limit);
    const between = createBuffer(parts * frameOverhead);
    this.flush();
    const { socket } = this;
    if (!socket.writable) return;
    socket.cork();
    for (let part = 0; part < parts; part++) {
      const from = message.bodyAt + part * limit;
      const length = Math.min(limit, message.bodyLength - part * limit);
      // The end of the frame before, but for the first, and the header of this one.
      const at = part * frameOverhead;
      between.bytes[at] = frameEnd;
      between.bytes[at + 1] = FrameType.Body;
      between.view.setInt16(at + 2, channel);
      between.view.setInt32(at + 4, length);
      socket.write(between.bytes.subarray(part === 0 ? at + 1 : at, at + frameOverhead));
      socket.write(message.bytes.subarray(from, from + length));
    }
    socket.uncork();
    this.countForTurn(message.bodyLength);
    this.noteCongestion();
    const end = this.reserve(1);
    this.buffer!.bytes[end] = frameEnd;
  }

  private frameHeader(at: number, type: number, channel: number, size: number): void {
    const { bytes, view } = this.buffer!;
    bytes[at] = type;
    view.setInt16(at + 1, channel);
    view.setInt32(at + 3, size);
  }

  /** Room for `count` more bytes, one after the other; says where they start. May change `buffer`: read it afterwards. */
  private reserve(count: number): number {
    if (this.buffer === null || this.length + count > this.buffer.bytes.length) this.makeRoom(count);
    const at = this.length;
    this.length = at + count;
    this.countForTurn(count);
    return at;
  }

  private countForTurn(count: number): void {
    this.turnBytes += count;
    if (this.turnBytes > turnBudget) this.full = true;
  }

  private makeRoom(count: number): void {
    this.flush();
    this.buffer = count > this.pool.bufferBytes ? createBuffer(count) : this.pool.take();
    if (this.scheduled) return;
    this.scheduled = true;
    this.turn.flush(this);
  }
}

/** All methods are encoded here before they are copied into a connection's buffer. */
const scratch = new ByteWriter(1024);

/**
 * Floods: small messages that carry their number, encoded in blocks, and a reader that only looks at the numbers. A
 * client that decodes everything would be slower than the broker it wants to flood.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { FrameType, MethodId } from "../../src/wire/index.ts";
import { publishMethod } from "./methods.ts";
import { encodeFrame, encodeHeader, encodeMethod, type RawClient } from "./raw-client.ts";

const perBlock = 500;

export interface PublisherOptions {
  bodyBytes?: number;
  mandatory?: boolean;
  persistent?: boolean;
  /** Messages that may wait for their confirm; the channel must be in confirm mode. Without it nothing is waited for. */
  confirmWindow?: number;
}

/** Publishes messages numbered from 0 to one queue, as fast as the socket takes them. */
export class NumberedPublisher {
  published = 0;
  confirmed = 0;
  private readonly socket: Socket;
  private readonly message: Buffer;
  private readonly numberAt: number;
  private readonly perBlock: number;
  private readonly window: number;
  private rest: Buffer = Buffer.alloc(0);
  private onConfirm: (() => void) | undefined;

  constructor(client: RawClient, queue: string, options: PublisherOptions = {}) {
    const { bodyBytes = 12, mandatory = false, persistent = false, confirmWindow = Infinity } = options;
    this.socket = client.socket;
    this.window = confirmWindow;
    const body = encodeFrame(FrameType.Body, 1, new Uint8Array(bodyBytes));
    const properties = persistent ? { deliveryMode: 2 } : {};
    this.message = Buffer.concat([
      encodeFrame(FrameType.Method, 1, encodeMethod(publishMethod("", queue, mandatory))),
      encodeFrame(FrameType.Header, 1, encodeHeader(bodyBytes, properties)),
      body,
    ]);
    if (Number.isFinite(confirmWindow)) {
      this.socket.removeAllListeners("data");
      this.socket.on("data", (chunk: Buffer) => this.readConfirms(chunk));
    }
    this.numberAt = this.message.length - body.length + 7;
    const mostPerBlock = Math.min(perBlock, Math.ceil(confirmWindow / 2));
    this.perBlock = Math.max(1, Math.min(mostPerBlock, Math.floor((1 << 18) / this.message.length)));
  }

  /** Waits for the socket, and for confirms if there is a window; then for all of them. */
  async publishUpTo(total: number): Promise<void> {
    while (this.published < total) {
      if (this.published + this.perBlock - this.confirmed > this.window) {
        await this.confirmedMore();
        continue;
      }
      const more = this.socket.write(this.block(Math.min(this.perBlock, total - this.published)));
      if (!more) await once(this.socket, "drain");
    }
    if (Number.isFinite(this.window)) while (this.confirmed < total) await this.confirmedMore();
  }

  private async confirmedMore(): Promise<void> {
    await new Promise<void>((resolve) => (this.onConfirm = resolve));
  }

  private readConfirms(chunk: Buffer): void {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 8) {
      const size = bytes.readUInt32BE(at + 3);
      if (bytes.length - at < size + 8) break;
      // Confirms come in the order of their tags, so that multiple or not makes no difference.
      if (bytes[at] === FrameType.Method && bytes.readUInt32BE(at + 7) === MethodId.BasicAck) {
        this.confirmed = Number(bytes.readBigUInt64BE(at + 11));
      }
      at += size + 8;
    }
    this.rest = bytes.subarray(at);
    this.onConfirm?.();
  }

  private block(count: number): Buffer {
    const { message, numberAt } = this;
    const block = Buffer.allocUnsafe(count * message.length);
    for (let at = 0; at < block.length; at += message.length) {
      message.copy(block, at);
      block.writeUInt32BE(this.published++, at + numberAt);
    }
    return block;
  }
}

export interface ReaderOptions {
  /** Acknowledges, multiple, after so many deliveries; 0 for a consumer without acknowledgements. */
  ackEvery?: number;
  /** Called after each chunk that was read. */
  onRead?: () => void;
}

/** Takes over what a client receives on channel 1: counts the deliveries, which must bear the numbers 0, 1, 2, … */
export class NumberedReader {
  received = 0;
  acknowledged = 0;
  /** The first number that was not the next one. */
  outOfOrder: number | undefined;
  private readonly socket: Socket;
  private readonly options: ReaderOptions;
  private rest: Buffer = Buffer.alloc(0);
  private wanted = Number.POSITIVE_INFINITY;
  private arrived: (() => void) | undefined;

  constructor(client: RawClient, options: ReaderOptions = {}) {
    this.socket = client.socket;
    this.options = options;
    this.socket.removeAllListeners("data");
    this.socket.on("data", (chunk: Buffer) => this.read(chunk));
  }

  /** Resolves when that many have come, and are acknowledged. */
  async until(count: number): Promise<void> {
    this.wanted = count;
    if (this.received < count) await new Promise<void>((resolve) => (this.arrived = resolve));
    if (this.options.ackEvery) this.acknowledge();
  }

  private read(chunk: Buffer): void {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 8) {
      const size = bytes.readUInt32BE(at + 3);
      if (bytes.length - at < size + 8) break;
      if (bytes[at] === FrameType.Body) this.note(bytes.readUInt32BE(at + 7));
      at += size + 8;
    }
    this.rest = bytes.subarray(at);
    const { ackEvery = 0 } = this.options;
    if (ackEvery > 0 && this.received - this.acknowledged >= ackEvery) this.acknowledge();
    this.options.onRead?.();
    if (this.received >= this.wanted) this.arrived?.();
  }

  private note(number: number): void {
    if (number !== this.received) this.outOfOrder ??= number;
    this.received++;
  }

  /** Delivery tags count from 1, like what was received. */
  private acknowledge(): void {
    if (this.acknowledged === this.received) return;
    this.acknowledged = this.received;
    const ack = { id: MethodId.BasicAck, deliveryTag: BigInt(this.received), multiple: true } as const;
    this.socket.write(encodeFrame(FrameType.Method, 1, encodeMethod(ack)));
  }
}

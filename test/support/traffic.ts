/**
 * Traffic through one queue while something else is tested: messages of 1 KiB to 16 KiB, published with confirms and
 * consumed with acknowledgements as fast as the broker can, and remembered by their numbers across the broker's deaths.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { FrameType, MethodId } from "../../src/wire/index.ts";
import { ack, consume, declareQueue, publishMethod } from "./methods.ts";
import { Random } from "./random.ts";
import { encodeFrame, encodeHeader, encodeMethod, RawClient } from "./raw-client.ts";

const queue = "traffic";
const leastBytes = 1 << 10;
const mostBytes = 16 << 10;
/** Bytes that may be on their way from the publisher to the consumer. */
const windowBytes = 8 << 20;
const blockBytes = 1 << 18;

export class Traffic {
  publishedBytes = 0;
  published = 0;
  received = 0;
  /** Came again although they had been acknowledged: just before a kill that is allowed. */
  cameAgain = 0;
  /** What was wrong with the first message that was not as it had been sent. */
  wrong: string | undefined;
  private readonly persistent: boolean;
  /** Messages that the consumer must still get. */
  private readonly awaited = new Set<number>();
  private awaitedBytes = 0;
  /** Messages that were not confirmed when the broker died: they may come, or not. */
  private readonly doubtful = new Set<number>();
  /** The number of the message that the publisher's connection sent first. */
  private firstNumber = 0;
  private confirmed = 0;
  private publisher: RawClient | undefined;
  private consumer: RawClient | undefined;
  private onProgress: (() => void) | undefined;

  constructor(options: { persistent: boolean }) {
    this.persistent = options.persistent;
  }

  /** Connects to the broker, or to the one that came after it. */
  async connect(port: number): Promise<void> {
    this.publisher = await RawClient.login(port);
    const declare = declareQueue(queue, { durable: this.persistent });
    await this.publisher.call(1, declare, MethodId.QueueDeclareOk);
    await this.publisher.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
    this.firstNumber = this.published;
    this.confirmed = this.published;
    readFrames(this.publisher.socket, (frame) => this.confirm(frame), this.wake);

    this.consumer = await RawClient.login(port);
    this.consumer.method(1, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 500, global: false });
    this.consumer.method(1, consume(queue));
    const { socket } = this.consumer;
    let delivered = 0;
    const receive = (frame: Buffer): void => {
      if (frame[0] !== FrameType.Body) return;
      delivered++;
      this.receive(frame.subarray(7, -1));
    };
    let acknowledged = 0;
    readFrames(socket, receive, () => {
      if (delivered > acknowledged) {
        // Delivery tags count from 1.
        acknowledged = delivered;
        socket.write(encodeFrame(FrameType.Method, 1, encodeMethod(ack(delivered, true))));
      }
      this.wake();
    });
  }

  /** Publishes until so many bytes have been published in all. The last of them are still on their way then. */
  async publishUpTo(totalBytes: number): Promise<void> {
    const { socket } = this.publisher!;
    while (this.publishedBytes < totalBytes) {
      await this.until(() => this.awaitedBytes < windowBytes);
      if (!socket.write(this.block(totalBytes))) await once(socket, "drain");
    }
  }

  /** Resolves when all that was published is confirmed and has been received. */
  async finish(): Promise<void> {
    await this.until(() => this.confirmed === this.published && this.awaited.size === 0);
  }

  /** Lets the connections go. What was not confirmed is in doubt from now on. */
  async disconnect(): Promise<void> {
    await Promise.all([this.publisher?.close(), this.consumer?.close()]);
    for (let number = this.confirmed; number < this.published; number++) {
      if (this.arrived(number)) this.doubtful.add(number);
    }
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.publisher!.ended || this.consumer!.ended)
        throw new Error("a connection of the traffic has ended");
      await new Promise<void>((resolve) => (this.onProgress = resolve));
    }
  }

  private readonly wake = (): void => this.onProgress?.();

  private confirm(frame: Buffer): void {
    if (frame[0] !== FrameType.Method || frame.readUInt32BE(7) !== MethodId.BasicAck) return;
    // Confirms come in the order of their tags, so that multiple or not makes no difference.
    this.confirmed = this.firstNumber + Number(frame.readBigUInt64BE(11));
  }

  private receive(body: Buffer): void {
    const number = body.readUInt32BE();
    this.received++;
    if (!body.subarray(4).equals(restOf(number))) this.wrong ??= `message ${number} has other bytes`;
    if (this.arrived(number) || this.doubtful.delete(number)) return;
    if (number >= this.published) this.wrong ??= `message ${number} was never sent`;
    this.cameAgain++;
  }

  /** No longer awaits a message; false when it was not awaited. */
  private arrived(number: number): boolean {
    if (!this.awaited.delete(number)) return false;
    this.awaitedBytes -= bytesOf(number);
    return true;
  }

  private block(totalBytes: number): Buffer {
    const pieces: Uint8Array[] = [];
    for (let bytes = 0; bytes < blockBytes && this.publishedBytes < totalBytes;) {
      const number = this.published++;
      const body = Buffer.alloc(bytesOf(number));
      body.writeUInt32BE(number);
      restOf(number).copy(body, 4);
      this.awaited.add(number);
      this.awaitedBytes += body.length;
      this.publishedBytes += body.length;
      bytes += body.length;
      const properties = this.persistent ? { deliveryMode: 2 } : {};
      pieces.push(publishFrame, encodeFrame(FrameType.Header, 1, encodeHeader(body.length, properties)));
      pieces.push(encodeFrame(FrameType.Body, 1, body));
    }
    return Buffer.concat(pieces);
  }
}

const publishFrame = encodeFrame(FrameType.Method, 1, encodeMethod(publishMethod("", queue)));
const noise = Buffer.alloc(mostBytes * 2);
const random = new Random(1);
for (let at = 0; at < noise.length; at += 4) noise.writeUInt32LE(random.below(2 ** 32), at);

/** Each length comes about as often as any other. */
function bytesOf(number: number): number {
  return leastBytes + ((Math.imul(number, 0x9e3779b1) >>> 0) % (mostBytes - leastBytes + 1));
}

/** What follows the number in a message's body. */
function restOf(number: number): Buffer {
  const from = number % mostBytes;
  return noise.subarray(from, from + bytesOf(number) - 4);
}

/** Takes over what a socket receives: visits each frame, and calls `afterChunk` after those of each chunk, and at the end. */
function readFrames(socket: Socket, visit: (frame: Buffer) => void, afterChunk: () => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.removeAllListeners("data");
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 8) {
      const length = bytes.readUInt32BE(at + 3) + 8;
      if (bytes.length - at < length) break;
      visit(bytes.subarray(at, at + length));
      at += length;
    }
    rest = bytes.subarray(at);
    afterChunk();
  });
  socket.on("close", afterChunk);
}

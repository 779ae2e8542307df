import { connect, type Socket } from "node:net";
import {
  channelOpen,
  closeReason,
  connectionOpen,
  FRAME_MAX_BYTES,
  FRAME_OVERHEAD_BYTES,
  FrameType,
  Method,
  protocolHeader,
  startOk,
  tuneOk,
} from "./wire.ts";

/** Looks at the frames in `bytes[0, end)` and returns how many bytes of whole frames it has taken. */
export type Scan = (bytes: Buffer, view: DataView, end: number) => number;

// Twice the largest frame: the start of a cut frame always leaves room for its end.
const READ_BUFFER_BYTES = 2 * FRAME_MAX_BYTES;
const REPLY_TIMEOUT_MS = 60_000; // deleting a queue with a large backlog takes RabbitMQ seconds

/** One socket with one open channel. Bytes arrive in one static buffer and are read in place. */
export class LoadConnection {
  readonly socket: Socket;
  serverVersion = "unknown";
  private readonly bytes: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  private readonly view: DataView = new DataView(this.bytes.buffer);
  private restBytes = 0;
  private scan: Scan = (bytes, view, end) => this.scanReplies(bytes, view, end);
  private handedOver = false;
  private awaited: { method: number; resolve(payload: Buffer): void; reject(error: Error): void } | undefined;
  private failure: Error | undefined;
  private closing = false;

  /** Connects as guest and opens channel 1. */
  static async open(port: number): Promise<LoadConnection> {
    const connection = new LoadConnection(port);
    connection.serverVersion = versionIn(await connection.call(protocolHeader, Method.ConnectionStart));
    const tune = await connection.call(startOk("guest", "guest"), Method.ConnectionTune);
    connection.socket.write(tuneOk(tune.readUInt16BE(4), FRAME_MAX_BYTES));
    await connection.call(connectionOpen("/"), Method.ConnectionOpenOk);
    await connection.call(channelOpen(), Method.ChannelOpenOk);
    return connection;
  }

  private constructor(port: number) {
    this.socket = connect({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: {
        buffer: () => (this.restBytes === 0 ? this.bytes : this.bytes.subarray(this.restBytes)),
        callback: (readBytes) => this.read(readBytes),
      },
    });
    this.socket.on("error", (error) => this.fail(error));
    this.socket.on("close", () => this.fail(new Error("the broker closed the connection")));
  }

  /** Sends a method and waits for its answer; the payload starts with the class id. */
  async call(request: Buffer, answer: number): Promise<Buffer> {
    if (this.failure) throw this.failure;
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.awaited = { method: answer, resolve, reject };
    const timer = setTimeout(() => this.fail(new Error("the broker did not answer")), REPLY_TIMEOUT_MS);
    this.socket.write(request);
    return promise.finally(() => clearTimeout(timer));
  }

  /** From here on, frames go to `scan`. If the connection breaks then, that ends this process. */
  scanWith(scan: Scan): void {
    this.scan = scan;
    this.handedOver = true;
  }

  close(): void {
    this.closing = true;
    this.socket.destroy();
  }

  private read(readBytes: number): boolean {
    const end = this.restBytes + readBytes;
    const taken = this.scan(this.bytes, this.view, end);
    this.restBytes = end - taken;
    if (this.restBytes > 0 && taken > 0) this.bytes.copyWithin(0, taken, end);
    return true;
  }

  private scanReplies(bytes: Buffer, view: DataView, end: number): number {
    let at = 0;
    while (end - at >= FRAME_OVERHEAD_BYTES) {
      const next = at + FRAME_OVERHEAD_BYTES + view.getInt32(at + 3);
      if (next > end) break;
      if (bytes[at] === FrameType.Method) this.answered(Buffer.from(bytes.subarray(at + 7, next - 1)));
      at = next;
    }
    return at;
  }

  private answered(payload: Buffer): void {
    const method = payload.readUInt32BE(0);
    if (method !== this.awaited?.method) {
      this.fail(unexpected(method, payload));
      return;
    }
    const waiting = this.awaited;
    this.awaited = undefined;
    waiting.resolve(payload);
  }

  private fail(error: Error): void {
    if (this.closing || this.failure) return;
    this.failure = error;
    this.socket.destroy();
    if (this.handedOver) throw error; // nobody calls any more, so nobody would hear of it
    this.awaited?.reject(error);
    this.awaited = undefined;
  }
}

/** The `version` among the server properties of connection.start: enough to name the broker, without a table decoder. */
function versionIn(start: Buffer): string {
  const key = "version";
  const at = start.indexOf(`${key}S`); // S: a long string follows, its length in four bytes (AMQP 0-9-1 §4.2.5.5)
  if (at < 0) return "unknown";
  const lengthAt = at + key.length + 1;
  return start.toString("utf8", lengthAt + 4, lengthAt + 4 + start.readUInt32BE(lengthAt));
}

/** The error for a method that should not have come: usually the broker closing the channel, with its reason. */
export function unexpected(method: number, payload: Buffer): Error {
  const closed = method === Method.ConnectionClose || method === Method.ChannelClose;
  const name = `method ${method >>> 16}.${method & 0xffff}`;
  return new Error(closed ? `closed by the broker: ${closeReason(payload)}` : `unexpected ${name}`);
}

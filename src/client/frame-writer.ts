import {
  basicClassId,
  ByteWriter,
  frameEnd,
  FrameType,
  MethodId,
  writeMethod,
  writeProperties,
  type Method,
} from "../wire/index.ts";
import type { Publication } from "./channel.ts";

const keptCapacity = 1 << 20;
/** So much goes out at once: a broker can store the first of many messages while the others are being written (1.4 times as many a second). */
const earlyBytes = 16_384;
const aroundPayload = 8;

/**
 * Frames gather here, and all that came in one turn of the event loop go out in one write: a sender that made a write of each
 * message would spend most of its time in system calls (see docs/benchmarks.md, tasks).
 *
 * What it is given may throw a RangeError, for names of more than 255 bytes: nothing of it is sent then.
 */
export class FrameWriter {
  frameMax = 4096;
  private readonly write: (bytes: Buffer) => void;
  private writer = new ByteWriter(1 << 16);
  private isScheduled = false;

  constructor(write: (bytes: Buffer) => void) {
    this.write = write;
  }

  method(channel: number, method: Method): void {
    this.frame(FrameType.Method, channel, (writer) => writeMethod(writer, method));
  }

  heartbeat(): void {
    this.frame(FrameType.Heartbeat, 0, () => {});
  }

  /** A `basic.publish` with its content. */
  publish(channel: number, { exchange, routingKey, mandatory, properties, body }: Publication): void {
    const before = this.writer.length;
    try {
      this.method(channel, { id: MethodId.BasicPublish, exchange, routingKey, mandatory, immediate: false });
      this.frame(FrameType.Header, channel, (writer) => {
        writer.short(basicClassId);
        writer.short(0);
        writer.longlong(BigInt(body.length));
        writeProperties(writer, properties);
      });
    } catch (error) {
      this.writer.length = before;
      throw error;
    }
    const most = this.frameMax - aroundPayload;
    for (let at = 0; at < body.length; at += most) {
      const part = body.length <= most ? body : body.subarray(at, at + most);
      this.frame(FrameType.Body, channel, (writer) => writer.raw(part));
    }
    if (this.writer.length >= earlyBytes) this.flush();
  }

  /** Writes now what has gathered. */
  flush(): void {
    if (this.writer.length === 0) return;
    this.write(Buffer.from(this.writer.written()));
    if (this.writer.length > keptCapacity) this.writer = new ByteWriter(1 << 16);
    else this.writer.reset();
  }

  private frame(type: number, channel: number, payload: (writer: ByteWriter) => void): void {
    const { writer } = this;
    const before = writer.length;
    try {
      writer.octet(type);
      writer.short(channel);
      writer.lengthPrefixed(() => payload(writer));
      writer.octet(frameEnd);
    } catch (error) {
      // Half a frame would end the connection, for everybody on it.
      writer.length = before;
      throw error;
    }
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush();
    });
  }
}

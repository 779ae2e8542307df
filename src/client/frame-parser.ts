import { frameEnd, MalformedError } from "../wire/index.ts";

/** Takes the payload of a frame: `bytes[start, end)`, which stays as it is. */
export type OnFrame = (type: number, channel: number, bytes: Buffer, start: number, end: number) => void;

const headerBytes = 7;

/** Cuts what arrives into frames (AMQP 0-9-1 §4.2.3). */
export class FrameParser {
  /** Of a frame, without the eight bytes around its payload. Until it is agreed, what no greeting is as long as. */
  maxPayload: number = 131_064;
  private readonly onFrame: OnFrame;
  private rest: Buffer | undefined;

  constructor(onFrame: OnFrame) {
    this.onFrame = onFrame;
  }

  /** @throws MalformedError for what is no frame, and what {@link OnFrame} throws */
  push(chunk: Buffer): void {
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    this.rest = undefined;
    let at = 0;
    while (bytes.length - at > headerBytes) {
      const size = bytes.readUInt32BE(at + 3);
      if (size > this.maxPayload) throw new MalformedError(`a frame of ${size} bytes is longer than agreed`);
      const end = at + headerBytes + size;
      if (end >= bytes.length) break;
      if (bytes[end] !== frameEnd) throw new MalformedError("a frame does not end where it says");
      this.onFrame(bytes[at], bytes.readUInt16BE(at + 1), bytes, at + headerBytes, end);
      at = end + 1;
    }
    if (at < bytes.length) this.rest = bytes.subarray(at);
  }
}

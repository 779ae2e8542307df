/**
 * Hot path: reads every publish whose frames arrived together. Benchmark: T16, T1K, P1K in bench/.
 */
import { ConnectionError } from "../errors.ts";
import { MessageView } from "../storage/index.ts";
import { FrameType, frameEnd, MalformedError, ReplyCode } from "../../wire/index.ts";

/** Reads basic.publish and its content where they stand in the read buffer, without copying or decoding. */
export class PublishFrames {
  /** Of the method read last. */
  mandatory = false;
  routeAt = 0;
  routeEnd = 0;
  /** The message read last; its bytes are the read buffer's. */
  readonly message: MessageView = new MessageView();

  /**
   * Reads the method frame `bytes[at, next)`.
   * @throws MalformedError, ConnectionError 540
   */
  readMethod(bytes: Uint8Array, at: number, next: number): void {
    // Payload: method id, a reserved short, exchange, routing key, bits.
    const routeAt = at + 13;
    const keyAt = routeAt + 1 + bytes[routeAt];
    const bitsAt = keyAt + 1 + (keyAt < next ? bytes[keyAt] : 0);
    if (bitsAt !== next - 2) {
      throw new MalformedError("basic.publish's exchange and routing key do not fill its frame");
    }
    const bits = bytes[bitsAt];
    if (bits & 2) throw new ConnectionError(ReplyCode.NotImplemented, "immediate=true");
    this.mandatory = (bits & 1) !== 0;
    this.routeAt = routeAt;
    this.routeEnd = bitsAt;
  }

  /**
   * Reads the content of the method read last, which starts at `at`, into `message`. Returns where it ends; 0 when it is
   * not there in exactly one header frame and at most one body frame, or is not plainly right: then it has to be put
   * together frame by frame.
   */
  readContent(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    end: number,
    channel: number,
    frameMax: number,
    maxBodyBytes: number,
  ): number {
    const headerEnd = wholeFrame(bytes, view, at, end, FrameType.Header, channel, frameMax);
    // At least class basic, weight 0, body size and property flags.
    if (headerEnd - at < 22 || view.getInt32(at + 7) !== 0x003c_0000) return 0;
    const bodyLength = view.getUint32(at + 15);
    if (view.getUint32(at + 11) !== 0 || bodyLength > maxBodyBytes) return 0;
    let contentEnd = headerEnd;
    if (bodyLength > 0) {
      contentEnd = wholeFrame(bytes, view, headerEnd, end, FrameType.Body, channel, frameMax);
      if (contentEnd - headerEnd - 8 !== bodyLength) return 0;
    }
    const { message } = this;
    message.bytes = bytes;
    message.view = view;
    message.routeAt = this.routeAt;
    message.routeLength = this.routeEnd - this.routeAt;
    message.propertiesAt = at + 19;
    message.propertiesLength = headerEnd - 1 - message.propertiesAt;
    message.bodyAt = headerEnd + 7;
    message.bodyLength = bodyLength;
    return contentEnd;
  }
}

/** Where the frame at `at` ends, if it is wholly there and of this type and channel; 0 otherwise. */
function wholeFrame(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  type: number,
  channel: number,
  frameMax: number,
): number {
  if (end - at < 8 || bytes[at] !== type || view.getUint16(at + 1) !== channel) return 0;
  const next = at + 8 + view.getUint32(at + 3);
  return next <= end && next - at <= frameMax && bytes[next - 1] === frameEnd ? next : 0;
}

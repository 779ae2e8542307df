import { basicClassId, MalformedError, ReplyCode } from "../../wire/index.ts";
import { ChannelError, ConnectionError } from "../errors.ts";
import { MessageView, storedHeaderBytes } from "../storage/index.ts";

const firstBodyBuffer = 16 << 10;

/**
 * Puts together a message that arrives in several frames or reads: its route (from basic.publish), then the content
 * header, then body frames. Frames of other channels may come in between. The message grows in a buffer laid out as a
 * stored message, so that a large one needs no other copy.
 */
export class ContentAssembly {
  readonly mandatory: boolean;
  readonly message: MessageView = new MessageView();
  private readonly route: Uint8Array;
  private readonly maxBodyBytes: number;
  private expected = -1;
  private received = 0;

  /** `route` is copied. */
  constructor(route: Uint8Array, mandatory: boolean, maxBodyBytes: number) {
    this.route = route.slice();
    this.mandatory = mandatory;
    this.maxBodyBytes = maxBodyBytes;
  }

  /** What the header has announced. */
  get bodyBytes(): number {
    return this.expected;
  }

  /** Whether a body frame of so many bytes would complete the message. */
  endsWith(frameBytes: number): boolean {
    return this.received + frameBytes >= this.expected;
  }

  get hasHeader(): boolean {
    return this.expected >= 0;
  }

  /**
   * Takes the payload of a content header frame. True when the message is complete with it: its body is empty.
   * @throws MalformedError when it is too short; ConnectionError 505 when it is not a header of class basic; ChannelError 406 when the body is too large.
   */
  header(payload: Uint8Array): boolean {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    if (payload.length < 14)
      throw new MalformedError(`a content header has ${payload.length} bytes; 14 is the least`);
    if (this.hasHeader || view.getUint16(2) !== 0) throw notAHeader();
    if (view.getUint16(0) !== basicClassId) {
      throw new ConnectionError(
        ReplyCode.UnexpectedFrame,
        `expected content header for class ${basicClassId}, got one for class ${view.getUint16(0)} instead`,
      );
    }
    const bodySize = view.getBigUint64(4);
    if (bodySize > BigInt(this.maxBodyBytes)) {
      throw new ChannelError(
        ReplyCode.PreconditionFailed,
        `message size ${bodySize} is larger than configured max size ${this.maxBodyBytes}`,
      );
    }
    this.expected = Number(bodySize);
    this.begin(payload.subarray(12));
    return this.expected === 0;
  }

  /**
   * Takes the payload of a body frame. True when the message is complete with it.
   * @throws ConnectionError 501 when there is more body than the header announced.
   */
  body(payload: Uint8Array): boolean {
    if (!this.hasHeader) throw notAHeader();
    const received = this.received + payload.length;
    if (received > this.expected) {
      throw new ConnectionError(
        ReplyCode.FrameError,
        `a content body of ${this.expected} bytes was announced, but at least ${received} were sent`,
      );
    }
    const { message } = this;
    const end = message.bodyAt + received;
    if (end > message.bytes.length) this.grow(end);
    message.bytes.set(payload, message.bodyAt + this.received);
    this.received = received;
    return received === this.expected;
  }

  private begin(properties: Uint8Array): void {
    const { message, route } = this;
    message.routeAt = storedHeaderBytes;
    message.routeLength = route.length;
    message.propertiesAt = message.routeAt + route.length;
    message.propertiesLength = properties.length;
    message.bodyAt = message.propertiesAt + properties.length;
    message.bodyLength = this.expected;
    message.owned = true;
    // Memory follows what has arrived, not what was announced: an announcement costs the sender nothing.
    this.useBuffer(new Uint8Array(message.bodyAt + Math.min(this.expected, firstBodyBuffer)));
    message.bytes.set(route, message.routeAt);
    message.bytes.set(properties, message.propertiesAt);
  }

  private grow(needed: number): void {
    const { message } = this;
    const whole = message.bodyAt + this.expected;
    const grown = new Uint8Array(Math.min(whole, Math.max(needed, message.bytes.length * 2)));
    grown.set(message.bytes.subarray(0, message.bodyAt + this.received));
    this.useBuffer(grown);
  }

  private useBuffer(bytes: Uint8Array): void {
    this.message.bytes = bytes;
    this.message.view = new DataView(bytes.buffer);
  }
}

/** The frame that was due is a content header for basic.publish. In RabbitMQ's words. */
export function notAHeader(): ConnectionError {
  return new ConnectionError(
    ReplyCode.UnexpectedFrame,
    `expected content header for class ${basicClassId}, got non content header frame instead`,
  );
}

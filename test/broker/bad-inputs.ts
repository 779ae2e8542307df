/**
 * What no client should send, and the answer that is due: the reply code, and whether it ends the channel or the
 * connection. All of it is sent on an open connection with channel 1.
 */
import { ByteWriter, FrameType, MethodId } from "../../src/wire/index.ts";
import { ack, declareQueue, publishMethod } from "../support/methods.ts";
import { encodeFrame, encodeHeader, encodeMethod } from "../support/raw-client.ts";

export interface BadInput {
  readonly name: string;
  readonly bytes: readonly Uint8Array[];
  readonly code: number;
  readonly ends: "connection" | "channel";
  /** What RabbitMQ does instead; undefined where it answers the same. */
  readonly rabbitmq?: string;
}

const { Method, Header, Body, Heartbeat } = FrameType;
const publish = encodeFrame(Method, 1, encodeMethod(publishMethod("", "nowhere")));
const ackOne = ack(1);
const tooLarge = (128 << 20) + 1;

const wrongFrames: readonly BadInput[] = [
  connection(501, "a frame without its end octet", replaced(method(1, declareQueue("")), -1, 0)),
  connection(501, "a frame larger than frame-max", frameHead(Body, 1, 131_073)),
  connection(501, "a length of 0xffffffff", frameHead(Method, 1, 0xffff_ffff)),
  connection(501, "a length that is negative to who takes it for signed", frameHead(Body, 1, 0x8000_0000)),
  connection(501, "a heartbeat with a huge length", frameHead(Heartbeat, 0, 0x7fff_ffff)),
  connection(501, "an unknown frame type", encodeFrame(5, 1, Uint8Array.of(1, 2, 3))),
  connection(501, "frame type 0", encodeFrame(0, 0, new Uint8Array(0))),
  connection(501, "a heartbeat with a payload", encodeFrame(Heartbeat, 0, Uint8Array.of(1))),
  connection(505, "a heartbeat on a channel", encodeFrame(Heartbeat, 1, new Uint8Array(0))),
  connection(501, "a method frame of three bytes", encodeFrame(Method, 1, Uint8Array.of(0, 50, 0))),
  connection(501, "an empty method frame", encodeFrame(Method, 1, new Uint8Array(0))),
];

const wrongMethods: readonly BadInput[] = [
  ...unlike("hangs up without a word", [
    connection(503, "an unknown class", encodeFrame(Method, 1, Uint8Array.of(0, 99, 0, 10))),
    connection(503, "an unknown method", encodeFrame(Method, 1, Uint8Array.of(0, 50, 0, 99))),
  ]),
  connection(503, "a method of the server's", method(1, { id: MethodId.BasicRecoverOk })),
  connection(501, "arguments that end early", cut(method(1, declareQueue("q")), 3)),
  connection(501, "a name that ends early", cut(method(1, declareQueue("a-long-name")), 14)),
  connection(501, "arguments with a byte too many", padded(method(1, declareQueue("")), 1)),
  connection(501, "basic.publish that ends early", cut(publish, 2)),
  connection(501, "basic.publish with a byte too many", padded(publish, 1)),
  connection(501, "basic.publish without arguments", cut(publish, publish.length - 12)),
  connection(501, "basic.ack that ends early", cut(method(1, ackOne), 4)),
  connection(501, "basic.ack with a byte too many", padded(method(1, ackOne), 1)),
  connection(504, "a method on a channel that is not open", method(7, declareQueue(""))),
  connection(
    504,
    "basic.publish on a channel that is not open",
    onChannel(7, publish),
    onChannel(7, header(0)),
  ),
  connection(504, "basic.ack on a channel that is not open", method(7, ackOne)),
  connection(504, "a second channel.open", method(1, { id: MethodId.ChannelOpen })),
  connection(504, "a channel's method on channel 0", method(0, declareQueue(""))),
  connection(504, "basic.publish on channel 0", onChannel(0, publish)),
  connection(504, "channel.open on channel 0", method(0, { id: MethodId.ChannelOpen })),
  connection(504, "a second connection.open", method(0, { id: MethodId.ConnectionOpen, virtualHost: "/" })),
  connection(540, "basic.publish with immediate", replaced(publish, -2, 2), header(0)),
];

const wrongTables: readonly BadInput[] = [
  table("longer than its frame", 0, 0, 0, 99),
  table("of a length of 0xffffffff", 255, 255, 255, 255),
  ...unlike("hangs up without a word", [
    table("with a key without a value", 0, 0, 0, 2, 1, 97),
    table("with a key that crosses its end", 0, 0, 0, 2, 200, 97),
    table("with a value of an unknown type", 0, 0, 0, 4, 1, 97, 122, 0),
    table("with a number that crosses its end", 0, 0, 0, 5, 1, 97, 108, 0, 0),
    table("with a string of a length of 0xffffffff", 0, 0, 0, 7, 1, 97, 83, 255, 255, 255, 255),
    table("with an array that crosses its end", 0, 0, 0, 7, 1, 97, 65, 0, 0, 0, 9),
    table("with a table that crosses its end", 0, 0, 0, 7, 1, 97, 70, 128, 0, 0, 0),
  ]),
  ...unlike("takes it", [table("nested a thousand deep", ...nested(1000))]),
];

const wrongContent: readonly BadInput[] = [
  connection(505, "a content header without basic.publish", header(0)),
  connection(505, "a body without basic.publish", body(3)),
  connection(505, "a body after basic.publish", publish, body(3)),
  connection(505, "a second content header", publish, header(3), header(3)),
  connection(505, "a method in place of a content header", publish, method(1, declareQueue(""))),
  connection(
    505,
    "a method in the middle of a content",
    publish,
    header(9),
    body(3),
    method(1, declareQueue("")),
  ),
  connection(505, "basic.publish in the middle of a content", publish, header(9), body(3), publish),
  connection(505, "basic.ack in the middle of a content", publish, header(9), body(3), method(1, ackOne)),
  connection(505, "a body after the whole content", publish, header(3), body(3), body(3)),
  connection(505, "a body after a content without one", publish, header(0), body(1)),
  connection(505, "a content header for another class", publish, replaced(header(3), 8, 50), body(3)),
  connection(501, "a content header of a few bytes", publish, encodeFrame(Header, 1, new Uint8Array(5))),
  ...unlike("waits for more", [
    connection(501, "a body longer than announced", publish, header(3), body(4)),
    connection(501, "bodies that are together longer than announced", publish, header(3), body(2), body(2)),
  ]),
  ...unlike("looks at the size when all has come", [
    channel(406, "a body of more than 128 MiB", publish, header(tooLarge), body(9), body(9)),
    channel(406, "a body of 2^32 + 3 bytes", publish, header(0x1_0000_0003n), body(3)),
    channel(406, "a body of 2^63 bytes", publish, header(1n << 63n), body(3)),
    channel(406, "a body of 2^64 - 1 bytes", publish, header((1n << 64n) - 1n), body(3)),
  ]),
];

const wrongProperties = unlike("answers 541, or takes what it has no need to decode", [
  properties("without flags"),
  properties("of half a flags field", 0x80),
  properties("with flags but no values", 0xff, 0xfc),
  properties("with a flag for more flags", 0x00, 0x01, 0x00, 0x00),
  properties("with a flag that class basic does not define", 0x00, 0x02),
  properties("with a byte too many", 0x00, 0x00, 0x00),
  properties("with a string that crosses their end", 0x80, 0x00, 200, 97),
  properties("with a timestamp cut short", 0x00, 0x40, 0, 0, 0),
  properties("with headers longer than themselves", 0x20, 0x00, 255, 255, 255, 255),
  properties("with headers of an unknown type", 0x20, 0x00, 0, 0, 0, 4, 1, 97, 122, 0),
  properties("with a header that crosses their end", 0x20, 0x00, 0, 0, 0, 4, 1, 97, 108, 0),
  properties("with headers nested a thousand deep", 0x20, 0x00, ...nested(1000)),
]);

export const badInputs: readonly BadInput[] = [
  ...wrongFrames,
  ...wrongMethods,
  ...wrongTables,
  ...wrongContent,
  ...wrongProperties,
];

/** Marks what RabbitMQ is not held to, and says what it does instead. */
function unlike(rabbitmq: string, inputs: readonly BadInput[]): readonly BadInput[] {
  return inputs.map((input) => ({ ...input, rabbitmq }));
}

function connection(code: number, name: string, ...bytes: Uint8Array[]): BadInput {
  return { name, bytes, code, ends: "connection" };
}

function channel(code: number, name: string, ...bytes: Uint8Array[]): BadInput {
  return { name, bytes, code, ends: "channel" };
}

/** queue.declare with these bytes for its arguments. */
function table(what: string, ...bytes: number[]): BadInput {
  const payload = new ByteWriter();
  payload.long(MethodId.QueueDeclare);
  payload.short(0);
  payload.shortstr("");
  payload.octet(0);
  payload.raw(Uint8Array.from(bytes));
  return connection(501, `a table ${what}`, encodeFrame(Method, 1, payload.written()));
}

/** A message of three bytes with these bytes for its property flags and values. */
function properties(what: string, ...bytes: number[]): BadInput {
  const payload = new ByteWriter();
  payload.raw(encodeHeader(3).subarray(0, 12));
  payload.raw(Uint8Array.from(bytes));
  return connection(501, `properties ${what}`, publish, encodeFrame(Header, 1, payload.written()), body(3));
}

/** A table in a table in a table …, as bytes. */
function nested(depth: number): number[] {
  let bytes = [0, 0, 0, 0];
  for (let level = 1; level < depth; level++) {
    const length = bytes.length + 3;
    bytes = [0, 0, length >> 8, length & 255, 1, 97, 70, ...bytes];
  }
  return bytes;
}

function method(channelId: number, content: Parameters<typeof encodeMethod>[0]): Uint8Array {
  return encodeFrame(Method, channelId, encodeMethod(content));
}

function header(bodySize: number | bigint): Uint8Array {
  return encodeFrame(Header, 1, encodeHeader(bodySize));
}

function body(size: number): Uint8Array {
  return encodeFrame(Body, 1, new Uint8Array(size).fill(120));
}

/** The start of a frame of that length, and one byte of its payload. */
function frameHead(type: number, channelId: number, length: number): Uint8Array {
  const head = encodeFrame(type, channelId, new Uint8Array(0));
  new DataView(head.buffer, head.byteOffset).setUint32(3, length);
  return head;
}

/** The frame with one byte changed; negative positions count from its end. */
function replaced(frame: Uint8Array, at: number, byte: number): Uint8Array {
  const changed = frame.slice();
  changed[at < 0 ? frame.length + at : at] = byte;
  return changed;
}

/** The frame without the last bytes of its payload. */
function cut(frame: Uint8Array, count: number): Uint8Array {
  return encodeFrame(frame[0], frame[2], frame.subarray(7, frame.length - 1 - count));
}

/** The frame with more zeros in its payload. */
function padded(frame: Uint8Array, count: number): Uint8Array {
  const payload = new Uint8Array(frame.length - 8 + count);
  payload.set(frame.subarray(7, -1));
  return encodeFrame(frame[0], frame[2], payload);
}

function onChannel(channelId: number, frame: Uint8Array): Uint8Array {
  return encodeFrame(frame[0], channelId, frame.subarray(7, -1));
}

// The few AMQP 0-9-1 frames the generator needs. It shares no code with the broker on purpose: a mistake in the
// broker's own codec must not cancel itself out here.
import { delayMs, type LoadPlan, type QueueKind } from "./plan.ts";

export const FrameType = { Method: 1, Header: 2, Body: 3 } as const;
export const FRAME_OVERHEAD_BYTES = 8;
/** What we ask for in connection.tune-ok; RabbitMQ's own default. */
export const FRAME_MAX_BYTES = 131_072;

const FRAME_END = 0xce;
const CHANNEL = 1;

/** Class id in the high half, method id in the low half: how the two appear on the wire. */
export const Method = {
  ConnectionStart: 0x000a_000a,
  ConnectionStartOk: 0x000a_000b,
  ConnectionTune: 0x000a_001e,
  ConnectionTuneOk: 0x000a_001f,
  ConnectionOpen: 0x000a_0028,
  ConnectionOpenOk: 0x000a_0029,
  ConnectionClose: 0x000a_0032,
  ChannelOpen: 0x0014_000a,
  ChannelOpenOk: 0x0014_000b,
  ChannelClose: 0x0014_0028,
  ExchangeDeclare: 0x0028_000a,
  ExchangeDeclareOk: 0x0028_000b,
  QueueDeclare: 0x0032_000a,
  QueueDeclareOk: 0x0032_000b,
  QueueBind: 0x0032_0014,
  QueueBindOk: 0x0032_0015,
  QueuePurge: 0x0032_001e,
  QueuePurgeOk: 0x0032_001f,
  QueueDelete: 0x0032_0028,
  QueueDeleteOk: 0x0032_0029,
  BasicQos: 0x003c_000a,
  BasicQosOk: 0x003c_000b,
  BasicConsume: 0x003c_0014,
  BasicConsumeOk: 0x003c_0015,
  BasicPublish: 0x003c_0028,
  BasicDeliver: 0x003c_003c,
  BasicAck: 0x003c_0050,
  ConfirmSelect: 0x0055_000a,
  ConfirmSelectOk: 0x0055_000b,
} as const;

export const protocolHeader: Buffer = Buffer.from("AMQP\0\0\x09\x01", "latin1");

export function startOk(user: string, password: string): Buffer {
  const response = longString(`\0${user}\0${password}`);
  return method(
    0,
    Method.ConnectionStartOk,
    emptyTable,
    shortString("PLAIN"),
    response,
    shortString("en_US"),
  );
}

/** Heartbeats off: a run is short, and a saturated generator would miss them. */
export function tuneOk(channelMax: number, frameMaxBytes: number): Buffer {
  return method(0, Method.ConnectionTuneOk, uint16(channelMax), uint32(frameMaxBytes), uint16(0));
}

export function connectionOpen(vhost: string): Buffer {
  return method(0, Method.ConnectionOpen, shortString(vhost), shortString(""), octet(0));
}

export function channelOpen(): Buffer {
  return method(CHANNEL, Method.ChannelOpen, shortString(""));
}

export function queueDeclare(queue: string, durable: boolean, kind: QueueKind = "plain"): Buffer {
  const fields =
    kind === "priority"
      ? table(intField("x-max-priority", 10))
      : kind === "ttl"
        ? table(intField("x-message-ttl", 3_600_000))
        : emptyTable;
  return method(CHANNEL, Method.QueueDeclare, uint16(0), shortString(queue), octet(durable ? 2 : 0), fields);
}

/** The exchange to which messages of the kind "delayed" are published. */
const delayedExchange = "bench-delayed";

export function delayedExchangeDeclare(): Buffer {
  const type = [shortString("x-delayed-type"), Buffer.from("S"), longString("direct")];
  const names = [shortString(delayedExchange), shortString("x-delayed-message")];
  return method(CHANNEL, Method.ExchangeDeclare, uint16(0), ...names, octet(2), table(...type));
}

export function delayedExchangeBind(queue: string): Buffer {
  const names = [shortString(queue), shortString(delayedExchange), shortString(queue)];
  return method(CHANNEL, Method.QueueBind, uint16(0), ...names, octet(0), emptyTable);
}

export function queuePurge(queue: string): Buffer {
  return method(CHANNEL, Method.QueuePurge, uint16(0), shortString(queue), octet(0));
}

export function queueDelete(queue: string): Buffer {
  return method(CHANNEL, Method.QueueDelete, uint16(0), shortString(queue), octet(0));
}

export function confirmSelect(): Buffer {
  return method(CHANNEL, Method.ConfirmSelect, octet(0));
}

export function basicQos(prefetch: number): Buffer {
  return method(CHANNEL, Method.BasicQos, uint32(0), uint16(prefetch), octet(0));
}

export function basicConsume(queue: string, autoAck: boolean): Buffer {
  const names = [shortString(queue), shortString("load")];
  return method(CHANNEL, Method.BasicConsume, uint16(0), ...names, octet(autoAck ? 2 : 0), emptyTable);
}

/** Settles everything up to `deliveryTag`. */
export function basicAckMultiple(deliveryTag: number): Buffer {
  return method(CHANNEL, Method.BasicAck, uint64(deliveryTag), octet(1));
}

/** One basic.publish: method, header and as many body frames as the size needs. `number` counts a publisher's messages. */
export function publish(
  queue: string,
  plan: Pick<LoadPlan, "bodyBytes" | "persistent" | "kind">,
  number = 0,
): Buffer {
  const exchange = plan.kind === "delayed" ? delayedExchange : "";
  const target = [uint16(0), shortString(exchange), shortString(queue), octet(0)];
  const deliveryMode = octet(plan.persistent ? 2 : 1);
  let properties = [uint16(0x1000), deliveryMode];
  if (plan.kind === "priority") properties = [uint16(0x1800), deliveryMode, octet(number % 10)];
  if (plan.kind === "delayed")
    properties = [uint16(0x3000), table(intField("x-delay", delayMs)), deliveryMode];
  const header = Buffer.concat([uint16(60), uint16(0), uint64(plan.bodyBytes), ...properties]);
  const frames = [method(CHANNEL, Method.BasicPublish, ...target), frame(FrameType.Header, CHANNEL, header)];
  const bodyMaxBytes = FRAME_MAX_BYTES - FRAME_OVERHEAD_BYTES;
  for (let left = plan.bodyBytes; left > 0; left -= bodyMaxBytes) {
    frames.push(frame(FrameType.Body, CHANNEL, Buffer.alloc(Math.min(left, bodyMaxBytes), "x")));
  }
  return Buffer.concat(frames);
}

/** Where the body starts in what `publish` made: after the method and the header frame. */
export function bodyOffset(message: Buffer): number {
  const headerAt = FRAME_OVERHEAD_BYTES + message.readUInt32BE(3);
  return headerAt + FRAME_OVERHEAD_BYTES + message.readUInt32BE(headerAt + 3) + 7;
}

/** A close from the broker, in words. Connection and channel close begin with the same two fields. */
export function closeReason(payload: Buffer): string {
  const textBytes = payload[6];
  return `${payload.readUInt16BE(4)} ${payload.toString("utf8", 7, 7 + textBytes)}`;
}

function method(channel: number, id: number, ...fields: Buffer[]): Buffer {
  return frame(FrameType.Method, channel, Buffer.concat([uint32(id), ...fields]));
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([octet(type), uint16(channel), uint32(payload.length), payload, octet(FRAME_END)]);
}

function octet(value: number): Buffer {
  return Buffer.of(value);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function shortString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([octet(bytes.length), bytes]);
}

function longString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function table(...fields: Buffer[]): Buffer {
  const bytes = Buffer.concat(fields);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function intField(name: string, value: number): Buffer {
  return Buffer.concat([shortString(name), Buffer.from("I"), uint32(value)]);
}

const emptyTable: Buffer = Buffer.alloc(4);

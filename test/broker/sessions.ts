/**
 * What clients send in whole sessions, frame by frame, for mutating. A name stands in all of them where a queue,
 * exchange or consumer is named, so that each session can have names of its own.
 */
import { emptyTable, FrameType, MethodId, type FieldValue, type Method } from "../../src/wire/index.ts";
import { ack, bindQueue, consume, declareExchange, declareQueue, publishMethod } from "../support/methods.ts";
import { encodeFrame, encodeHeader, encodeMethod, protocolHeader, startOk } from "../support/raw-client.ts";

/** The first part is the protocol header, the others are frames. */
export type Session = readonly Uint8Array[];

/** Parts at the start that are the login. */
export const loginParts = 5;
/** The name in the sessions; replace it by one of the same length. */
export const sessionName = "s-000000";

const name = sessionName;
const frameMax = 4096;
const headers = new Map<string, FieldValue>([
  ["text", { type: "longstr", value: "value" }],
  ["number", { type: "long", value: -1n }],
  ["list", { type: "array", value: [{ type: "void" }, { type: "bool", value: true }] }],
  ["table", { type: "table", value: new Map([["in", { type: "double", value: 0.5 }]]) }],
]);
const everyProperty = {
  contentType: "text/plain",
  contentEncoding: "utf-8",
  headers,
  deliveryMode: 2,
  priority: 3,
  correlationId: "c",
  replyTo: "r",
  expiration: "60000",
  messageId: "m",
  timestamp: 1n,
  type: "t",
  appId: "a",
};

const workQueue = session(
  method(declareQueue(name, { exclusive: true, autoDelete: true })),
  method({ id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 3, global: false }),
  method({ id: MethodId.ConfirmSelect, noWait: false }),
  ...publish("", name, 10),
  ...publish("", name, 0),
  method(consume(name, { consumerTag: name })),
  ...publish("", name, 5000, everyProperty),
  ...publish("", name, 100),
  method(ack(1)),
  method({ id: MethodId.BasicNack, deliveryTag: 2n, multiple: false, requeue: true }),
  method({ id: MethodId.BasicReject, deliveryTag: 3n, requeue: false }),
  method(ack(4, true)),
  method({ id: MethodId.BasicCancel, consumerTag: name, noWait: false }),
  method({ id: MethodId.QueuePurge, queue: name, noWait: false }),
  method({ id: MethodId.QueueDelete, queue: name, ifUnused: false, ifEmpty: false, noWait: false }),
  ...goodbye(),
);

const topic = session(
  method(declareExchange(name, "topic", { autoDelete: true })),
  method(declareQueue(name, { exclusive: true, arguments: headers })),
  method(bindQueue(name, name, "a.*.#", headers)),
  method({ id: MethodId.ExchangeBind, ...between("amq.topic") }),
  ...publish(name, "a.b.c", 30, { headers }),
  ...publish("amq.topic", "#", 30, { expiration: "5" }),
  ...publish(name, "none", 9, everyProperty, true),
  method({ id: MethodId.BasicGet, queue: name, noAck: false }),
  method({ id: MethodId.BasicGet, queue: "", noAck: true }),
  method({ id: MethodId.BasicRecover, requeue: true }),
  method({ id: MethodId.QueueUnbind, queue: name, exchange: name, routingKey: "a.*.#", arguments: headers }),
  method({ id: MethodId.ExchangeUnbind, ...between("amq.topic") }),
  method({ id: MethodId.ExchangeDelete, exchange: name, ifUnused: false, noWait: false }),
  ...goodbye(),
);

const headersOnTwoChannels = session(
  method(declareExchange(name, "headers", { autoDelete: true })),
  method(declareQueue(name, { exclusive: true })),
  method(bindQueue(name, name, "", new Map([...headers, ["x-match", { type: "longstr", value: "any" }]]))),
  method({ id: MethodId.ChannelOpen }, 2),
  method({ id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 1, global: true }),
  method(consume(name, { noAck: true, exclusive: true, noWait: true }), 2),
  method(publishMethod(name, "")),
  header(9000, { headers }),
  body(4000),
  ...publish(name, "", 8, { headers }, true, 2),
  body(4000),
  encodeFrame(FrameType.Heartbeat, 0, new Uint8Array(0)),
  body(1000),
  method({ id: MethodId.ChannelFlow, active: true }, 2),
  method({ id: MethodId.ChannelClose, replyCode: 200, replyText: "", classId: 0, methodId: 0 }, 2),
  method({ id: MethodId.QueueDeclare, ...passive() }),
  method({ id: MethodId.BasicGet, queue: name, noAck: false }),
  method({ id: MethodId.BasicRecoverAsync, requeue: true }),
  ...goodbye(),
);

const transactions = session(
  method(declareQueue(name, { exclusive: true, durable: true })),
  method({ id: MethodId.TxSelect }),
  ...publish("", name, 10, everyProperty),
  ...publish("", name, 5000),
  ...publish("", name, 10),
  ...publish("", "none", 9, everyProperty, true),
  method({ id: MethodId.TxCommit }),
  method(consume(name, { consumerTag: name })),
  method(ack(2, true)),
  method({ id: MethodId.BasicNack, deliveryTag: 3n, multiple: false, requeue: true }),
  ...publish("", name, 10),
  method({ id: MethodId.BasicRecover, requeue: true }),
  method({ id: MethodId.TxRollback }),
  method({ id: MethodId.BasicReject, deliveryTag: 1n, requeue: true }),
  ...publish("", name, 10),
  method({ id: MethodId.TxCommit }),
  method(ack(0, true)),
  ...publish("", name, 10),
  ...goodbye(),
);

export const sessions: readonly Session[] = [workQueue, topic, headersOnTwoChannels, transactions];

function session(...frames: Uint8Array[]): Session {
  return [
    protocolHeader,
    method(startOk("guest", "guest"), 0),
    method({ id: MethodId.ConnectionTuneOk, channelMax: 100, frameMax, heartbeat: 30 }, 0),
    method({ id: MethodId.ConnectionOpen, virtualHost: "/" }, 0),
    method({ id: MethodId.ChannelOpen }),
    ...frames,
  ];
}

function goodbye(): Uint8Array[] {
  const reason = { replyCode: 200, replyText: "bye", classId: 0, methodId: 0 };
  return [
    method({ id: MethodId.ChannelClose, ...reason }),
    method({ id: MethodId.ConnectionClose, ...reason }, 0),
  ];
}

function publish(
  exchange: string,
  key: string,
  size: number,
  properties: Parameters<typeof encodeHeader>[1] = {},
  mandatory = false,
  channel = 1,
): Uint8Array[] {
  const frames = [
    method(publishMethod(exchange, key, mandatory), channel),
    header(size, properties, channel),
  ];
  for (let left = size; left > 0; left -= frameMax - 8)
    frames.push(body(Math.min(left, frameMax - 8), channel));
  return frames;
}

function method(content: Method, channel = 1): Uint8Array {
  return encodeFrame(FrameType.Method, channel, encodeMethod(content));
}

function header(size: number, properties: Parameters<typeof encodeHeader>[1], channel = 1): Uint8Array {
  return encodeFrame(FrameType.Header, channel, encodeHeader(size, properties));
}

function body(size: number, channel = 1): Uint8Array {
  return encodeFrame(FrameType.Body, channel, new Uint8Array(size).fill(120));
}

function between(source: string): Omit<Extract<Method, { id: typeof MethodId.ExchangeBind }>, "id"> {
  return { destination: name, source, routingKey: "#", noWait: false, arguments: emptyTable };
}

function passive(): Omit<Extract<Method, { id: typeof MethodId.QueueDeclare }>, "id"> {
  const { id: _id, ...fields } = declareQueue(name, { passive: true });
  return fields;
}

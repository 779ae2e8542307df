import type { BasicProperties } from "../../wire/index.ts";
import { ChannelError, ConnectionError, type GotMessage, type MessageFate } from "../../broker/index.ts";
import { jsonOf, tableOf } from "../amqp-values.ts";
import { integerOf, isObject, textOf, type ApiRequest } from "../api-request.ts";
import { isUtf8 } from "node:buffer";
import { badRequest, notAuthorised, notFound } from "../http-error.ts";
import type { Resource } from "../resource.ts";
import { exchangeName } from "./exchanges.ts";

/** To publish and to look at messages, for people: each costs far more than over AMQP. */
export const queueMessages: readonly Resource[] = [
  { path: "/queues/:vhost/:queue/get", access: "vhost", methods: { POST: get } },
  { path: "/exchanges/:vhost/:exchange/publish", access: "vhost", methods: { POST: publish } },
];

async function publish(request: ApiRequest): Promise<unknown> {
  const body = request.bodyWith("routing_key", "properties", "payload", "payload_encoding");
  const { payload, payload_encoding: encoding, properties: given } = body;
  if (typeof payload !== "string") throw badRequest("payload_not_string");
  const routingKey = textOf(body.routing_key, "routing_key");
  const properties = propertiesOf(given);
  const content = decoded(payload, textOf(encoding, "payload_encoding"));
  const exchange = exchangeName(request.parameter("exchange"));
  try {
    const routed = await request.actions.publish(exchange, routingKey, properties, content);
    return { routed };
  } catch (error) {
    if (!isAmqpError(error)) throw error;
    throw badRequest(`${error.code} ${error.reply}`);
  }
}

const fates: Readonly<Record<string, MessageFate>> = {
  ack_requeue_true: "requeued",
  reject_requeue_true: "requeued",
  ack_requeue_false: "acknowledged",
  reject_requeue_false: "dead",
};

async function get(request: ApiRequest): Promise<unknown> {
  const { ackmode, count, encoding, truncate } = request.bodyWith("ackmode", "count", "encoding");
  const given = integerOf(count);
  // To RabbitMQ −1 means all.
  const wanted = given < 0 ? Number.POSITIVE_INFINITY : given;
  const fate = fates[textOf(ackmode, "ackmode")];
  if (fate === undefined)
    throw badRequest(`Unsupported ackmode. Please use ${Object.keys(fates).join(", ")}.`);
  if (encoding !== "auto" && encoding !== "base64")
    throw badRequest("Unsupported encoding. Please use auto or base64.");
  const most = truncate === undefined ? Number.POSITIVE_INFINITY : integerOf(truncate);
  try {
    const got = await request.actions.get(request.parameter("queue"), wanted, fate);
    return got.map((message) => shown(message, encoding, most));
  } catch (error) {
    if (!isAmqpError(error)) throw error;
    if (error.code === 403) throw notAuthorised(error.reply);
    if (error.code === 404) throw notFound(error.reply);
    throw badRequest(error.reply);
  }
}

function isAmqpError(error: unknown): error is ChannelError | ConnectionError {
  return error instanceof ChannelError || error instanceof ConnectionError;
}

/** @throws HttpError 400 */
function decoded(payload: string, encoding: string): Buffer {
  if (encoding === "string") return Buffer.from(payload);
  if (encoding !== "base64") throw badRequest(["unsupported_encoding", encoding]);
  const bytes = Buffer.from(payload, "base64");
  if (bytes.toString("base64").replace(/=+$/, "") !== payload.replace(/=+$/, ""))
    throw badRequest(["not_base64", payload]);
  return bytes;
}

const texts = {
  content_type: "contentType",
  content_encoding: "contentEncoding",
  correlation_id: "correlationId",
  reply_to: "replyTo",
  expiration: "expiration",
  message_id: "messageId",
  type: "type",
  user_id: "userId",
  app_id: "appId",
  cluster_id: "clusterId",
} as const;
const numbers = { delivery_mode: "deliveryMode", priority: "priority" } as const;
const mostOctet = 255;
const mostShortBytes = 255;

/** Properties by RabbitMQ's names; unknown ones are passed over. @throws HttpError 400 */
function propertiesOf(given: unknown): BasicProperties {
  if (!isObject(given)) {
    if (Array.isArray(given) && given.length === 0) return {};
    throw badRequest("properties are not an object");
  }
  const properties: BasicProperties = {};
  for (const [name, value] of Object.entries(given)) {
    if (name in texts) properties[texts[name as keyof typeof texts]] = shortText(value, name);
    else if (name in numbers) properties[numbers[name as keyof typeof numbers]] = octet(value);
    else if (name === "timestamp") properties.timestamp = timestamp(value);
    else if (name === "headers") properties.headers = tableOf(value);
  }
  return properties;
}

/** @throws HttpError 400 */
function shortText(value: unknown, name: string): string {
  const text = textOf(value, name);
  if (Buffer.byteLength(text) <= mostShortBytes) return text;
  throw badRequest(`${name} has at most ${mostShortBytes} bytes`);
}

/** @throws HttpError 400 */
function octet(value: unknown): number {
  const number = integerOf(value);
  if (number >= 0 && number <= mostOctet) return number;
  throw badRequest(["not_integer", String(number)]);
}

/** @throws HttpError 400 */
function timestamp(value: unknown): bigint {
  const number = integerOf(value);
  if (number >= 0) return BigInt(number);
  throw badRequest(["not_integer", String(number)]);
}

function shown(message: GotMessage, encoding: "auto" | "base64", most: number): object {
  const { body, exchange, routingKey, redelivered, messageCount } = message;
  const payload = body.subarray(0, Math.max(0, most));
  const isText = encoding === "auto" && isUtf8(payload);
  return {
    payload_bytes: body.length,
    redelivered,
    exchange,
    routing_key: routingKey,
    message_count: messageCount,
    properties: jsonProperties(message.properties),
    payload: payload.toString(isText ? "utf8" : "base64"),
    payload_encoding: isText ? "string" : "base64",
  };
}

/** RabbitMQ shows no properties as an empty list. */
function jsonProperties(properties: BasicProperties): object {
  const { headers, timestamp: time } = properties;
  const shownProperties: Record<string, unknown> = {};
  for (const [name, key] of Object.entries({ ...texts, ...numbers })) {
    if (properties[key] !== undefined) shownProperties[name] = properties[key];
  }
  if (time !== undefined) shownProperties["timestamp"] = Number(time);
  if (headers !== undefined) shownProperties["headers"] = jsonOf(headers);
  return Object.keys(shownProperties).length > 0 ? shownProperties : [];
}

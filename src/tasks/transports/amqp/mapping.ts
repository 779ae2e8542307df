import { fromTable, toTable, type Publication, type ReceivedMessage } from "../../../client/index.ts";
import type { IncomingMessage, OutgoingMessage } from "../../transport.ts";

const json = "application/json";
const plainText = "text/plain";
const persistent = 2;

/** The queue is addressed through the default exchange, by its name. */
export function publicationOf(message: OutgoingMessage): Publication {
  const { queue, via, isOptional, body, contentType, expirationMs, timestampMs } = message;
  const { bytes, type } = bodyOf(body);
  return {
    exchange: via?.exchange ?? "",
    routingKey: via?.routingKey ?? queue,
    mandatory: !isOptional,
    properties: {
      contentType: type ?? contentType,
      headers: toTable(message.headers),
      deliveryMode: persistent,
      priority: message.priority,
      correlationId: message.correlationId,
      replyTo: message.replyTo,
      expiration: expirationMs === undefined ? undefined : String(expirationMs),
      messageId: message.messageId,
      timestamp: timestampMs === undefined ? undefined : BigInt(Math.floor(timestampMs / 1000)),
    },
    body: bytes,
  };
}

export function messageOf(message: ReceivedMessage): IncomingMessage {
  const { properties, exchange, routingKey, redelivered } = message;
  const { messageId, contentType, priority, replyTo, correlationId, timestamp, headers } = properties;
  return {
    body: readBody(message),
    messageId,
    contentType,
    priority,
    replyTo,
    correlationId,
    timestampMs: timestamp === undefined ? undefined : Number(timestamp) * 1000,
    headers: headers === undefined ? {} : fromTable(headers),
    exchange,
    routingKey,
    redelivered,
  };
}

/** Bytes are sent as they are; what else is said of their type does not hold for what this makes of text and values. */
function bodyOf(body: unknown): { bytes: Uint8Array; type?: string } {
  if (body instanceof Uint8Array) return { bytes: body };
  if (typeof body === "string") return { bytes: Buffer.from(body), type: plainText };
  return { bytes: Buffer.from(JSON.stringify(body)), type: json };
}

function readBody({ properties, body }: ReceivedMessage): unknown {
  const { contentType, contentEncoding } = properties;
  // Encoded, gzipped perhaps: text only for who decodes it.
  if (contentEncoding) return Buffer.from(body);
  if (contentType === plainText) return body.toString();
  if (contentType !== json) return Buffer.from(body);
  try {
    return JSON.parse(body.toString());
  } catch {
    return Buffer.from(body);
  }
}

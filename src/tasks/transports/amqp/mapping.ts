import type { AsyncMessage, Envelope, ReturnedMessage, SyncMessage } from "rabbitmq-client";
import type { IncomingMessage, OutgoingMessage } from "../../transport.ts";

/** As the client wants it. The queue is addressed through the default exchange, by its name. */
export function envelopeOf(message: Omit<OutgoingMessage, "body">): Envelope {
  const { queue, via, isOptional, messageId, contentType, priority, expirationMs, replyTo, correlationId } =
    message;
  return {
    exchange: via?.exchange ?? "",
    routingKey: via?.routingKey ?? queue,
    mandatory: !isOptional,
    durable: true,
    messageId,
    contentType,
    priority,
    expiration: expirationMs === undefined ? undefined : String(expirationMs),
    replyTo,
    correlationId,
    ...(message.timestampMs !== undefined && { timestamp: Math.floor(message.timestampMs / 1000) }),
    headers: message.headers,
  };
}

export function messageOf(message: AsyncMessage | SyncMessage | ReturnedMessage): IncomingMessage {
  return {
    body: message.body,
    messageId: message.messageId,
    contentType: message.contentType,
    priority: message.priority,
    replyTo: message.replyTo,
    correlationId: message.correlationId,
    timestampMs: message.timestamp === undefined ? undefined : message.timestamp * 1000,
    headers: message.headers ?? {},
    exchange: message.exchange,
    routingKey: message.routingKey,
    redelivered: "redelivered" in message && message.redelivered,
  };
}

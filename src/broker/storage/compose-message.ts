import {
  ByteReader,
  ByteWriter,
  decodeText,
  emptyTable,
  PropertyScan,
  readTable,
  spliceProperties,
  type FieldTable,
  type PropertyChanges,
} from "../../wire/index.ts";
import { MessageView, storedHeaderBytes } from "./message-view.ts";

/** What the broker itself reads of a message's properties. */
export interface KnownProperties {
  readonly headers: FieldTable;
  readonly persistent: boolean;
  readonly priority: number;
  readonly expiration: string | undefined;
  /** Infinity when it lives for ever. */
  readonly ttlMs: number;
  readonly messageId: string | undefined;
  readonly replyTo: string | undefined;
}

/** Decodes what the broker reads of a message whose properties have been scanned when it was published. */
export function knownProperties({
  bytes,
  view,
  propertiesAt,
  propertiesLength,
}: MessageView): KnownProperties {
  scan.scan(bytes, view, propertiesAt, propertiesAt + propertiesLength);
  const { headersAt, deliveryMode, priority, expirationAt, messageIdAt, replyToAt } = scan;
  const text = (at: number): string | undefined =>
    at < 0 ? undefined : decodeText(bytes.subarray(at + 1, at + 1 + bytes[at]));
  const expiration = text(expirationAt);
  return {
    headers: headersAt < 0 ? emptyTable : readHeaders(bytes, headersAt),
    persistent: deliveryMode === 2,
    priority: Math.max(priority, 0),
    expiration,
    ttlMs: expiration === undefined ? Number.POSITIVE_INFINITY : Number(expiration),
    messageId: text(messageIdAt),
    replyTo: text(replyToAt),
  };
}

const scan = new PropertyScan();

/** The headers of a message, whose keys need not be UTF-8. */
export function readHeaders(bytes: Uint8Array, at: number): FieldTable {
  const reader = new ByteReader(bytes, at);
  reader.isLenient = true;
  return readTable(reader);
}

/** Exchange and routing key of a message, decoded. */
export function routeOf({ bytes, routeAt, routeLength }: MessageView): {
  exchange: string;
  routingKey: string;
} {
  const reader = new ByteReader(bytes, routeAt, routeAt + routeLength);
  reader.isLenient = true;
  return { exchange: reader.shortstr(), routingKey: reader.shortstr() };
}

/**
 * A message in bytes of its own, made of another's: with changed properties and, if given, another route. The store may move
 * the original meanwhile.
 */
export function composeMessage(
  original: MessageView,
  changes: PropertyChanges,
  route?: { exchange: string; routingKey: string },
): MessageView {
  const writer = new ByteWriter(256);
  if (route) {
    writer.shortstr(route.exchange);
    writer.shortstr(route.routingKey);
  } else {
    writer.raw(original.bytes.subarray(original.routeAt, original.routeAt + original.routeLength));
  }
  const routeLength = writer.length;
  spliceProperties(writer, original.bytes, original.propertiesAt, changes);
  const { bodyAt, bodyLength } = original;
  const body = original.bytes.subarray(bodyAt, bodyAt + bodyLength);
  return assembleMessage(writer.written(), routeLength, body);
}

/** A message in bytes of its own: `head` is route and properties, one after the other. */
export function assembleMessage(head: Uint8Array, routeLength: number, body: Uint8Array): MessageView {
  const message = new MessageView();
  message.bytes = new Uint8Array(storedHeaderBytes + head.length + body.length);
  message.view = new DataView(message.bytes.buffer);
  message.owned = true;
  message.routeAt = storedHeaderBytes;
  message.routeLength = routeLength;
  message.propertiesAt = storedHeaderBytes + routeLength;
  message.propertiesLength = head.length - routeLength;
  message.bodyAt = storedHeaderBytes + head.length;
  message.bodyLength = body.length;
  message.bytes.set(head, storedHeaderBytes);
  message.bytes.set(body, message.bodyAt);
  return message;
}

import {
  ByteReader,
  ByteWriter,
  readProperties,
  writeProperties,
  type BasicProperties,
} from "../../wire/index.ts";
import { MessageView, storedHeaderBytes } from "./message-view.ts";

/** The properties of a message, decoded. */
export function propertiesOf({ bytes, propertiesAt, propertiesLength }: MessageView): BasicProperties {
  return readProperties(new ByteReader(bytes, propertiesAt, propertiesAt + propertiesLength));
}

/** Exchange and routing key of a message, decoded. */
export function routeOf({ bytes, routeAt, routeLength }: MessageView): {
  exchange: string;
  routingKey: string;
} {
  const reader = new ByteReader(bytes, routeAt, routeAt + routeLength);
  return { exchange: reader.shortstr(), routingKey: reader.shortstr() };
}

/**
 * A message in bytes of its own, made of another's: with these properties and, if given, another route. The store may move
 * the original meanwhile.
 */
export function composeMessage(
  original: MessageView,
  properties: BasicProperties,
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
  writeProperties(writer, properties);
  const head = writer.written();
  const { bodyAt, bodyLength } = original;
  const message = new MessageView();
  message.bytes = new Uint8Array(storedHeaderBytes + head.length + bodyLength);
  message.view = new DataView(message.bytes.buffer);
  message.owned = true;
  message.routeAt = storedHeaderBytes;
  message.routeLength = routeLength;
  message.propertiesAt = storedHeaderBytes + routeLength;
  message.propertiesLength = head.length - routeLength;
  message.bodyAt = storedHeaderBytes + head.length;
  message.bodyLength = bodyLength;
  message.bytes.set(head, storedHeaderBytes);
  message.bytes.set(original.bytes.subarray(bodyAt, bodyAt + bodyLength), message.bodyAt);
  return message;
}

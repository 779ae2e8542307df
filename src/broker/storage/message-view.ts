import { copyBytes } from "../../wire/index.ts";

/**
 * Hot path: one object is reused for all the messages a connection publishes, another for all that a queue delivers.
 *
 * A message as three runs of bytes inside one buffer, none of them decoded:
 * - route: exchange and routing key, two short strings, as they stand in basic.publish and in basic.deliver;
 * - properties: flags and values, as they stand in a content header;
 * - body.
 *
 * A stored message has them one after the other, behind a header of `storedHeaderBytes`.
 */
export class MessageView {
  bytes: Uint8Array = noBytes;
  view: DataView = noView;
  routeAt = 0;
  routeLength = 0;
  propertiesAt = 0;
  propertiesLength = 0;
  bodyAt = 0;
  bodyLength = 0;
  /**
   * The bytes belong to this message alone, laid out as a stored message with room for its header, and are never
   * overwritten: they may be sent, or kept, without a copy.
   */
  owned = false;
}

/** Before a stored message's bytes: the lengths of route, properties and body, 32 bits each. */
export const storedHeaderBytes = 12;

/** How many bytes a message takes when it is stored. */
export function storedBytes(message: MessageView): number {
  return storedHeaderBytes + message.routeLength + message.propertiesLength + message.bodyLength;
}

/** How many bytes the message stored at `at` takes. */
export function storedBytesAt(view: DataView, at: number): number {
  return (
    storedHeaderBytes + view.getInt32(at, true) + view.getInt32(at + 4, true) + view.getInt32(at + 8, true)
  );
}

/** Stores a message at `at`. */
export function writeStored(bytes: Uint8Array, view: DataView, at: number, message: MessageView): void {
  const { routeLength, propertiesLength, bodyLength } = message;
  writeStoredHeader(view, at, message);
  let to = at + storedHeaderBytes;
  copyBytes(bytes, view, to, message.bytes, message.view, message.routeAt, routeLength);
  to += routeLength;
  copyBytes(bytes, view, to, message.bytes, message.view, message.propertiesAt, propertiesLength);
  to += propertiesLength;
  copyBytes(bytes, view, to, message.bytes, message.view, message.bodyAt, bodyLength);
}

export function writeStoredHeader(view: DataView, at: number, message: MessageView): void {
  view.setInt32(at, message.routeLength, true);
  view.setInt32(at + 4, message.propertiesLength, true);
  view.setInt32(at + 8, message.bodyLength, true);
}

/** Points `into` at the message stored at `at`. */
export function readStored(bytes: Uint8Array, view: DataView, at: number, into: MessageView): void {
  into.bytes = bytes;
  into.view = view;
  into.routeAt = at + storedHeaderBytes;
  into.routeLength = view.getInt32(at, true);
  into.propertiesAt = into.routeAt + into.routeLength;
  into.propertiesLength = view.getInt32(at + 4, true);
  into.bodyAt = into.propertiesAt + into.propertiesLength;
  into.bodyLength = view.getInt32(at + 8, true);
}

const noBytes = new Uint8Array(0);
const noView = new DataView(noBytes.buffer);

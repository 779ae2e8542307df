/** Messages that can be told apart by any of their bytes. */
import { MessageView, storedHeaderBytes } from "../../../src/broker/storage/index.ts";
import type { Random } from "../../support/random.ts";

export interface Message {
  readonly number: number;
  readonly persistent: boolean;
  readonly route: Buffer;
  readonly properties: Buffer;
  readonly body: Buffer;
  /** The commit that brings it to the disk; 0 when an earlier life did. */
  commit: number;
  isConfirmed: boolean;
  /** Queues that have it, also transient ones. */
  references: number;
  /** It stands in the log, not in memory alone. */
  isLogged: boolean;
}

const deliveryModeAndMessageId = 0x1080;

export function createMessage(
  number: number,
  { exchange, routingKey }: { exchange: string; routingKey: string },
  { persistent, bodyBytes }: { persistent: boolean; bodyBytes: number },
): Message {
  const name = `message ${number}`;
  const properties = Buffer.alloc(4 + name.length);
  properties.writeUInt16BE(deliveryModeAndMessageId, 0);
  properties[2] = persistent ? 2 : 1;
  properties[3] = name.length;
  properties.write(name, 4);
  return {
    number,
    persistent,
    route: Buffer.concat([shortstr(exchange), shortstr(routingKey)]),
    properties,
    body: Buffer.alloc(bodyBytes, `${number}:`),
    commit: 0,
    isConfirmed: false,
    references: 0,
    isLogged: false,
  };
}

/** What the publisher is given, and what becomes of its bytes when the call has returned. */
export function asPublished(message: Message, random: Random): { view: MessageView; reused: () => void } {
  const { route, properties, body } = message;
  const bytes = new Uint8Array(storedHeaderBytes + route.length + properties.length + body.length);
  const view = new MessageView();
  view.bytes = bytes;
  view.view = new DataView(bytes.buffer);
  view.routeAt = storedHeaderBytes;
  view.routeLength = route.length;
  view.propertiesAt = view.routeAt + route.length;
  view.propertiesLength = properties.length;
  view.bodyAt = view.propertiesAt + properties.length;
  view.bodyLength = body.length;
  view.owned = random.chance(0.5);
  bytes.set(route, view.routeAt);
  bytes.set(properties, view.propertiesAt);
  bytes.set(body, view.bodyAt);
  return { view, reused: () => view.owned || bytes.fill(0xee) };
}

/** How the bytes differ from the message's; undefined when they do not. */
export function difference(message: Message, found: MessageView): string | undefined {
  const { bytes, routeAt, routeLength, propertiesAt, propertiesLength, bodyAt, bodyLength } = found;
  if (!message.route.equals(bytes.subarray(routeAt, routeAt + routeLength))) return "route";
  if (!message.properties.equals(bytes.subarray(propertiesAt, propertiesAt + propertiesLength)))
    return "properties";
  if (!message.body.equals(bytes.subarray(bodyAt, bodyAt + bodyLength))) return "body";
  return undefined;
}

function shortstr(text: string): Buffer {
  return Buffer.from([text.length, ...Buffer.from(text)]);
}

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

const noBytes = new Uint8Array(0);
const noView = new DataView(noBytes.buffer);

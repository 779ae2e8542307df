/**
 * Hot path: runs once for each published message. Benchmark: T16, P1K in bench/.
 *
 * Walks the raw properties of a content header without decoding them: checks that every length fits, and notes the few
 * values that routing and queues need. The rest stays bytes until something asks for it (`readProperties`).
 */
import { MalformedError } from "./bytes.ts";

export class PropertyScan {
  /** 0 when absent. */
  deliveryMode = 0;
  /** -1 when absent. */
  priority = -1;
  /** Where the headers table starts (at its length); -1 when absent. */
  headersAt = -1;
  /** Where the expiration short string starts (at its length octet); -1 when absent. */
  expirationAt = -1;
  /** Where the reply-to short string starts (at its length octet); -1 when absent. */
  replyToAt = -1;
  /** Where the message-id short string starts (at its length octet); -1 when absent. */
  messageIdAt = -1;
  /** The headers have a CC or BCC. */
  hasCopies = false;
  /** Where the user-id short string starts (at its length octet); -1 when absent. */
  userIdAt = -1;

  /** @throws MalformedError unless the properties fill `[start, end)` exactly. */
  scan(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    this.deliveryMode = 0;
    this.priority = -1;
    this.headersAt = -1;
    this.expirationAt = -1;
    this.userIdAt = -1;
    this.replyToAt = -1;
    this.messageIdAt = -1;
    this.hasCopies = false;
    if (end - start < 2) throw new MalformedError("a content header ends before its property flags");
    const flags = view.getUint16(start);
    let at = start + 2;
    if (flags !== 0) {
      if (flags & 0x0003)
        throw new MalformedError("a content header has property flags that class basic does not define");
      if (flags & 0x8000) at = skipShortstr(bytes, at, end);
      if (flags & 0x4000) at = skipShortstr(bytes, at, end);
      if (flags & 0x2000) {
        this.headersAt = at;
        at = this.skipHeaders(bytes, view, at, end);
      }
      if (flags & 0x1000) {
        if (at >= end) throw truncated();
        this.deliveryMode = bytes[at++]!;
      }
      if (flags & 0x0800) {
        if (at >= end) throw truncated();
        this.priority = bytes[at++]!;
      }
      if (flags & 0x0400) at = skipShortstr(bytes, at, end);
      if (flags & 0x0200) {
        this.replyToAt = at;
        at = skipShortstr(bytes, at, end);
      }
      if (flags & 0x0100) {
        this.expirationAt = at;
        at = skipShortstr(bytes, at, end);
      }
      if (flags & 0x0080) {
        this.messageIdAt = at;
        at = skipShortstr(bytes, at, end);
      }
      if (flags & 0x0040) at += 8;
      if (flags & 0x0020) at = skipShortstr(bytes, at, end);
      if (flags & 0x0010) {
        this.userIdAt = at;
        at = skipShortstr(bytes, at, end);
      }
      if (flags & 0x0008) at = skipShortstr(bytes, at, end);
      if (flags & 0x0004) at = skipShortstr(bytes, at, end);
    }
    if (at !== end) throw truncated();
  }

  /** As {@link skipTable}, and looks at the keys. */
  private skipHeaders(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    if (end - at < 4) throw truncated();
    const tableEnd = at + 4 + view.getUint32(at);
    if (tableEnd > end) throw truncated();
    at += 4;
    while (at < tableEnd) {
      const length = bytes[at];
      if (length === 2) this.hasCopies ||= isKey(bytes, at + 1, "CC");
      else if (length === 3) this.hasCopies ||= isKey(bytes, at + 1, "BCC");
      at = skipShortstr(bytes, at, tableEnd);
      at = skipValue(bytes, view, at, tableEnd, 0);
    }
    if (at !== tableEnd) throw truncated();
    return at;
  }
}

function isKey(bytes: Uint8Array, at: number, key: string): boolean {
  for (let index = 0; index < key.length; index++) {
    if (bytes[at + index] !== key.charCodeAt(index)) return false;
  }
  return true;
}

function skipShortstr(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throw truncated();
  return at + 1 + bytes[at];
}

/** Bytes of the values with a fixed size, by type tag; -1 for the others. */
const fixedSizes = new Int8Array(128).fill(-1);
for (const [tag, size] of Object.entries({
  t: 1,
  b: 1,
  B: 1,
  s: 2,
  u: 2,
  I: 4,
  i: 4,
  l: 8,
  f: 4,
  d: 8,
  D: 5,
  T: 8,
  V: 0,
})) {
  fixedSizes[tag.charCodeAt(0)] = size;
}

function skipTable(bytes: Uint8Array, view: DataView, at: number, end: number, depth: number): number {
  if (end - at < 4) throw truncated();
  const tableEnd = at + 4 + view.getUint32(at);
  if (tableEnd > end) throw truncated();
  at += 4;
  while (at < tableEnd) {
    at = skipShortstr(bytes, at, tableEnd);
    at = skipValue(bytes, view, at, tableEnd, depth);
  }
  if (at !== tableEnd) throw truncated();
  return at;
}

function skipValue(bytes: Uint8Array, view: DataView, at: number, end: number, depth: number): number {
  if (at >= end) throw truncated();
  const tag = bytes[at++];
  const size = tag < 128 ? fixedSizes[tag] : -1;
  if (size >= 0) return at + size;
  if (depth > 64) throw new MalformedError("field tables are nested more than 64 deep");
  switch (tag) {
    case 0x53: // S: long string
    case 0x78: // x: bytes
      if (end - at < 4) throw truncated();
      return at + 4 + view.getUint32(at);
    case 0x46: // F: table
      return skipTable(bytes, view, at, end, depth + 1);
    case 0x41: {
      // A: array
      if (end - at < 4) throw truncated();
      const arrayEnd = at + 4 + view.getUint32(at);
      if (arrayEnd > end) throw truncated();
      at += 4;
      while (at < arrayEnd) at = skipValue(bytes, view, at, arrayEnd, depth + 1);
      if (at !== arrayEnd) throw truncated();
      return at;
    }
    default:
      throw new MalformedError(`a field table has a value of the unknown type '${String.fromCharCode(tag)}'`);
  }
}

function truncated(): MalformedError {
  return new MalformedError("a content header's properties do not fill it exactly");
}

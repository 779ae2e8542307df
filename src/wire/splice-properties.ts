import type { ByteWriter } from "./bytes.ts";
import { writeTable, type FieldTable } from "./field-table.ts";

/** What is to be other than it was; `null` takes a property away. */
export interface PropertyChanges {
  readonly headers?: FieldTable;
  readonly expiration?: null;
  readonly replyTo?: string;
}

type Kind = "shortstr" | "table" | "octet" | "timestamp";

const lengthOf: Readonly<Record<Kind, (view: DataView, at: number) => number>> = {
  shortstr: (view, at) => 1 + view.getUint8(at),
  table: (view, at) => 4 + view.getUint32(at),
  octet: () => 1,
  timestamp: () => 8,
};

/** The properties of class basic in their order, by their flags. */
const properties: readonly (readonly [flag: number, kind: Kind, name?: keyof PropertyChanges])[] = [
  [0x8000, "shortstr"],
  [0x4000, "shortstr"],
  [0x2000, "table", "headers"],
  [0x1000, "octet"],
  [0x0800, "octet"],
  [0x0400, "shortstr"],
  [0x0200, "shortstr", "replyTo"],
  [0x0100, "shortstr", "expiration"],
  [0x0080, "shortstr"],
  [0x0040, "timestamp"],
  [0x0020, "shortstr"],
  [0x0010, "shortstr"],
  [0x0008, "shortstr"],
  [0x0004, "shortstr"],
];

/**
 * Writes the properties that start at `at`, which have been scanned, with changes. All others are copied as they stand, also
 * what is not UTF-8 in them.
 */
export function spliceProperties(
  writer: ByteWriter,
  bytes: Uint8Array,
  at: number,
  changes: PropertyChanges,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const before = view.getUint16(at);
  writer.short(properties.reduce((flags, [flag, , name]) => flagsAfter(flags, flag, name, changes), before));
  let position = at + 2;
  for (const [flag, kind, name] of properties) {
    const length = before & flag ? lengthOf[kind](view, position) : 0;
    const change = name === undefined ? undefined : changes[name];
    if (change === undefined) writer.raw(bytes.subarray(position, position + length));
    else if (typeof change === "string") writer.shortstr(change);
    else if (change !== null) writeTable(writer, change);
    position += length;
  }
}

function flagsAfter(
  flags: number,
  flag: number,
  name: keyof PropertyChanges | undefined,
  changes: PropertyChanges,
): number {
  const change = name === undefined ? undefined : changes[name];
  if (change === undefined) return flags;
  return change === null ? flags & ~flag : flags | flag;
}

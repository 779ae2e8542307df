/**
 * Field tables (AMQP 0-9-1 §4.2.5.5) with the types that RabbitMQ really uses, which differ from the specification's
 * table: https://www.rabbitmq.com/amqp-0-9-1-errata (section 3). Values keep their type, because RabbitMQ compares and
 * checks arguments by type and names it in its errors.
 */
import { MalformedError, type ByteReader, type ByteWriter } from "./bytes.ts";

/** A typed value. The type names are RabbitMQ's, as they stand in its error texts. */
export type FieldValue =
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "byte" | "unsignedbyte" | "short" | "unsignedshort"; readonly value: number }
  | { readonly type: "signedint" | "unsignedint" | "float" | "double"; readonly value: number }
  | { readonly type: "long" | "timestamp"; readonly value: bigint }
  | { readonly type: "decimal"; readonly scale: number; readonly value: number }
  /** A string; kept as bytes where they are not valid UTF-8. */
  | { readonly type: "longstr"; readonly value: string | Uint8Array }
  | { readonly type: "binary"; readonly value: Uint8Array }
  | { readonly type: "array"; readonly value: readonly FieldValue[] }
  | { readonly type: "table"; readonly value: FieldTable }
  | { readonly type: "void" };

/** Keys in the order in which they were sent. */
export type FieldTable = ReadonlyMap<string, FieldValue>;

export const emptyTable: FieldTable = new Map();

/** Nesting deeper than this is refused, so that a hostile table cannot exhaust the stack. */
const maxDepth = 64;

export function readTable(reader: ByteReader, depth = 0): FieldTable {
  const end = nestedEnd(reader, depth);
  if (reader.position === end) return emptyTable;
  const table = new Map<string, FieldValue>();
  while (reader.position < end) {
    const key = reader.shortstr();
    table.set(key, readValue(reader, depth));
  }
  if (reader.position !== end) throw new MalformedError("a field table's last value crosses its end");
  return table;
}

export function writeTable(writer: ByteWriter, table: FieldTable): void {
  writer.lengthPrefixed(() => {
    for (const [key, value] of table) {
      writer.shortstr(key);
      writeValue(writer, value);
    }
  });
}

/** A value in one line, for error messages. */
export function fieldText(field: FieldValue): string {
  switch (field.type) {
    case "void":
      return "";
    case "table":
    case "array":
      return `${field.type} of ${"size" in field.value ? field.value.size : field.value.length}`;
    case "decimal":
      return `${field.value}e-${field.scale}`;
    default:
      return field.value instanceof Uint8Array
        ? Buffer.from(field.value).toString("hex")
        : String(field.value);
  }
}

function readValue(reader: ByteReader, depth: number): FieldValue {
  const tag = String.fromCharCode(reader.octet());
  switch (tag) {
    case "t":
      return { type: "bool", value: reader.octet() !== 0 };
    case "b":
      return { type: "byte", value: reader.signedOctet() };
    case "B":
      return { type: "unsignedbyte", value: reader.octet() };
    case "s":
      return { type: "short", value: reader.signedShort() };
    case "u":
      return { type: "unsignedshort", value: reader.short() };
    case "I":
      return { type: "signedint", value: reader.signedLong() };
    case "i":
      return { type: "unsignedint", value: reader.long() };
    case "l":
      return { type: "long", value: reader.signedLonglong() };
    case "f":
      return { type: "float", value: reader.float() };
    case "d":
      return { type: "double", value: reader.double() };
    case "D":
      return { type: "decimal", scale: reader.octet(), value: reader.long() };
    case "S":
      return { type: "longstr", value: reader.text() };
    case "x":
      return { type: "binary", value: reader.longstr() };
    case "T":
      return { type: "timestamp", value: reader.longlong() };
    case "F":
      return { type: "table", value: readTable(reader, depth + 1) };
    case "A":
      return { type: "array", value: readArray(reader, depth + 1) };
    case "V":
      return { type: "void" };
    default:
      throw new MalformedError(`a field table has a value of the unknown type '${tag}'`);
  }
}

function readArray(reader: ByteReader, depth: number): FieldValue[] {
  const end = nestedEnd(reader, depth);
  const values: FieldValue[] = [];
  while (reader.position < end) values.push(readValue(reader, depth));
  if (reader.position !== end) throw new MalformedError("an array's last value crosses its end");
  return values;
}

function nestedEnd(reader: ByteReader, depth: number): number {
  if (depth > maxDepth) throw new MalformedError(`field tables are nested more than ${maxDepth} deep`);
  const length = reader.long();
  if (length > reader.remaining) {
    throw new MalformedError(`a field table announces ${length} bytes but only ${reader.remaining} are left`);
  }
  return reader.position + length;
}

function writeValue(writer: ByteWriter, field: FieldValue): void {
  switch (field.type) {
    case "bool":
      writeTag(writer, "t");
      return writer.octet(field.value ? 1 : 0);
    case "byte":
      writeTag(writer, "b");
      return writer.signedOctet(field.value);
    case "unsignedbyte":
      writeTag(writer, "B");
      return writer.octet(field.value);
    case "short":
      writeTag(writer, "s");
      return writer.signedShort(field.value);
    case "unsignedshort":
      writeTag(writer, "u");
      return writer.short(field.value);
    case "signedint":
      writeTag(writer, "I");
      return writer.signedLong(field.value);
    case "unsignedint":
      writeTag(writer, "i");
      return writer.long(field.value);
    case "long":
      writeTag(writer, "l");
      return writer.signedLonglong(field.value);
    case "float":
      writeTag(writer, "f");
      return writer.float(field.value);
    case "double":
      writeTag(writer, "d");
      return writer.double(field.value);
    case "decimal":
      writeTag(writer, "D");
      writer.octet(field.scale);
      return writer.long(field.value);
    case "longstr":
      writeTag(writer, "S");
      return writer.longstr(field.value);
    case "binary":
      writeTag(writer, "x");
      return writer.longstr(field.value);
    case "timestamp":
      writeTag(writer, "T");
      return writer.longlong(field.value);
    case "table":
      writeTag(writer, "F");
      return writeTable(writer, field.value);
    case "array":
      writeTag(writer, "A");
      return writer.lengthPrefixed(() => {
        for (const value of field.value) writeValue(writer, value);
      });
    case "void":
      return writeTag(writer, "V");
  }
}

function writeTag(writer: ByteWriter, tag: string): void {
  writer.octet(tag.charCodeAt(0));
}

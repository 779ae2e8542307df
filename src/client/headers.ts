import type { FieldTable, FieldValue } from "../wire/index.ts";

/**
 * Headers and arguments as JavaScript has them. Whole numbers become `signedint` or `long`, others `double`; a Date is a
 * timestamp, to the second; a Buffer is `binary`.
 */
export type Headers = Readonly<Record<string, unknown>>;

export function toTable(headers: Headers): FieldTable {
  const table = new Map<string, FieldValue>();
  for (const key in headers) {
    const value = headers[key];
    if (value !== undefined) table.set(key, toField(value));
  }
  return table;
}

export function fromTable(table: FieldTable): Record<string, unknown> {
  const headers: Record<string, unknown> = {};
  for (const [key, field] of table) headers[key] = fromField(field);
  return headers;
}

/** @throws TypeError for what no field can hold, such as a function */
function toField(value: unknown): FieldValue {
  switch (typeof value) {
    case "string":
      return { type: "longstr", value };
    case "number":
      return numberField(value);
    case "boolean":
      return { type: "bool", value };
    case "bigint":
      return { type: "long", value };
    case "undefined":
      return { type: "void" };
    case "object":
      return objectField(value);
    default:
      throw new TypeError(`a header cannot hold a ${typeof value}`);
  }
}

function numberField(value: number): FieldValue {
  if (!Number.isSafeInteger(value)) return { type: "double", value };
  return (value | 0) === value ? { type: "signedint", value } : { type: "long", value: BigInt(value) };
}

function objectField(value: object | null): FieldValue {
  if (value === null) return { type: "void" };
  if (value instanceof Date) return { type: "timestamp", value: BigInt(Math.floor(value.getTime() / 1000)) };
  if (value instanceof Uint8Array) return { type: "binary", value };
  if (Array.isArray(value)) return { type: "array", value: value.map(toField) };
  return { type: "table", value: toTable(value as Headers) };
}

function fromField(field: FieldValue): unknown {
  switch (field.type) {
    case "long":
      return smallest(field.value);
    case "timestamp":
      return new Date(Number(field.value) * 1000);
    case "decimal":
      return field.value / 10 ** field.scale;
    case "longstr":
    case "binary":
      return typeof field.value === "string" ? field.value : Buffer.from(field.value);
    case "array":
      return field.value.map(fromField);
    case "table":
      return fromTable(field.value);
    case "void":
      return null;
    default:
      return field.value;
  }
}

function smallest(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

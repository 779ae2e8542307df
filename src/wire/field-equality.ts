import type { FieldTable, FieldValue } from "./field-table.ts";

const integerTypes = new Set([
  "byte",
  "unsignedbyte",
  "short",
  "unsignedshort",
  "signedint",
  "unsignedint",
  "long",
]);

/** Whether two values are the same to RabbitMQ, to which integers of different widths are equal when their numbers are. */
export function sameValue(a: FieldValue, b: FieldValue): boolean {
  if (a.type === "void" || b.type === "void") return a.type === b.type;
  if (integerTypes.has(a.type) && integerTypes.has(b.type)) return Number(a.value) === Number(b.value);
  if ((a.type === "float" || a.type === "double") && (b.type === "float" || b.type === "double")) {
    return a.value === b.value;
  }
  if (a.type !== b.type) return false;
  switch (a.type) {
    case "table":
      return sameTable(a.value, b.value as FieldTable);
    case "array":
      return sameArray(a.value, b.value as readonly FieldValue[]);
    case "decimal":
      return a.value === b.value && a.scale === (b as typeof a).scale;
    default:
      return sameScalar(a.value, b.value);
  }
}

/** Whether two tables have the same keys and values, in whatever order. */
export function sameTable(a: FieldTable, b: FieldTable): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined || !sameValue(value, other)) return false;
  }
  return true;
}

function sameArray(a: readonly FieldValue[], b: readonly FieldValue[]): boolean {
  return a.length === b.length && a.every((value, index) => sameValue(value, b[index]));
}

function sameScalar(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return a.length === b.length && a.every((octet, index) => octet === b[index]);
  }
  return a === b;
}

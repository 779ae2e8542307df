import type { FieldTable, FieldValue } from "../wire/index.ts";
import { badRequest } from "./http-error.ts";
import { isObject } from "./api-request.ts";

/** Deeper arguments than this are refused: what the broker keeps it must be able to read again. */
const mostDepth = 32;
const mostNameBytes = 255;

/**
 * Arguments or headers as RabbitMQ's management plugin makes them of JSON: whole numbers are 64 bits, others are doubles.
 * An empty list stands for an empty object, since that is how RabbitMQ shows one.
 * @throws HttpError 400
 */
export function tableOf(value: unknown, depth = 0): FieldTable {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return new Map();
  if (!isObject(value)) throw badRequest("arguments are not an object");
  if (depth > mostDepth) throw badRequest(`arguments are nested more than ${mostDepth} deep`);
  return new Map(
    Object.entries(value).map(([name, field]) => {
      if (Buffer.byteLength(name) > mostNameBytes)
        throw badRequest(`the name of an argument has at most ${mostNameBytes} bytes`);
      return [name, fieldOf(field, depth)];
    }),
  );
}

function fieldOf(value: unknown, depth: number): FieldValue {
  switch (typeof value) {
    case "string":
      return { type: "longstr", value };
    case "boolean":
      return { type: "bool", value };
    case "number":
      return Number.isInteger(value) ? integer(value) : { type: "double", value };
    default:
      break;
  }
  if (value === null) throw badRequest("null_not_allowed");
  if (!Array.isArray(value)) return { type: "table", value: tableOf(value, depth + 1) };
  if (depth > mostDepth) throw badRequest(`arguments are nested more than ${mostDepth} deep`);
  return { type: "array", value: value.map((item) => fieldOf(item, depth + 1)) };
}

function integer(value: number): FieldValue {
  const whole = BigInt(value);
  if (BigInt.asIntN(64, whole) !== whole) throw badRequest(["not_integer", String(value)]);
  return { type: "long", value: whole };
}

/** A table for people and programs that speak JSON; what type of number something was is lost. */
export function jsonOf(table: FieldTable): Record<string, unknown> {
  return Object.fromEntries([...table].map(([name, field]) => [name, jsonValue(field)]));
}

function jsonValue(field: FieldValue): unknown {
  switch (field.type) {
    case "void":
      return null;
    case "table":
      return jsonOf(field.value);
    case "array":
      return field.value.map(jsonValue);
    case "long":
    case "timestamp":
      return jsonInteger(field.value);
    case "decimal":
      return field.value / 10 ** field.scale;
    default:
      return field.value instanceof Uint8Array ? textOfBytes(field.value) : field.value;
  }
}

/** JSON has no limit, JavaScript's numbers do: the nearest. */
function jsonInteger(value: bigint): number {
  return Number(value);
}

function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

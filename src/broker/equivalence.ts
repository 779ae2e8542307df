/** Compares a declaration with what exists already, in RabbitMQ's words. https://www.rabbitmq.com/docs/queues#property-equivalence */
import { fieldText, ReplyCode, sameValue, type FieldTable, type FieldValue } from "../wire/index.ts";
import { ChannelError } from "./errors.ts";

/** @throws ChannelError 406 when the two differ. `scope` names the queue or exchange. */
export function assertSame<T extends string | boolean>(
  scope: string,
  argument: string,
  received: T,
  current: T,
): void {
  if (received !== current) {
    throw inequivalent(scope, argument, `received '${received}' but current is '${current}'`);
  }
}

/** @throws ChannelError 406 when the two tables differ in the argument `name`. */
export function assertSameArgument(
  scope: string,
  name: string,
  received: FieldTable,
  current: FieldTable,
): void {
  const now = received.get(name);
  const before = current.get(name);
  if (now === undefined && before === undefined) return;
  if (name === "x-queue-type" && isClassic(now) && isClassic(before)) return;
  if (now !== undefined && before !== undefined) {
    if (sameValue(now, before)) return;
    throw inequivalent(scope, name, `received '${fieldText(now)}' but current is '${fieldText(before)}'`);
  }
  throw inequivalent(scope, name, `received ${valueAndType(now)} but current is ${valueAndType(before)}`);
}

/** A queue of which no type is said is a classic one. */
function isClassic(type: FieldValue | undefined): boolean {
  return type === undefined || (type.type === "longstr" && type.value === "classic");
}

function inequivalent(scope: string, argument: string, difference: string): ChannelError {
  return new ChannelError(
    ReplyCode.PreconditionFailed,
    `inequivalent arg '${argument}' for ${scope}: ${difference}`,
  );
}

function valueAndType(field: FieldValue | undefined): string {
  return field === undefined ? "none" : `the value '${fieldText(field)}' of type '${field.type}'`;
}

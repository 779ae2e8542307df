import { fieldText, ReplyCode, type FieldTable, type FieldValue } from "../wire/index.ts";
import { ChannelError, ConnectionError } from "./errors.ts";

/**
 * Queue arguments with a meaning: what is wrong with a value, in RabbitMQ's words, or undefined. Others are kept and
 * change nothing. https://www.rabbitmq.com/docs/queues#optional-arguments
 */
const checks = new Map<string, (field: FieldValue, all: FieldTable) => string | undefined>(
  Object.entries({
    "x-message-ttl": nonNegativeInteger,
    "x-expires": positiveInteger,
    "x-max-length": nonNegativeInteger,
    "x-max-length-bytes": nonNegativeInteger,
    "x-max-priority": nonNegativeInteger,
    "x-overflow": (field) => oneOf(field, ["drop-head", "reject-publish", "reject-publish-dlx"]),
    "x-dead-letter-exchange": text,
    "x-dead-letter-routing-key": (field, all) =>
      text(field) ?? (all.has("x-dead-letter-exchange") ? undefined : "routing_key_but_no_dlx_defined"),
    "x-single-active-consumer": (field) =>
      field.type === "bool" ? undefined : `"expected boolean, got ${field.type}"`,
    "x-queue-type": text,
    "x-queue-mode": (field) => oneOf(field, ["default", "lazy"]),
  } satisfies Record<string, (field: FieldValue, all: FieldTable) => string | undefined>),
);

/** Arguments that are compared when a queue is declared again. */
export const comparedArguments: readonly string[] = [...checks.keys()];

/**
 * Arguments that change what becomes of messages and that this version does not carry out. Refused, because a queue that
 * silently ignored them would keep or lose messages against its owner's will.
 */
const refused = new Set(
  comparedArguments.filter((name) => !["x-queue-type", "x-queue-mode", "x-max-length"].includes(name)),
);

/** @throws ChannelError 406 for an ill-typed value; ConnectionError 540 for what is not carried out yet. */
export function assertQueueArguments(table: FieldTable, scope: string): void {
  for (const [name, field] of table) {
    const problem = checks.get(name)?.(field, table);
    if (problem === undefined) continue;
    throw new ChannelError(ReplyCode.PreconditionFailed, `invalid arg '${name}' for ${scope}: ${problem}`);
  }
  for (const name of table.keys()) {
    if (refused.has(name)) throw notYet(name);
  }
  const queueType = table.get("x-queue-type");
  if (queueType?.type === "longstr" && queueType.value !== "classic") throw notYet("x-queue-type");
}

export function notYet(argument: string): ConnectionError {
  return new ConnectionError(
    ReplyCode.NotImplemented,
    `argument '${argument}' is not carried out by this version of Warren; see docs/compatibility.md`,
  );
}

const integerTypes = ["byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"];

function nonNegativeInteger(field: FieldValue): string | undefined {
  if (!integerTypes.includes(field.type)) return `"expected integer, got ${field.type}"`;
  return Number(fieldText(field)) < 0 ? `{value_negative,${fieldText(field)}}` : undefined;
}

function positiveInteger(field: FieldValue): string | undefined {
  if (nonNegativeInteger(field) !== undefined) return nonNegativeInteger(field);
  return Number(fieldText(field)) === 0 ? "{value_zero,0}" : undefined;
}

function text(field: FieldValue): string | undefined {
  return field.type === "longstr" ? undefined : `{unacceptable_type,${field.type}}`;
}

function oneOf(field: FieldValue, words: readonly string[]): string | undefined {
  if (field.type !== "longstr") return `{unacceptable_type,${field.type}}`;
  return words.includes(fieldText(field)) ? undefined : "invalid_value";
}

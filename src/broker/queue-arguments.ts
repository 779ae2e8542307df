import { fieldText, ReplyCode, type FieldTable, type FieldValue } from "../wire/index.ts";
import { ChannelError, ConnectionError } from "./errors.ts";
import type { QueueOptions } from "./queues/index.ts";

/**
 * The RabbitMQ whose rules hold where its versions differ: 3.10, with which Warren is compared by tests, or 4.3, as far as
 * its documentation says. See docs/compatibility.md.
 */
export type Compatibility = "3" | "4";

type QueueType = "classic" | "quorum";
type Check = (field: FieldValue, all: FieldTable) => string | undefined;

interface Argument {
  readonly name: string;
  /** What is wrong with a value, in RabbitMQ's words, or undefined. */
  readonly check: Check;
  readonly queueTypes: readonly QueueType[];
}

const both: readonly QueueType[] = ["classic", "quorum"];
/** Ten years, RabbitMQ's limit for times. */
const mostMs = 315_360_000_000;

/**
 * Queue arguments that have a meaning, in the order in which RabbitMQ checks and compares them. Others are kept and change
 * nothing. https://www.rabbitmq.com/docs/queues#optional-arguments
 */
const known: readonly Argument[] = [
  { name: "x-expires", check: expiry, queueTypes: both },
  { name: "x-message-ttl", check: timeToLive, queueTypes: both },
  { name: "x-dead-letter-exchange", check: shortText, queueTypes: both },
  { name: "x-dead-letter-routing-key", check: deadLetterRoutingKey, queueTypes: both },
  {
    name: "x-dead-letter-strategy",
    check: oneOf(["at-most-once", "at-least-once"], () => "invalid_dlx_strategy"),
    queueTypes: ["quorum"],
  },
  { name: "x-max-length", check: nonNegativeInteger, queueTypes: both },
  { name: "x-max-length-bytes", check: nonNegativeInteger, queueTypes: both },
  // They matter to replicas only, of which there is one.
  { name: "x-max-in-memory-length", check: nonNegativeInteger, queueTypes: ["quorum"] },
  { name: "x-max-in-memory-bytes", check: nonNegativeInteger, queueTypes: ["quorum"] },
  { name: "x-max-priority", check: maxPriority, queueTypes: ["classic"] },
  {
    name: "x-overflow",
    check: oneOf(["drop-head", "reject-publish", "reject-publish-dlx"], () => "invalid_overflow"),
    queueTypes: both,
  },
  {
    name: "x-queue-mode",
    check: oneOf(["default", "lazy"], (value) => `"unsupported queue mode '${value}'"`),
    queueTypes: ["classic"],
  },
  { name: "x-queue-version", check: queueVersion, queueTypes: ["classic"] },
  {
    name: "x-single-active-consumer",
    check: (field) => (field.type === "bool" ? undefined : `{unacceptable_type,${field.type}}`),
    queueTypes: both,
  },
  { name: "x-queue-type", check: queueType, queueTypes: both },
  { name: "x-quorum-initial-group-size", check: positiveInteger, queueTypes: ["quorum"] },
  { name: "x-delivery-limit", check: anything, queueTypes: ["quorum"] },
  { name: "x-max-age", check: anything, queueTypes: [] },
  { name: "x-stream-max-segment-size-bytes", check: anything, queueTypes: [] },
  { name: "x-initial-cluster-size", check: anything, queueTypes: [] },
  {
    name: "x-queue-leader-locator",
    check: oneOf(["client-local", "balanced", "random", "least-leaders"], () => "invalid_queue_locator_arg"),
    queueTypes: ["quorum"],
  },
  { name: "x-queue-master-locator", check: text, queueTypes: ["classic"] },
];

/** Arguments that are compared when a queue is declared again. */
export const comparedArguments: readonly string[] = known.map(({ name }) => name);

/**
 * Whether a queue may be declared so; an empty name asks for a generated one.
 * @throws ChannelError 406; ConnectionError 540 for streams, 541 for what RabbitMQ 4 does not permit any more.
 */
export function assertQueueArguments(
  name: string,
  { arguments: table, durable, autoDelete, exclusiveOwner }: QueueOptions,
  vhost: string,
  compatibility: Compatibility,
): void {
  const queue = `queue '${name}' in vhost '${vhost}'`;
  const invalid = (argument: string, problem: string): ChannelError =>
    new ChannelError(ReplyCode.PreconditionFailed, `invalid arg '${argument}' for ${queue}${problem}`);

  const field = table.get("x-dead-letter-exchange");
  if (field && field.type !== "longstr") {
    throw new ChannelError(
      ReplyCode.PreconditionFailed,
      `invalid type '${field.type}' for arg 'x-dead-letter-exchange' in ${queue}`,
    );
  }
  const given = table.get("x-queue-type");
  const typeProblem = given && queueType(given);
  if (typeProblem) throw invalid("x-queue-type", `: ${typeProblem}`);
  const type = given ? fieldText(given) : "classic";
  if (type === "stream") {
    throw new ConnectionError(
      ReplyCode.NotImplemented,
      "queues of type 'stream' are not carried out by this version of Warren; see docs/compatibility.md",
    );
  }
  const isAllowed = ({ queueTypes }: Argument): boolean => queueTypes.includes(type as QueueType);
  for (const argument of known.filter(isAllowed)) {
    const value = table.get(argument.name);
    const problem = value && argument.check(value, table);
    if (problem) throw invalid(argument.name, `: ${problem}`);
  }
  for (const argument of known) {
    if (!isAllowed(argument) && table.has(argument.name))
      throw invalid(argument.name, ` of queue type rabbit_${type}_queue`);
  }
  if (type === "quorum") assertQuorumProperties(name, queue, { durable, autoDelete, exclusiveOwner });
  if (compatibility === "4" && !durable && exclusiveOwner === null) {
    // https://www.rabbitmq.com/release-information/deprecated-features-list (denied since 4.3)
    throw new ConnectionError(
      ReplyCode.InternalError,
      "Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not permitted anymore. " +
        "Declare the queue as durable, or as exclusive.",
    );
  }
}

function assertQuorumProperties(
  name: string,
  queue: string,
  { durable, autoDelete, exclusiveOwner }: Omit<QueueOptions, "arguments">,
): void {
  const refuse = (reason: string): never => {
    throw new ChannelError(ReplyCode.PreconditionFailed, reason);
  };
  if (name === "") refuse("Cannot declare a server-named queue for type rabbit_quorum_queue");
  if (autoDelete) refuse(`invalid property 'auto-delete' for ${queue}`);
  if (exclusiveOwner !== null) refuse(`invalid property 'exclusive-owner' for ${queue}`);
  if (!durable) refuse(`invalid property 'non-durable' for ${queue}`);
}

const integerTypes = ["byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"];

/** The same for other arguments than a queue's. */
export function notAnInteger(field: FieldValue): string | undefined {
  return integerTypes.includes(field.type) ? undefined : `"expected integer, got ${field.type}"`;
}

function nonNegativeInteger(field: FieldValue): string | undefined {
  const problem = notAnInteger(field);
  if (problem !== undefined) return problem;
  return Number(fieldText(field)) < 0 ? `{value_negative,${fieldText(field)}}` : undefined;
}

function positiveInteger(field: FieldValue): string | undefined {
  return nonNegativeInteger(field) ?? (Number(fieldText(field)) === 0 ? "{value_zero,0}" : undefined);
}

function timeToLive(field: FieldValue): string | undefined {
  const problem = nonNegativeInteger(field);
  if (problem !== undefined) return problem;
  return Number(fieldText(field)) > mostMs ? `{value_too_large,${fieldText(field)}}` : undefined;
}

function expiry(field: FieldValue): string | undefined {
  return positiveInteger(field) ?? timeToLive(field);
}

function maxPriority(field: FieldValue): string | undefined {
  const problem = nonNegativeInteger(field);
  if (problem !== undefined) return problem;
  return Number(fieldText(field)) > 255 ? `{max_value_exceeded,${fieldText(field)}}` : undefined;
}

function queueVersion(field: FieldValue): string | undefined {
  const version = fieldText(field);
  return (
    notAnInteger(field) ??
    (["1", "2"].includes(version) ? undefined : `"unsupported queue version '${version}'"`)
  );
}

function queueType(field: FieldValue): string | undefined {
  const types = ["classic", "quorum", "stream"];
  return oneOf(types, (value) => `"unsupported queue type '${value}'"`)(field, new Map());
}

function deadLetterRoutingKey(field: FieldValue, all: FieldTable): string | undefined {
  const problem = text(field);
  if (problem !== undefined) return problem;
  if (!all.has("x-dead-letter-exchange")) return "routing_key_but_no_dlx_defined";
  return shortText(field);
}

/** It becomes a message's exchange or routing key, which have no more bytes. */
function shortText(field: FieldValue): string | undefined {
  const problem = text(field);
  if (problem !== undefined) return problem;
  return Buffer.byteLength(fieldText(field)) > 255 ? "longer than 255 bytes" : undefined;
}

function text(field: FieldValue): string | undefined {
  return field.type === "longstr" ? undefined : `{unacceptable_type,${field.type}}`;
}

function oneOf(words: readonly string[], problem: (value: string) => string): Check {
  return (field) => text(field) ?? (words.includes(fieldText(field)) ? undefined : problem(fieldText(field)));
}

function anything(): undefined {}

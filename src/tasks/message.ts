/**
 * A task as a message. The body is `{"task_id", "task_type", "payload"}`; what retries need stands in headers, so that
 * programs in other languages can send and take tasks without knowing of them.
 */
import { randomUUID } from "node:crypto";
import { derivedId } from "./ids.ts";
import type { IncomingMessage, OutgoingMessage } from "./transport.ts";

export const Header = {
  /** The number of the attempt that this message is for, from 1. */
  attempt: "x-warren-attempt",
  /** When the task was sent first, in milliseconds since 1970. */
  firstSeen: "x-warren-first-seen",
  /** The last errors as JSON: `[{"attempt", "name", "message", "at"}]`. */
  errors: "x-warren-errors",
  /** Why our worker has given up, as a word: `failed`, `invalid`, … */
  reason: "x-warren-reason",
  /** Which redrive has sent it. */
  redrive: "x-warren-redrive",
  /** When it expires, in milliseconds since 1970, where the broker could not watch that while it was delayed. */
  expiresAt: "x-warren-expires-at",
  /** https://www.w3.org/TR/trace-context/ */
  traceparent: "traceparent",
} as const;

/** An attempt that failed, as the headers of later ones tell it. */
export interface AttemptError {
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface TaskMessage {
  readonly id: string;
  readonly type: string;
  readonly payload: unknown;
  readonly attempt: number;
  readonly firstSeenMs: number;
  readonly errors: readonly AttemptError[];
  readonly replyTo: string | undefined;
  /** It was delivered before, to somebody who has not acknowledged it. */
  readonly redelivered: boolean;
  /** All headers, ours and others'. */
  readonly headers: Readonly<Record<string, unknown>>;
}

export const defaultPriority = 5;
/** Headers are copied with each retry and kept by brokers in memory. */
const errorsKept = 5;
const longestErrorText = 500;

/** What came is no task, or is one that does not say which. */
class UndecodableError extends Error {
  override readonly name = "UndecodableError";
}

/** What is no task's envelope is a task of this type all the same, with what came as its payload. */
export interface Untyped {
  readonly type: string;
  /** Where it came: the same message may have gone to several queues, and is a task in each. */
  readonly queue: string;
}

/** @throws UndecodableError */
export function decodeTask(message: IncomingMessage, nowMs: number, untyped?: Untyped): TaskMessage {
  const {
    task_id: id = message.messageId,
    task_type: type,
    payload,
  } = untyped === undefined ? bodyOf(message) : envelopeOf(message, untyped);
  if (typeof id !== "string" || id === "")
    throw new UndecodableError("it has no task_id, and no message_id either");
  if (typeof type !== "string" || type === "") throw new UndecodableError(`task ${id} has no task_type`);
  const { headers } = message;
  return {
    id,
    type,
    payload,
    attempt: positive(headers[Header.attempt]) ?? 1,
    firstSeenMs: positive(headers[Header.firstSeen]) ?? message.timestampMs ?? nowMs,
    errors: decodeErrors(headers[Header.errors]),
    replyTo: message.replyTo,
    redelivered: message.redelivered,
    headers,
  };
}

/** What stands in the body whether or not it is a task that can be run; for people who look at dead letters. */
export function peekTask(message: IncomingMessage): {
  id: string | undefined;
  type: string | undefined;
  payload: unknown;
} {
  try {
    const { task_id: id = message.messageId, task_type: type, payload } = bodyOf(message);
    return { id: text(id), type: text(type), payload };
  } catch {
    return { id: message.messageId, type: undefined, payload: undefined };
  }
}

export interface NewTask {
  readonly id: string;
  readonly type: string;
  readonly payload: unknown;
  readonly priority: number;
  readonly ttl: number | undefined;
  readonly replyTo: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
}

export function encodeTask(task: NewTask): Omit<OutgoingMessage, "queue"> {
  const { id, type, payload, priority, ttl, replyTo, headers, nowMs } = task;
  return {
    body: { task_id: id, task_type: type, payload },
    messageId: id,
    contentType: "application/json",
    priority,
    expirationMs: ttl,
    replyTo,
    correlationId: replyTo === undefined ? undefined : id,
    timestampMs: nowMs,
    headers: { ...headers, [Header.attempt]: 1, [Header.firstSeen]: nowMs },
  };
}

/** The same task for another attempt. */
export function encodeAttempt(
  message: IncomingMessage,
  next: { attempt: number; firstSeenMs: number; errors: readonly AttemptError[] },
): Omit<OutgoingMessage, "queue"> {
  return {
    ...copyOf(message),
    headers: {
      ...withoutDeaths(message.headers),
      [Header.attempt]: next.attempt,
      [Header.firstSeen]: next.firstSeenMs,
      [Header.errors]: JSON.stringify(next.errors),
    },
  };
}

/** As it came, but for the expiration: whoever sends it on decides how long it may wait. */
export function copyOf(message: IncomingMessage): Omit<OutgoingMessage, "queue"> {
  const { body, messageId, contentType, priority, replyTo, correlationId, timestampMs, headers } = message;
  return {
    body,
    messageId,
    contentType,
    priority,
    replyTo,
    correlationId,
    timestampMs,
    headers,
    expirationMs: undefined,
  };
}

export function withError(errors: readonly AttemptError[], error: AttemptError): AttemptError[] {
  return [...errors, error].slice(-errorsKept);
}

export function attemptError(attempt: number, thrown: unknown, atMs: number): AttemptError {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return { attempt, name: error.name, message: error.message.slice(0, longestErrorText), at: atMs };
}

export function decodeErrors(header: unknown): AttemptError[] {
  if (typeof header !== "string") return [];
  try {
    const list: unknown = JSON.parse(header);
    return Array.isArray(list) ? (list as AttemptError[]) : [];
  } catch {
    // Somebody else's header of that name: the task itself is no worse for it.
    return [];
  }
}

/** What belongs to the way that a message has come, not to the task. */
const leftBehind =
  /^x-(first-death-.*|last-death-.*|death|delay|delivery-count|warren-expires-at|warren-reason)$/;

/** A task that starts anew has not died. */
export function withoutDeaths(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => !leftBehind.test(key)));
}

function bodyOf({ body }: IncomingMessage): Record<string, unknown> {
  let value: unknown = body;
  // Where the content type says JSON this has been tried already; many programs do not say.
  if (typeof body === "string" || Buffer.isBuffer(body)) {
    try {
      value = JSON.parse(body.toString());
    } catch (error) {
      throw new UndecodableError(`its body is no JSON: ${(error as Error).message}`);
    }
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UndecodableError("its body is no JSON object");
}

function envelopeOf(message: IncomingMessage, { type, queue }: Untyped): Record<string, unknown> {
  let body: unknown;
  try {
    body = bodyOf(message);
    if ("task_type" in (body as object)) return body as Record<string, unknown>;
  } catch {
    body = Buffer.isBuffer(message.body) ? message.body.toString() : message.body;
  }
  const { messageId } = message;
  // Without an id a redelivery looks like another message.
  const id = messageId === undefined ? randomUUID() : derivedId(queue, messageId);
  return { task_id: id, task_type: type, payload: body };
}

function positive(value: unknown): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) && number >= 1
    ? Math.floor(number)
    : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

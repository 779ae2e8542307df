import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { StateStore } from "../state/index.ts";
import { copyOf, decodeErrors, Header, peekTask, withoutDeaths, type AttemptError } from "./message.ts";
import type { QueueDefinition } from "./queue.ts";
import type { Browser, Death, Delivery, IncomingMessage, OutgoingMessage, Transport } from "./transport.ts";

/** A task that was given up, as far as is known. */
export interface DeadLetter {
  readonly taskId: string | undefined;
  readonly type: string | undefined;
  readonly payload: unknown;
  /** `expired`, `maxlen`, `delivery_limit`, `rejected`; of our workers `failed`, `fatal`, `invalid`, `crashed`, `undecodable`, `unknown-task`, `unknown-outcome`. */
  readonly reason: string;
  /** In which it died first. */
  readonly queue: string;
  readonly attempts: number;
  /** The last errors, the first of them first. */
  readonly errors: readonly AttemptError[];
  readonly firstSeenMs: number | undefined;
  readonly diedAtMs: number | undefined;
  /** The latest first. */
  readonly deaths: readonly Death[];
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface LetterFilter {
  /** A function, or what the letter must equal: `{ reason: "expired", type: "email" }`. */
  readonly where?:
    | Partial<Pick<DeadLetter, "taskId" | "type" | "reason" | "queue">>
    | ((letter: DeadLetter) => boolean);
  /** Died at this time or later: a Date or milliseconds since 1970. */
  readonly since?: Date | number;
  /** Default: browse 100, redrive and discard all. */
  readonly limit?: number;
}

export interface RedriveOptions extends LetterFilter {
  /** What is sent instead of the payload that failed. */
  readonly patch?: (payload: unknown, letter: DeadLetter) => unknown;
  /** Letters per second at most. Default: as fast as it goes. */
  readonly rate?: number;
  /** Called after each letter. */
  readonly onProgress?: (redriven: number) => void;
  readonly signal?: AbortSignal;
}

const defaultBrowseLimit = 100;

/** The dead letters of one queue. */
export class DeadLetters {
  private readonly queue: QueueDefinition;
  private readonly transport: Transport;
  private readonly state: StateStore | undefined;

  constructor(queue: QueueDefinition, parts: { transport: Transport; state: StateStore | undefined }) {
    this.queue = queue;
    this.transport = parts.transport;
    this.state = parts.state;
  }

  /** The oldest first. They stay where they are, and are marked as redelivered. */
  async browse(filter: LetterFilter = {}): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = [];
    await this.visit({ limit: defaultBrowseLimit, ...filter }, async (_browser, _delivery, letter) => {
      letters.push(letter);
    });
    return letters;
  }

  /** Sends letters to their queue again, as if they had never been tried. Resolves with how many. */
  async redrive(options: RedriveOptions = {}): Promise<number> {
    const { patch, rate, onProgress, signal } = options;
    const redrive = randomUUID();
    const betweenMs = rate === undefined ? 0 : 1000 / rate;
    await this.ensureQueue();
    let count = 0;
    await this.visit(options, async (browser, delivery, letter) => {
      signal?.throwIfAborted();
      if (count > 0 && betweenMs > 0) await sleep(betweenMs, undefined, { signal });
      if (letter.taskId !== undefined) await this.state?.reopen(letter.taskId);
      await browser.move(delivery, this.again(delivery.message, letter, patch, redrive));
      count++;
      onProgress?.(count);
    });
    return count;
  }

  /** Removes letters for good. Resolves with how many. */
  async discard(filter: LetterFilter = {}): Promise<number> {
    let count = 0;
    await this.visit(filter, async (browser, delivery) => {
      await browser.remove(delivery);
      count++;
    });
    return count;
  }

  /** How many there are. */
  async count(): Promise<number> {
    return (await this.transport.queueStatus(this.queue.deadLetter.queue))?.ready ?? 0;
  }

  /** The letters that were there at the beginning; one that comes back meanwhile is another. */
  private async visit(
    { where, since, limit = Number.POSITIVE_INFINITY }: LetterFilter,
    visitor: (browser: Browser, delivery: Delivery, letter: DeadLetter) => Promise<void>,
  ): Promise<void> {
    const matches = matcher(where, since);
    const total = await this.count();
    if (total === 0) return;
    await using browser = await this.transport.browse(this.queue.deadLetter.queue);
    for (let seen = 0, visited = 0; seen < total && visited < limit; seen++) {
      const delivery = await browser.next();
      if (delivery === undefined) return;
      const letter = this.letterOf(delivery.message);
      if (!matches(letter)) continue;
      await visitor(browser, delivery, letter);
      visited++;
    }
  }

  /**
   * A letter for a queue that somebody has deleted would have nowhere to go. One that is there is taken as it is: whoever looks
   * after dead letters need not know how it was described.
   */
  private async ensureQueue(): Promise<void> {
    const { transport, queue } = this;
    if ((await transport.queueStatus(queue.name)) === undefined) await transport.declare(queue);
  }

  letterOf(message: IncomingMessage): DeadLetter {
    return readLetter(message, this.transport.deathsOf(message), this.queue.name);
  }

  private again(
    message: IncomingMessage,
    letter: DeadLetter,
    patch: RedriveOptions["patch"],
    redrive: string,
  ): OutgoingMessage {
    const copy = copyOf(message);
    const headers = {
      ...withoutDeaths(message.headers),
      [Header.attempt]: 1,
      [Header.errors]: JSON.stringify(letter.errors),
      [Header.redrive]: redrive,
    };
    const body =
      patch === undefined
        ? copy.body
        : { task_id: letter.taskId, task_type: letter.type, payload: patch(letter.payload, letter) };
    const contentType = patch === undefined ? copy.contentType : "application/json";
    return { ...copy, body, contentType, headers, queue: this.queue.name };
  }
}

export function readLetter(message: IncomingMessage, deaths: readonly Death[], queue: string): DeadLetter {
  const { id, type, payload } = peekTask(message);
  const { headers } = message;
  const [last] = deaths;
  const ours = headers[Header.reason];
  return {
    taskId: id,
    type,
    payload,
    // Of the death that brought it here: a letter that was buried by a worker may die again elsewhere.
    reason: last?.reason === "rejected" && typeof ours === "string" ? ours : (last?.reason ?? "unknown"),
    queue: deaths.at(-1)?.queue ?? queue,
    attempts: Number(headers[Header.attempt] ?? 1),
    errors: decodeErrors(headers[Header.errors]),
    firstSeenMs: number(headers[Header.firstSeen]) ?? message.timestampMs,
    diedAtMs: last?.atMs,
    deaths,
    headers,
  };
}

function matcher(
  where: LetterFilter["where"],
  since: Date | number | undefined,
): (letter: DeadLetter) => boolean {
  const sinceMs = since === undefined ? undefined : Number(since);
  // The broker notes whole seconds.
  const isLateEnough = ({ diedAtMs }: DeadLetter): boolean =>
    sinceMs === undefined || (diedAtMs !== undefined && diedAtMs >= Math.floor(sinceMs / 1000) * 1000);
  if (typeof where === "function") return (letter) => isLateEnough(letter) && where(letter);
  const wanted = Object.entries(where ?? {});
  return (letter) =>
    isLateEnough(letter) && wanted.every(([key, value]) => letter[key as keyof DeadLetter] === value);
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

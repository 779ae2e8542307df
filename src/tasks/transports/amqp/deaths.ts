import type { Death, IncomingMessage } from "../../transport.ts";
import { isWaitQueue } from "./delays.ts";

/** One entry of `x-death`. https://www.rabbitmq.com/docs/dlx#effects */
interface DeathEntry {
  readonly count: number;
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly "routing-keys": readonly string[];
  readonly time: Date;
  readonly "original-expiration"?: string;
}

/** The latest first, as brokers note them; without the queues in which a delayed message has waited. */
export function readDeaths({ headers }: IncomingMessage): Death[] {
  return entriesOf(headers).map(({ reason, queue, count, time }) => ({
    reason,
    queue,
    count,
    atMs: Number(time),
  }));
}

/** The headers of a letter that our worker sends itself, with its own reason beside: as if the broker had rejected it. */
export function withDeath(message: IncomingMessage, queue: string, nowMs: number): Record<string, unknown> {
  const { headers, exchange, routingKey } = message;
  const before = entriesOf(headers);
  const same = before.find((entry) => entry.queue === queue && entry.reason === "rejected");
  const entry: DeathEntry = {
    count: (same?.count ?? 0) + 1,
    reason: "rejected",
    queue,
    exchange,
    "routing-keys": [routingKey],
    time: new Date(nowMs),
  };
  const deaths = [entry, ...before.filter((other) => other !== same)];
  const first = deaths.at(-1)!;
  return {
    ...headers,
    "x-death": deaths,
    "x-first-death-exchange": first.exchange,
    "x-first-death-queue": first.queue,
    "x-first-death-reason": first.reason,
    "x-last-death-exchange": exchange,
    "x-last-death-queue": queue,
    "x-last-death-reason": "rejected",
  };
}

function entriesOf(headers: IncomingMessage["headers"]): DeathEntry[] {
  const deaths = headers["x-death"];
  if (!Array.isArray(deaths)) return [];
  return (deaths as DeathEntry[]).filter(({ queue }) => !isWaitQueue(queue));
}

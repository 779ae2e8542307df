import type { Clock } from "../base/index.ts";
import type { StateStore } from "../state/index.ts";
import { Header } from "./message.ts";
import type { QueueDefinition } from "./queue.ts";
import type { Transport } from "./transport.ts";

/** How a queue of tasks is. What cannot be known here is undefined, not 0. */
export interface QueueReport {
  readonly queue: string;
  /** Waiting for a worker. */
  readonly ready: number;
  /** At work; known by the state. */
  readonly unacked: number | undefined;
  readonly consumers: number;
  /** Tasks that ended, per second, over the last minute; known by the state. */
  readonly ratePerSecond: number | undefined;
  /** How long the first that waits has been there since it was sent, in milliseconds. */
  readonly oldestAgeMs: number | undefined;
  readonly dead: number;
}

const rateWindowMs = 60_000;

export async function reportOn(
  queue: QueueDefinition,
  { transport, state, clock }: { transport: Transport; state: StateStore | undefined; clock: Clock },
): Promise<QueueReport> {
  const nowMs = clock.nowMs();
  const [status, dead, counts, oldestAgeMs] = await Promise.all([
    transport.queueStatus(queue.name),
    transport.queueStatus(queue.deadLetter.queue),
    state?.counts(queue.name, nowMs - rateWindowMs),
    oldestAge(transport, queue, nowMs),
  ]);
  return {
    queue: queue.name,
    ready: status?.ready ?? 0,
    unacked: counts?.active,
    consumers: status?.consumers ?? 0,
    ratePerSecond: counts && counts.finishedSince / (rateWindowMs / 1000),
    oldestAgeMs,
    dead: dead?.ready ?? 0,
  };
}

/** By looking at the first and putting it back, which marks it as redelivered. */
async function oldestAge(
  transport: Transport,
  { name }: QueueDefinition,
  nowMs: number,
): Promise<number | undefined> {
  // Where returns are counted a look would count as one.
  if (transport.capabilities.crashAttempts === "emulated") return undefined;
  const status = await transport.queueStatus(name);
  if (!status || status.ready === 0) return undefined;
  await using browser = await transport.browse(name);
  const first = await browser.next();
  if (!first) return undefined;
  const sentMs = first.message.headers[Header.firstSeen] ?? first.message.timestampMs;
  return typeof sentMs === "number" ? Math.max(0, nowMs - sentMs) : undefined;
}

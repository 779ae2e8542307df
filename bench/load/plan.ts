/** What one run asks of the generator. Counts and rates are totals over all queues. */
export interface LoadPlan {
  port: number;
  /** One publisher connection and one consumer connection for each. */
  queues: string[];
  roles: Role[];
  bodyBytes: number;
  /** delivery-mode 2. */
  persistent: boolean;
  durable: boolean;
  /** What the queues are, and the messages in them. Default "plain". */
  kind?: QueueKind;
  /** Unconfirmed messages allowed on each publisher connection; 0 publishes without confirms. */
  confirmWindow: number;
  autoAck: boolean;
  /** Per consumer connection; with `autoAck` neither of the two is used. */
  prefetch: number;
  ackEvery: number;
  /** Open loop: messages leave at this rate whether or not the broker keeps up, and carry the time they were due. 0: as fast as it goes. */
  ratePerSecond: number;
  length: Window | Count;
}

/**
 * "priority": messages of ten priorities in turn; "ttl": with a time to live of an hour, which none of them reaches;
 * "delayed": published to a delayed exchange, which holds each for {@link delayMs}.
 */
export type QueueKind = "plain" | "priority" | "ttl" | "delayed";

export const delayMs = 20_000;

export type Role = "publisher" | "consumer";

/** Counts for `durationMs` after a warm-up that is not counted. */
interface Window {
  warmUpMs: number;
  durationMs: number;
}

/** Ends when every message is confirmed (publisher) and delivered (consumer). */
interface Count {
  messages: number;
}

/** Each queue's share of a counted run; the first queues take the remainder. */
export function shareOf(messages: number, queueIndex: number, queueCount: number): number {
  return Math.floor(messages / queueCount) + (queueIndex < messages % queueCount ? 1 : 0);
}

/** Refuses plans that would hang or measure something else than they say. */
export function checkPlan(plan: LoadPlan): void {
  if (!plan.autoAck && plan.prefetch > 0 && plan.ackEvery > plan.prefetch) {
    throw new Error(
      `ackEvery ${plan.ackEvery} exceeds prefetch ${plan.prefetch}: the consumer would wait forever`,
    );
  }
  if (plan.ratePerSecond > 0 && plan.bodyBytes < 8) {
    throw new Error("a rate needs bodies of at least 8 bytes, they carry the time each message was due");
  }
  // Without confirms, whatever is still in the socket at the end would count as published.
  if ("messages" in plan.length && plan.roles.includes("publisher") && plan.confirmWindow === 0) {
    throw new Error("a counted run needs a confirm window");
  }
}

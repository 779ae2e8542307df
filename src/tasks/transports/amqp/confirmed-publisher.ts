import type { Channel, Connection, Envelope, ReturnedMessage } from "rabbitmq-client";
import type { Logger } from "../../../base/index.ts";
import { PublishError } from "../../errors.ts";
import type { TurnWrites } from "./turn-writes.ts";

/** What no other try would change: the channel or the message is refused. */
const finalCodes = new Set([
  "NOT_FOUND",
  "ACCESS_REFUSED",
  "PRECONDITION_FAILED",
  "CONTENT_TOO_LARGE",
  "NOT_ALLOWED",
]);
const betweenTriesMs = 100;

/** No queue takes what was published. */
export class UnroutableError extends PublishError {}

/** A channel in confirm mode. */
interface PublishChannel {
  readonly channel: Channel;
  readonly returned: ReturnedMessage[];
  inFlight: number;
  /** Not to be published to any more; closed when nothing is in flight on it. */
  isRetired: boolean;
}

interface Waiting {
  readonly deadlineMs: number;
  readonly giveUp: (error: Error) => void;
}

/**
 * Publishes with confirms on a channel that is made anew when it is lost, and after each nack: on a RabbitMQ quorum queue
 * whose leader has just died, a channel that was first used then is nacked for ever.
 */
export class ConfirmedPublisher {
  private readonly connection: Connection;
  private readonly writes: TurnWrites;
  private readonly log: Logger;
  private readonly timeoutMs: number;
  private opening: Promise<PublishChannel> | undefined;
  private current: PublishChannel | undefined;
  private readonly waiting = new Set<Waiting>();
  private sweep: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(connection: Connection, writes: TurnWrites, timeoutMs: number, log: Logger) {
    this.writes = writes;
    this.connection = connection;
    this.timeoutMs = timeoutMs;
    this.log = log;
  }

  /** @throws PublishError; the signal's reason */
  async publish(envelope: Envelope, body: unknown, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise: gaveUp, reject: giveUp } = Promise.withResolvers<never>();
    // The race may be over before it is lost.
    gaveUp.catch(() => {});
    const waiting: Waiting = { deadlineMs: performance.now() + this.timeoutMs, giveUp };
    const aborted = (): void => giveUp(signal!.reason as Error);
    signal?.addEventListener("abort", aborted, { once: true });
    this.waiting.add(waiting);
    this.sweep ??= setInterval(() => this.giveUpOverdue(), 250).unref();
    try {
      await Promise.race([this.untilConfirmed(envelope, body, waiting), gaveUp]);
    } finally {
      this.waiting.delete(waiting);
      signal?.removeEventListener("abort", aborted);
      if (this.waiting.size === 0) {
        clearInterval(this.sweep);
        this.sweep = undefined;
      }
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.sweep);
    for (const { giveUp } of this.waiting)
      giveUp(new PublishError("the bus was closed before the message was confirmed"));
    await this.current?.channel.close();
  }

  private async untilConfirmed(envelope: Envelope, body: unknown, waiting: Waiting): Promise<void> {
    while (this.waiting.has(waiting)) {
      const refusal = await this.tryOnce(envelope, body);
      if (refusal === undefined) return;
      this.log.debug({ error: refusal.message, routingKey: envelope.routingKey }, "publishing again");
      await new Promise((resolve) => setTimeout(resolve, betweenTriesMs).unref());
    }
  }

  /** @returns what went wrong, if another try may end better. @throws PublishError if it will not */
  private async tryOnce(envelope: Envelope, body: unknown): Promise<Error | undefined> {
    let open: PublishChannel;
    try {
      open = this.current?.channel.active ? this.current : await this.open();
    } catch (error) {
      return this.retryable(error as Error, envelope);
    }
    open.inFlight++;
    try {
      this.writes.gather();
      await open.channel.basicPublish(envelope, body);
      if (!envelope.mandatory || !(await wasReturned(open, envelope))) return undefined;
    } catch (error) {
      open.isRetired = true;
      if (this.current === open) this.current = undefined;
      return this.retryable(error as Error, envelope);
    } finally {
      open.inFlight--;
      if (open.isRetired && open.inFlight === 0) void open.channel.close().catch(() => {});
    }
    throw new UnroutableError(
      `no queue takes what is published to exchange '${envelope.exchange}' with key '${envelope.routingKey}'. Was the queue deleted?`,
    );
  }

  /** @throws PublishError when no other try would end better */
  private retryable(error: Error & { code?: string }, { routingKey }: Envelope): Error {
    if (!this.closed && !finalCodes.has(error.code ?? "")) return error;
    throw new PublishError(`not published to '${routingKey}': ${error.message}`, { cause: error });
  }

  private open(): Promise<PublishChannel> {
    return (this.opening ??= this.acquire().finally(() => {
      this.opening = undefined;
    }));
  }

  private async acquire(): Promise<PublishChannel> {
    const channel = await this.connection.acquire();
    const returned: ReturnedMessage[] = [];
    channel.on("basic.return", (message) => returned.push(message));
    await channel.confirmSelect();
    this.current = { channel, returned, inFlight: 0, isRetired: false };
    return this.current;
  }

  private giveUpOverdue(): void {
    const nowMs = performance.now();
    for (const { deadlineMs, giveUp } of this.waiting) {
      if (deadlineMs > nowMs) continue;
      giveUp(
        new PublishError(
          `not confirmed within ${this.timeoutMs} ms: is the broker reachable, and not out of memory or disk? The message may have been stored all the same.`,
        ),
      );
    }
  }
}

async function wasReturned(
  { returned }: PublishChannel,
  { messageId, routingKey }: Envelope,
): Promise<boolean> {
  // The client tells of a return, which came before the confirm, in the next turn only.
  await new Promise(setImmediate);
  if (returned.length === 0) return false;
  const at = returned.findIndex(
    (message) => message.messageId === messageId && message.routingKey === routingKey,
  );
  if (at < 0) return false;
  returned.splice(at, 1);
  return true;
}

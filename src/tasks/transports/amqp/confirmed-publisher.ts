import type { Logger } from "../../../base/index.ts";
import {
  InterruptedError,
  RefusedError,
  type Channel,
  type Connection,
  type Publication,
  type ReceivedMessage,
} from "../../../client/index.ts";
import { PublishError, UnroutableError } from "../../errors.ts";

/** What no other try would change: the message, or any by this user, is refused. */
const finalCodes = new Set(["ACCESS_REFUSED", "PRECONDITION_FAILED", "CONTENT_TOO_LARGE", "NOT_ALLOWED"]);
const betweenTriesMs = 100;
const lookForOverdueMs = 250;

/** A message until it is confirmed, and whoever waits for that. */
interface Pending {
  readonly publication: Publication;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A channel in confirm mode. */
interface PublishChannel {
  readonly channel: Channel;
  /** By tag, in the order of their tags. */
  readonly unconfirmed: Map<number, Pending>;
  readonly returned: ReceivedMessage[];
  /** Not to be published to any more; closed when all is confirmed. */
  isRetired: boolean;
}

/**
 * Publishes with confirms on a channel that is made anew when it is lost, and after each nack: on a RabbitMQ quorum queue
 * whose leader has just died, a channel that was first used then is nacked for ever.
 *
 * Hot path of a sender: one promise for each message. Benchmark: bench/tasks.
 */
export class ConfirmedPublisher {
  private readonly connection: Connection;
  private readonly log: Logger;
  private readonly timeoutMs: number;
  private opening: Promise<PublishChannel> | undefined;
  private current: PublishChannel | undefined;
  /** In the order in which they came. */
  private readonly waiting = new Set<Pending>();
  private sweep: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(connection: Connection, timeoutMs: number, log: Logger) {
    this.connection = connection;
    this.timeoutMs = timeoutMs;
    this.log = log;
  }

  /** Rejects with a PublishError, or the signal's reason. */
  publish(publication: Publication, signal?: AbortSignal): Promise<void> {
    if (signal !== undefined) return this.publishAbortable(publication, signal);
    return new Promise((resolve, reject) => void this.begin(publication, resolve, reject));
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.sweep);
    for (const pending of this.waiting)
      this.fail(pending, new PublishError("the bus was closed before the message was confirmed"));
    await this.current?.channel.close();
  }

  private async publishAbortable(publication: Publication, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const pending = this.begin(publication, resolve, reject);
    const aborted = (): void => this.fail(pending, signal.reason as Error);
    signal.addEventListener("abort", aborted, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", aborted));
  }

  private begin(publication: Publication, resolve: () => void, reject: (error: Error) => void): Pending {
    const pending = { publication, deadlineMs: performance.now() + this.timeoutMs, resolve, reject };
    this.waiting.add(pending);
    this.sweep ??= setInterval(() => this.failOverdue(), lookForOverdueMs).unref();
    this.tryOnce(pending);
    return pending;
  }

  private tryOnce(pending: Pending): void {
    if (!this.waiting.has(pending)) return;
    const open = this.current;
    if (open?.channel.active) {
      this.publishOn(open, pending);
      return;
    }
    this.open().then(
      () => this.tryOnce(pending),
      (error: Error) => this.failed(pending, error),
    );
  }

  private publishOn(open: PublishChannel, pending: Pending): void {
    try {
      open.unconfirmed.set(open.channel.basicPublish(pending.publication), pending);
    } catch (error) {
      // A name that is too long, for instance: nothing was sent.
      this.fail(pending, new PublishError((error as Error).message, { cause: error }));
    }
  }

  private confirmed(open: PublishChannel, lastTag: number, multiple: boolean, isAcked: boolean): void {
    const { unconfirmed } = open;
    if (!isAcked) this.retire(open);
    if (multiple) {
      for (const tag of unconfirmed.keys()) {
        if (tag > lastTag) break;
        this.settle(open, tag, isAcked);
      }
    } else {
      this.settle(open, lastTag, isAcked);
    }
    if (open.isRetired && unconfirmed.size === 0) void open.channel.close();
  }

  private settle(open: PublishChannel, tag: number, isAcked: boolean): void {
    const pending = open.unconfirmed.get(tag);
    if (pending === undefined) return;
    open.unconfirmed.delete(tag);
    if (isAcked) this.acked(open, pending);
    else this.again(pending, "the broker could not take it");
  }

  /** A message that no queue takes is returned first, and confirmed all the same. */
  private acked({ returned }: PublishChannel, pending: Pending): void {
    const { exchange, routingKey, properties } = pending.publication;
    const at =
      returned.length === 0
        ? -1
        : returned.findIndex(
            (message) =>
              message.properties.messageId === properties.messageId && message.routingKey === routingKey,
          );
    if (at < 0) {
      if (this.end(pending)) pending.resolve();
      return;
    }
    returned.splice(at, 1);
    const where = `exchange '${exchange}' with key '${routingKey}'`;
    this.fail(
      pending,
      new UnroutableError(`no queue takes what is published to ${where}. Was the queue deleted?`),
    );
  }

  private retire(open: PublishChannel): void {
    open.isRetired = true;
    if (this.current === open) this.current = undefined;
  }

  /** The channel has closed under what was not confirmed yet: for one of these, or with the connection. */
  private lost(open: PublishChannel, error: Error): void {
    this.retire(open);
    const lost = [...open.unconfirmed.values()];
    open.unconfirmed.clear();
    if (lost.length > 1 && error instanceof RefusedError && finalCodes.has(error.code)) {
      void this.findRefused(lost);
    } else {
      for (const pending of lost) this.failed(pending, error);
    }
  }

  /** One of them is refused, and closes the channel; it must not take the others with it. */
  private async findRefused(suspects: readonly Pending[]): Promise<void> {
    for (const pending of suspects) {
      try {
        const alone = await this.acquire();
        const { promise, resolve } = Promise.withResolvers<void>();
        const { onConfirm, onClose } = alone.channel;
        alone.channel.onConfirm = (...confirm) => resolve(onConfirm?.(...confirm));
        alone.channel.onClose = (error) => resolve(onClose?.(error));
        if (this.waiting.has(pending)) this.publishOn(alone, pending);
        if (alone.unconfirmed.size > 0) await promise;
        await alone.channel.close();
      } catch (error) {
        this.failed(pending, error as Error);
      }
    }
  }

  /** Not confirmed: again, unless that would end no better. */
  private failed(pending: Pending, error: Error): void {
    const { exchange, routingKey } = pending.publication;
    const code = error instanceof RefusedError ? error.code : "";
    // The channel may have been closed for another message.
    if (code === "NOT_FOUND" && error.message.includes(`'${exchange}'`)) {
      this.fail(
        pending,
        new UnroutableError(`there is no exchange '${exchange}' any more`, { cause: error }),
      );
    } else if (this.closed || finalCodes.has(code)) {
      this.fail(
        pending,
        new PublishError(`not published to '${routingKey}': ${error.message}`, { cause: error }),
      );
    } else {
      this.again(pending, error.message);
    }
  }

  private again(pending: Pending, why: string): void {
    this.log.debug({ error: why, routingKey: pending.publication.routingKey }, "publishing again");
    setTimeout(() => this.tryOnce(pending), betweenTriesMs).unref();
  }

  private fail(pending: Pending, error: Error): void {
    if (this.end(pending)) pending.reject(error);
  }

  /** False when somebody has been told already. */
  private end(pending: Pending): boolean {
    return this.waiting.delete(pending);
  }

  private open(): Promise<PublishChannel> {
    this.opening ??= this.acquire()
      .then((open) => (this.current = open))
      .finally(() => {
        this.opening = undefined;
      });
    return this.opening;
  }

  private async acquire(): Promise<PublishChannel> {
    const channel = await this.connection.acquire();
    await channel.confirmSelect();
    const open: PublishChannel = { channel, unconfirmed: new Map(), returned: [], isRetired: false };
    channel.onReturn = (message) => open.returned.push(message);
    channel.onConfirm = (tag, multiple, isAcked) => this.confirmed(open, tag, multiple, isAcked);
    channel.onClose = (error) => this.lost(open, error ?? new InterruptedError("the channel was closed"));
    return open;
  }

  private failOverdue(): void {
    const nowMs = performance.now();
    // In the order in which they came, with the same time for each.
    for (const pending of this.waiting) {
      if (pending.deadlineMs > nowMs) return;
      this.fail(
        pending,
        new PublishError(
          `not confirmed within ${this.timeoutMs} ms: is the broker reachable, and not out of memory or disk? The message may have been stored all the same.`,
        ),
      );
    }
  }
}

import type { Channel, Connection, Envelope, ReturnedMessage } from "rabbitmq-client";
import type { Logger } from "../../../base/index.ts";
import { PublishError } from "../../errors.ts";
import type { TurnWrites } from "./turn-writes.ts";

/** What no other try would change: the channel or the message is refused. */
const finalCodes = new Set(["ACCESS_REFUSED", "PRECONDITION_FAILED", "CONTENT_TOO_LARGE", "NOT_ALLOWED"]);
const betweenTriesMs = 100;
const lookForOverdueMs = 250;

/** No queue takes what was published, or the exchange is gone. */
export class UnroutableError extends PublishError {}

/** A message until it is confirmed, and whoever waits for that. */
interface Publication {
  readonly envelope: Envelope;
  readonly body: unknown;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A channel in confirm mode. */
interface PublishChannel {
  readonly channel: Channel;
  readonly returned: ReturnedMessage[];
  /** Confirmed, and perhaps returned before. */
  confirmed: Publication[];
  inFlight: number;
  /** Not to be published to any more; closed when nothing is in flight on it. */
  isRetired: boolean;
}

/**
 * Publishes with confirms on a channel that is made anew when it is lost, and after each nack: on a RabbitMQ quorum queue
 * whose leader has just died, a channel that was first used then is nacked for ever.
 *
 * Hot path of a sender: one promise for each message, and what can be done once per turn is. Benchmark: bench/tasks.
 */
export class ConfirmedPublisher {
  private readonly connection: Connection;
  private readonly writes: TurnWrites;
  private readonly log: Logger;
  private readonly timeoutMs: number;
  private opening: Promise<PublishChannel> | undefined;
  private current: PublishChannel | undefined;
  private readonly waiting = new Set<Publication>();
  private sweep: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(connection: Connection, writes: TurnWrites, timeoutMs: number, log: Logger) {
    this.connection = connection;
    this.writes = writes;
    this.timeoutMs = timeoutMs;
    this.log = log;
  }

  /** Rejects with a PublishError, or the signal's reason. */
  publish(envelope: Envelope, body: unknown, signal?: AbortSignal): Promise<void> {
    if (signal !== undefined) return this.publishAbortable(envelope, body, signal);
    return new Promise((resolve, reject) => this.begin(envelope, body, resolve, reject));
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.sweep);
    for (const publication of this.waiting)
      this.fail(publication, new PublishError("the bus was closed before the message was confirmed"));
    await this.current?.channel.close();
  }

  private async publishAbortable(envelope: Envelope, body: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const publication = this.begin(envelope, body, resolve, reject);
    const aborted = (): void => this.fail(publication, signal.reason as Error);
    signal.addEventListener("abort", aborted, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", aborted));
  }

  private begin(
    envelope: Envelope,
    body: unknown,
    resolve: () => void,
    reject: (error: Error) => void,
  ): Publication {
    const publication = { envelope, body, deadlineMs: performance.now() + this.timeoutMs, resolve, reject };
    this.waiting.add(publication);
    this.sweep ??= setInterval(() => this.failOverdue(), lookForOverdueMs).unref();
    this.tryOnce(publication);
    return publication;
  }

  private tryOnce(publication: Publication): void {
    if (!this.waiting.has(publication)) return;
    const open = this.current;
    if (!open?.channel.active) {
      this.open().then(
        () => this.tryOnce(publication),
        (error: Error) => this.refused(publication, error),
      );
      return;
    }
    open.inFlight++;
    this.writes.gather();
    open.channel.basicPublish(publication.envelope, publication.body).then(
      () => this.confirmed(open, publication),
      (error: Error) => {
        open.isRetired = true;
        if (this.current === open) this.current = undefined;
        this.leave(open);
        this.refused(publication, error);
      },
    );
  }

  private confirmed(open: PublishChannel, publication: Publication): void {
    if (!publication.envelope.mandatory) {
      this.succeed(publication);
      this.leave(open);
      return;
    }
    // The client tells of a return, which came before the confirm, in an immediate of its own, which may stand behind the
    // one that is set here for the first of many, but not behind the one after that.
    if (open.confirmed.push(publication) > 1) return;
    setImmediate(() => {
      const { confirmed } = open;
      open.confirmed = [];
      setImmediate(() => {
        for (const each of confirmed) this.returnedOrDone(open, each);
      });
    });
  }

  private returnedOrDone(open: PublishChannel, publication: Publication): void {
    const { exchange, routingKey, messageId } = publication.envelope;
    const { returned } = open;
    const at =
      returned.length === 0
        ? -1
        : returned.findIndex(
            (message) => message.messageId === messageId && message.routingKey === routingKey,
          );
    if (at < 0) {
      this.succeed(publication);
    } else {
      returned.splice(at, 1);
      const where = `exchange '${exchange}' with key '${routingKey}'`;
      this.fail(
        publication,
        new UnroutableError(`no queue takes what is published to ${where}. Was the queue deleted?`),
      );
    }
    this.leave(open);
  }

  private leave(open: PublishChannel): void {
    open.inFlight--;
    if (open.isRetired && open.inFlight === 0) open.channel.close().catch(() => {});
  }

  /** Not confirmed: again, unless that would end no better. */
  private refused(publication: Publication, error: Error & { code?: string }): void {
    const { exchange, routingKey } = publication.envelope;
    if (error.code === "NOT_FOUND") {
      this.fail(
        publication,
        new UnroutableError(`there is no exchange '${exchange}' any more`, { cause: error }),
      );
      return;
    }
    if (this.closed || finalCodes.has(error.code ?? "")) {
      this.fail(
        publication,
        new PublishError(`not published to '${routingKey}': ${error.message}`, { cause: error }),
      );
      return;
    }
    this.log.debug({ error: error.message, routingKey }, "publishing again");
    setTimeout(() => this.tryOnce(publication), betweenTriesMs).unref();
  }

  private succeed(publication: Publication): void {
    if (this.end(publication)) publication.resolve();
  }

  private fail(publication: Publication, error: Error): void {
    if (this.end(publication)) publication.reject(error);
  }

  /** False when somebody has been told already. */
  private end(publication: Publication): boolean {
    return this.waiting.delete(publication);
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
    this.current = { channel, returned, confirmed: [], inFlight: 0, isRetired: false };
    return this.current;
  }

  private failOverdue(): void {
    const nowMs = performance.now();
    // In the order in which they came, with the same time for each.
    for (const publication of this.waiting) {
      if (publication.deadlineMs > nowMs) return;
      this.fail(
        publication,
        new PublishError(
          `not confirmed within ${this.timeoutMs} ms: is the broker reachable, and not out of memory or disk? The message may have been stored all the same.`,
        ),
      );
    }
  }
}

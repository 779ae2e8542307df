import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "../base/index.ts";
import type { Channel } from "./channel.ts";
import { InterruptedError, RefusedError } from "./errors.ts";
import { Link, type LinkOptions, type Place } from "./link.ts";

export interface ConnectionOptions extends LinkOptions {
  /** Tried in turn. */
  readonly places: readonly [Place, ...Place[]];
  /** Between rounds of tries after the connection was lost: growing from the first to the last. It never gives up. */
  readonly retryDelayMs: { readonly first: number; readonly last: number };
  readonly logger: Logger;
}

/** A connection to one of several brokers that is made anew when it was lost; channels are not. */
export class Connection {
  private readonly options: ConnectionOptions;
  private readonly stopping = new AbortController();
  private link: Link | undefined;
  private lastProduct = "";
  private nextLink: PromiseWithResolvers<Link> | undefined;
  private readonly running: Promise<void>;

  private constructor(options: ConnectionOptions, link: Link) {
    this.options = options;
    this.link = link;
    this.running = this.keep(link);
  }

  /** @throws RefusedError when the broker does not let us in; Error when none answers */
  static async open(options: ConnectionOptions): Promise<Connection> {
    return new Connection(options, await openOne(options));
  }

  /** Connected at the moment. */
  get ready(): boolean {
    return this.link !== undefined;
  }

  /** What the broker that answered last calls itself. */
  get product(): string {
    return this.lastProduct;
  }

  /**
   * A new channel, as soon as there is a connection, which may be the next one or the one after that.
   *
   * @throws InterruptedError when there is none for so long, or this was closed
   */
  async acquire(timeoutMs?: number): Promise<Channel> {
    for (;;) {
      const link = this.link ?? (await this.linkWithin(timeoutMs));
      try {
        return await link.openChannel();
      } catch (error) {
        if (!(error instanceof InterruptedError)) throw error;
        // The channel alone may have been closed.
        if (!link.isOpen) await link.ended;
      }
    }
  }

  /** Sends what was written and closes; whoever waits for a connection is told. Closing twice is fine. */
  async close(): Promise<void> {
    this.stopping.abort();
    await this.link?.close();
    await this.running;
  }

  private async linkWithin(timeoutMs: number | undefined): Promise<Link> {
    if (this.stopping.signal.aborted) throw closed();
    const { promise } = (this.nextLink ??= Promise.withResolvers());
    if (timeoutMs === undefined) return promise;
    const overdue = Promise.withResolvers<never>();
    const error = new InterruptedError(`there has been no connection to the broker for ${timeoutMs} ms`);
    const timer = setTimeout(() => overdue.reject(error), timeoutMs);
    return Promise.race([promise, overdue.promise]).finally(() => clearTimeout(timer));
  }

  private async keep(first: Link): Promise<void> {
    const { logger, places } = this.options;
    for (let link: Link | undefined = first; link !== undefined; link = await this.again()) {
      this.use(link);
      const error = await link.ended;
      this.link = undefined;
      if (error && !this.stopping.signal.aborted) {
        logger.warn({ error: error.message, where: placesText(places) }, "connection lost, connecting again");
      }
    }
    this.nextLink?.promise.catch(() => {});
    this.nextLink?.reject(closed());
  }

  private use(link: Link): void {
    const { logger } = this.options;
    link.onBlocked = (reason) => {
      if (reason === undefined) logger.info({}, "the broker takes messages again");
      else logger.warn({ reason }, "the broker takes no messages for now");
    };
    this.link = link;
    this.lastProduct = link.product;
    this.nextLink?.resolve(link);
    this.nextLink = undefined;
  }

  /** Undefined when it was closed. */
  private async again(): Promise<Link | undefined> {
    const { retryDelayMs, logger } = this.options;
    const { signal } = this.stopping;
    for (
      let delayMs = retryDelayMs.first;
      !signal.aborted;
      delayMs = Math.min(delayMs * 2, retryDelayMs.last)
    ) {
      await pause(delayMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
      if (signal.aborted) return undefined;
      try {
        return await openOne(this.options, signal);
      } catch (error) {
        // Nobody answering is what is waited out; being turned away is somebody's to mend.
        const level = error instanceof RefusedError ? "warn" : "debug";
        if (!signal.aborted) logger[level]({ error: (error as Error).message }, "cannot connect yet");
      }
    }
    return undefined;
  }
}

async function openOne(options: ConnectionOptions, signal?: AbortSignal): Promise<Link> {
  let last: unknown;
  for (const place of options.places) {
    try {
      return await Link.open(place, options, signal);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

export function placesText(places: readonly Place[]): string {
  return places.map((place) => ("host" in place ? place.host : place.socketPath)).join(", ");
}

function closed(): InterruptedError {
  return new InterruptedError("the connection is closed");
}

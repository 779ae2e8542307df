/**
 * Hot path: everything between a published message's bytes and its queues. Benchmark: T16, P1K in bench/.
 *
 * The publishing side of a channel: remembers the last route by its bytes, so that the common case decodes no string and
 * looks nothing up; hands messages to queues; gathers confirms.
 */
import {
  ByteWriter,
  emptyTable,
  MethodId,
  PropertyScan,
  ReplyCode,
  sameBytes,
  type FieldTable,
} from "../../wire/index.ts";
import type { Permissions } from "../auth/index.ts";
import { ChannelError } from "../errors.ts";
import type { Clock } from "../../base/index.ts";
import type { Route } from "../route-cache.ts";
import { copyKeys } from "../copy-keys.ts";
import { Outcome, type Particulars } from "../distributor.ts";
import {
  composeMessage,
  knownProperties,
  readHeaders,
  routeOf,
  type CommitWaiter,
  type MessageStore,
  type MessageView,
} from "../storage/index.ts";
import { ExchangeTraffic, Publishes } from "../traffic.ts";
import { replyTo, type VirtualHost } from "../virtual-host.ts";
import type { Output } from "./output.ts";
import type { KeptPublish, Transaction } from "./transaction.ts";

const noRoute: Route = { queues: [], isPlain: false, version: -1, traffic: new ExchangeTraffic() };
/** RabbitMQ's limit for times: ten years. */
const mostExpirationMs = 315_360_000_000;

/** Where confirms and returned messages go. */
export type PublisherOutput = Pick<Output, "method" | "confirm" | "contentMethod">;

export interface PublisherOwner {
  readonly vhost: VirtualHost;
  readonly store: MessageStore;
  readonly output: PublisherOutput;
  /** The user who logged in. */
  readonly user: string;
  readonly clock: Clock;
  readonly permissions: Permissions;
  /** What was published piles up before consumers that are there. */
  outpacing(): void;
}

export class Publisher implements CommitWaiter {
  private readonly channel: number;
  private readonly vhost: VirtualHost;
  private readonly store: MessageStore;
  private readonly output: PublisherOutput;
  private readonly owner: PublisherOwner;
  private readonly scan = new PropertyScan();
  private routeBytes: Uint8Array = new Uint8Array(0);
  private route: Route = noRoute;
  private confirming = false;
  /** Confirm mode numbers publishes from 1; these have been published, are in the coming commit, have been confirmed. */
  private published = 0;
  private committing = 0;
  private confirmed = 0;
  private awaiting = false;
  /** Something published since the last commit began is kept on disk. */
  private storedOnDisk = false;
  private closed = false;
  /** Publishes that a queue has refused and that were not nacked yet, by number. */
  private refused: number[] = [];
  readonly counts: Publishes = new Publishes();
  /** Messages that went by the route remembered, not among the counts yet. */
  private run = 0;
  /** The name under which this channel's consumer of replies can be reached. */
  replyName: string | null = null;
  /** Takes what is published; null unless the channel is in tx mode. */
  private transaction: Transaction | null = null;

  constructor(channel: number, owner: PublisherOwner) {
    this.channel = channel;
    this.vhost = owner.vhost;
    this.store = owner.store;
    this.output = owner.output;
    this.owner = owner;
  }

  /** Brings the counts up to date. */
  countRun(): void {
    if (this.run === 0) return;
    this.countPublished(this.route, this.run);
    this.run = 0;
  }

  private countPublished({ traffic, queues }: Route, messages: number): void {
    const routed = messages * queues.length;
    this.counts.publish += messages;
    this.counts.routed += routed;
    traffic.publishIn += messages;
    traffic.publishOut += routed;
  }

  get isConfirming(): boolean {
    return this.confirming;
  }

  /** Published and neither confirmed nor refused yet. */
  get unconfirmedCount(): number {
    return this.published - this.confirmed;
  }

  /** @throws ChannelError 406 in tx mode */
  startConfirming(): void {
    if (this.transaction !== null) {
      throw new ChannelError(ReplyCode.PreconditionFailed, "cannot switch from tx to confirm mode");
    }
    this.confirming = true;
  }

  /**
   * What is published from now on waits in the transaction for {@link publishKept}.
   * @throws ChannelError 406 in confirm mode
   */
  startKeeping(transaction: Transaction): void {
    if (this.confirming) {
      throw new ChannelError(ReplyCode.PreconditionFailed, "cannot switch from confirm to tx mode");
    }
    this.transaction = transaction;
  }

  /** No more confirms: the channel is closed. */
  close(): void {
    this.closed = true;
    this.transaction = null;
  }

  /**
   * Publishes a message whose content is complete.
   * @throws ChannelError 403, 404, 406; MalformedError when the properties are not well-formed.
   */
  publish(message: MessageView, mandatory: boolean): void {
    const { scan } = this;
    const propertiesEnd = message.propertiesAt + message.propertiesLength;
    scan.scan(message.bytes, message.view, message.propertiesAt, propertiesEnd);
    const { deliveryMode } = scan;
    if (deliveryMode > 2) {
      throw new ChannelError(
        ReplyCode.PreconditionFailed,
        `invalid message: {delivery_mode_unknown,${deliveryMode}}`,
      );
    }
    const isMortal = scan.expirationAt >= 0;
    if (isMortal) assertExpiration(shortstr(message.bytes, scan.expirationAt));
    if (scan.userIdAt >= 0) assertUserId(shortstr(message.bytes, scan.userIdAt), this.owner.user);
    if (scan.hasCopies || this.asksForReplies(message)) {
      this.publishRewritten(message, mandatory);
      return;
    }
    const route = this.routeOf(message);
    // The way of most messages, kept short: worth 1.07× in T16x10.
    if (route.isPlain && !isMortal && this.transaction === null) {
      if (this.confirming) this.count();
      this.run++;
      const outcome = this.vhost.distributor.toPlain(route.queues, message, deliveryMode === 2);
      if (outcome !== 0) this.heed(outcome);
      return;
    }
    this.accept(route, message, deliveryMode === 2, mandatory, isMortal);
  }

  /** Publishes what a transaction has kept. */
  publishKept(publishes: readonly KeptPublish[]): void {
    for (const kept of publishes) {
      const { message, persistent, mandatory } = kept;
      const { bytes, view, propertiesAt, propertiesLength } = message;
      this.scan.scan(bytes, view, propertiesAt, propertiesAt + propertiesLength);
      this.send(this.routeNow(kept), message, persistent, mandatory, this.scan.expirationAt >= 0);
    }
  }

  /** What is being committed is confirmed first, so that the next confirm may cover it too. */
  get needsDisk(): boolean {
    return this.storedOnDisk || this.committing !== this.confirmed;
  }

  beforeCommit(): void {
    this.committing = this.published;
    this.awaiting = false;
    this.storedOnDisk = false;
  }

  committed(): void {
    if (this.closed || this.committing === this.confirmed) return;
    while (this.refused.length > 0 && this.refused[0] <= this.committing) this.nackNext();
    if (this.committing > this.confirmed) this.confirmUpTo(this.committing);
  }

  /** Refused ones must not be among those that one confirm covers. */
  private nackNext(): void {
    const number = this.refused.shift()!;
    if (number - 1 > this.confirmed) this.confirmUpTo(number - 1);
    const nack = {
      id: MethodId.BasicNack,
      deliveryTag: BigInt(number),
      multiple: false,
      requeue: false,
    } as const;
    this.output.method(this.channel, nack);
    this.confirmed = number;
  }

  private confirmUpTo(number: number): void {
    this.counts.confirm += number - this.confirmed;
    this.output.confirm(this.channel, number, number - this.confirmed > 1);
    this.confirmed = number;
  }

  /** Counts a message whose route is known, and sends it to its queues, or keeps it for the transaction. */
  private accept(
    route: Route,
    message: MessageView,
    persistent: boolean,
    mandatory: boolean,
    isMortal: boolean,
  ): void {
    if (this.transaction !== null) {
      const { topologyVersion } = this.vhost;
      this.transaction.keep({ message, mandatory, persistent, route, topologyVersion });
      return;
    }
    if (this.confirming) this.count();
    this.send(route, message, persistent, mandatory, isMortal);
  }

  /** A message that is to be confirmed. */
  private count(): void {
    this.published++;
    if (this.awaiting) return;
    this.awaiting = true;
    this.store.awaitCommit(this);
  }

  private send(
    route: Route,
    message: MessageView,
    persistent: boolean,
    mandatory: boolean,
    isMortal: boolean,
  ): void {
    this.countPublished(route, 1);
    const outcome =
      route.isPlain && !isMortal
        ? this.vhost.distributor.toPlain(route.queues, message, persistent)
        : this.sendParticular(route, message, persistent, mandatory);
    if (outcome !== 0) this.heed(outcome);
  }

  /** What became of the message published last. */
  private heed(outcome: number): void {
    if (outcome & Outcome.Logged) this.storedOnDisk = true;
    if (outcome & Outcome.Behind) this.owner.outpacing();
    if (outcome & Outcome.Refused && this.confirming) this.refused.push(this.published);
  }

  /** Sends what is not just a message for plain queues. */
  private sendParticular(
    route: Route,
    message: MessageView,
    persistent: boolean,
    mandatory: boolean,
  ): number {
    const { queues, delays, replyConsumers } = route;
    const hasTakers = queues.length > 0 || delays !== undefined;
    const outcome = hasTakers
      ? this.vhost.distributor.toAny(route, message, persistent, this.particulars(message))
      : 0;
    // A reply is no less returned for being delivered, as in RabbitMQ: a consumer is no queue.
    if (!hasTakers) this.unroutable(message, mandatory);
    for (const consumer of replyConsumers ?? []) consumer.deliverReply(message);
    return outcome;
  }

  private unroutable(message: MessageView, mandatory: boolean): void {
    if (!mandatory) {
      this.counts.dropUnroutable++;
      return;
    }
    this.counts.returnUnroutable++;
    this.returnUnroutable(message);
  }

  /** Of the message scanned last. */
  private particulars(message: MessageView): Particulars {
    const { expirationAt, priority } = this.scan;
    return {
      priority: priority < 0 ? 0 : priority,
      ttlMs:
        expirationAt < 0
          ? Number.POSITIVE_INFINITY
          : Number.parseInt(shortstr(message.bytes, expirationAt), 10),
      nowMs: this.owner.clock.nowMs(),
    };
  }

  private asksForReplies({ bytes }: MessageView): boolean {
    const { replyToAt } = this.scan;
    return replyToAt >= 0 && bytes[replyToAt] === replyTo.length && shortstr(bytes, replyToAt) === replyTo;
  }

  /**
   * A message that is not passed on as it came: BCC is taken out of its headers, and a reply-to that stands for this
   * channel's consumer is replaced by the consumer's address.
   * @throws ChannelError 403, 404, 406
   */
  private publishRewritten(message: MessageView, mandatory: boolean): void {
    const { headers, persistent, replyTo: address } = knownProperties(message);
    const { exchange, routingKey } = routeOf(message);
    const keys = [...new Set([routingKey, ...copyKeys(headers).map(({ key }) => key)])];
    const route = this.permitted(exchange, keys, () => this.vhost.routeByKeys(exchange, keys, () => headers));
    const asksForReplies = address === replyTo;
    if (asksForReplies && this.replyName === null)
      throw new ChannelError(ReplyCode.PreconditionFailed, "fast reply consumer does not exist");
    const rewritten = composeMessage(message, {
      ...(headers.has("BCC") && { headers: new Map([...headers].filter(([key]) => key !== "BCC")) }),
      ...(asksForReplies && { replyTo: this.replyName! }),
    });
    const { bytes, view, propertiesAt, propertiesLength } = rewritten;
    this.scan.scan(bytes, view, propertiesAt, propertiesAt + propertiesLength);
    const isMortal = this.scan.expirationAt >= 0;
    this.accept({ ...route, version: -1 }, rewritten, persistent, mandatory, isMortal);
  }

  /** In RabbitMQ's order: an exchange that is missing is told of before its topics. @throws ChannelError 403, 404 */
  private permitted(exchange: string, routingKeys: readonly string[], route: () => Route): Route {
    const { permissions } = this.owner;
    permissions.assertWrite("exchange", exchange);
    const found = route();
    if (this.vhost.isTopicExchange(exchange))
      for (const routingKey of routingKeys) permissions.assertWriteTopic(exchange, routingKey);
    return found;
  }

  private routeOf(message: MessageView): Route {
    const { bytes, routeAt, routeLength } = message;
    if (
      this.route.version === this.vhost.topologyVersion &&
      this.routeBytes.length === routeLength &&
      sameBytes(this.routeBytes, 0, bytes, routeAt, routeLength)
    ) {
      return this.route;
    }
    const exchange = shortstr(bytes, routeAt);
    const routingKey = shortstr(bytes, routeAt + 1 + bytes[routeAt]);
    const route = this.permitted(exchange, [routingKey], () =>
      this.vhost.route(exchange, routingKey, () => this.headers(message)),
    );
    this.countRun();
    this.route = route;
    this.routeBytes = bytes.slice(routeAt, routeAt + routeLength);
    return route;
  }

  /**
   * As in RabbitMQ, bindings count as they were when the message was published, but the queues that they named are looked
   * up when it is committed: by their names, so that one declared anew takes the place of the old one.
   */
  private routeNow({ message, route, topologyVersion }: KeptPublish): Route {
    if (topologyVersion === this.vhost.topologyVersion) return route;
    const isByName = message.bytes[message.routeAt] === 0 && route.version >= 0;
    // Not by routeOf: whether it was permitted counted when it was published.
    const names = isByName
      ? [shortstr(message.bytes, message.routeAt + 1)]
      : route.queues.map(({ name }) => name);
    const now = this.vhost.routeByKeys("", names, () => emptyTable);
    const { delays, replyConsumers, traffic } = route;
    return { ...now, isPlain: now.isPlain && !delays && !replyConsumers, delays, replyConsumers, traffic };
  }

  private headers(message: MessageView): FieldTable {
    const { headersAt } = this.scan;
    return headersAt < 0 ? emptyTable : readHeaders(message.bytes, headersAt);
  }

  /** basic.return, which stands before the message's confirm. https://www.rabbitmq.com/docs/publishers#unroutable */
  private returnUnroutable(message: MessageView): void {
    const payload = new ByteWriter(64 + message.routeLength);
    payload.long(MethodId.BasicReturn);
    payload.short(ReplyCode.NoRoute);
    payload.shortstr("NO_ROUTE");
    payload.raw(message.bytes.subarray(message.routeAt, message.routeAt + message.routeLength));
    this.output.contentMethod(this.channel, payload.written(), message);
  }
}

/** @throws ChannelError 406 unless the expiration is a number of milliseconds, as text. In RabbitMQ's words. */
function assertExpiration(text: string): void {
  const [, digits, rest = ""] = /^([+-]?\d+)(.*)$/s.exec(text) ?? [];
  const value = Number(digits);
  let problem: string | undefined;
  if (digits === undefined) problem = "no_integer";
  else if (rest !== "") problem = `{leftover_string,"${rest}"}`;
  else if (value < 0) problem = `{value_negative,${value}}`;
  else if (value > mostExpirationMs) problem = `{value_too_large,${value}}`;
  if (problem === undefined) return;
  throw new ChannelError(ReplyCode.PreconditionFailed, `invalid expiration '${text}': ${problem}`);
}

/**
 * Nobody may publish in another's name. https://www.rabbitmq.com/docs/validated-user-id
 * @throws ChannelError 406
 */
function assertUserId(claimed: string, user: string): void {
  if (claimed === user) return;
  throw new ChannelError(
    ReplyCode.PreconditionFailed,
    `user_id property set to '${claimed}' but authenticated user was '${user}'`,
  );
}

/** The short string at `at`, which starts with its length. */
function shortstr(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at + 1, bytes[at]).toString("utf8");
}

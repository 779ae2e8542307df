/**
 * Hot path: everything between a published message's bytes and its queues. Benchmark: T16, P1K in bench/.
 *
 * The publishing side of a channel: remembers the last route by its bytes, so that the common case decodes no string and
 * looks nothing up; hands messages to queues; gathers confirms.
 */
import {
  ByteReader,
  ByteWriter,
  emptyTable,
  MethodId,
  PropertyScan,
  readTable,
  ReplyCode,
  sameBytes,
  type FieldTable,
} from "../../wire/index.ts";
import type { Permissions } from "../auth/index.ts";
import { ChannelError } from "../errors.ts";
import type { Queue } from "../queues/index.ts";
import type { Route } from "../route-cache.ts";
import {
  mostDestinations,
  type CommitWaiter,
  type MessageStore,
  type MessageView,
} from "../storage/index.ts";
import type { VirtualHost } from "../virtual-host.ts";
import type { Output } from "./output.ts";
import type { KeptPublish, Transaction } from "./transaction.ts";

const noRoute: Route = { queues: [], version: -1 };

export interface PublisherOwner {
  readonly vhost: VirtualHost;
  readonly store: MessageStore;
  readonly output: Output;
  /** The user who logged in. */
  readonly user: string;
  readonly permissions: Permissions;
  /** What was published piles up before consumers that are there. */
  outpacing(): void;
}

export class Publisher implements CommitWaiter {
  private readonly channel: number;
  private readonly vhost: VirtualHost;
  private readonly store: MessageStore;
  private readonly output: Output;
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
  /** Takes what is published; null unless the channel is in tx mode. */
  private transaction: Transaction | null = null;

  constructor(channel: number, owner: PublisherOwner) {
    this.channel = channel;
    this.vhost = owner.vhost;
    this.store = owner.store;
    this.output = owner.output;
    this.owner = owner;
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
    if (scan.expirationAt >= 0) assertExpiration(shortstr(message.bytes, scan.expirationAt));
    if (scan.userIdAt >= 0) assertUserId(shortstr(message.bytes, scan.userIdAt), this.owner.user);
    const { queues } = this.routeOf(message);
    const persistent = deliveryMode === 2;
    if (this.transaction !== null) {
      const { topologyVersion } = this.vhost;
      this.transaction.keep({ message, mandatory, persistent, queues, topologyVersion });
      return;
    }
    if (this.confirming) {
      this.published++;
      if (!this.awaiting) {
        this.awaiting = true;
        this.store.awaitCommit(this);
      }
    }
    this.send(queues, message, persistent, mandatory);
  }

  /** Publishes what a transaction has kept. */
  publishKept(publishes: readonly KeptPublish[]): void {
    for (const kept of publishes) {
      this.send(this.queuesOf(kept), kept.message, kept.persistent, kept.mandatory);
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
    this.output.confirm(this.channel, this.committing, this.committing - this.confirmed > 1);
    this.confirmed = this.committing;
  }

  private send(
    queues: readonly Queue[],
    message: MessageView,
    persistent: boolean,
    mandatory: boolean,
  ): void {
    if (queues.length === 1) this.toOne(queues[0], message, persistent);
    else if (queues.length > 1) this.toMany(queues, message, persistent);
    else if (mandatory) this.returnUnroutable(message);
  }

  private toOne(queue: Queue, message: MessageView, persistent: boolean): void {
    if (queue.offer(message)) return;
    single[0] = queue;
    const handle = this.store.append(message, persistent, single, 1);
    if (persistent && queue.survives) this.storedOnDisk = true;
    queue.enqueue(message, handle, 0);
    if (queue.isBehind()) this.owner.outpacing();
  }

  /** The message is stored once for all queues that cannot hand it over at once. */
  private toMany(queues: readonly Queue[], message: MessageView, persistent: boolean): void {
    let count = 0;
    for (const queue of queues) {
      if (!queue.offer(message)) storing[count++] = queue;
    }
    if (count === 0) return;
    for (let index = 0; index < count; index += mostDestinations) {
      const part = count > mostDestinations ? storing.slice(index, index + mostDestinations) : storing;
      this.toStored(part, Math.min(count - index, mostDestinations), message, persistent);
    }
    storing.length = 0;
  }

  private toStored(queues: readonly Queue[], count: number, message: MessageView, persistent: boolean): void {
    const handle = this.store.append(message, persistent, queues, count);
    for (let position = 0; position < count; position++) {
      const queue = queues[position];
      if (persistent && queue.survives) this.storedOnDisk = true;
      queue.enqueue(message, handle, position);
      if (queue.isBehind()) this.owner.outpacing();
    }
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
    const { permissions } = this.owner;
    permissions.assertWrite("exchange", exchange);
    const route = this.vhost.route(exchange, routingKey, () => this.headers(message));
    if (this.vhost.isTopicExchange(exchange)) permissions.assertWriteTopic(exchange, routingKey);
    this.route = route;
    this.routeBytes = bytes.slice(routeAt, routeAt + routeLength);
    return route;
  }

  /**
   * As in RabbitMQ, bindings count as they were when the message was published, but the queues that they named are looked
   * up when it is committed: by their names, so that one declared anew takes the place of the old one.
   */
  private queuesOf({ message, queues, topologyVersion }: KeptPublish): readonly Queue[] {
    if (topologyVersion === this.vhost.topologyVersion) return queues;
    const toDefaultExchange = message.bytes[message.routeAt] === 0;
    // Not by routeOf: whether it was permitted counted when it was published.
    const names = toDefaultExchange
      ? [shortstr(message.bytes, message.routeAt + 1)]
      : queues.map(({ name }) => name);
    return names.flatMap((name) => this.vhost.route("", name, () => emptyTable).queues);
  }

  private headers(message: MessageView): FieldTable {
    const { headersAt } = this.scan;
    return headersAt < 0 ? emptyTable : readTable(new ByteReader(message.bytes, headersAt));
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

/** @throws ChannelError 406 unless the expiration is a number of milliseconds, as text. */
function assertExpiration(text: string): void {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff) {
    throw new ChannelError(ReplyCode.PreconditionFailed, `invalid expiration '${text}'`);
  }
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

/** Scratch lists for the store; used up before anything else can publish. */
const single: Queue[] = [];
const storing: Queue[] = [];

/** The short string at `at`, which starts with its length. */
function shortstr(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at + 1, bytes[at]).toString("utf8");
}

/** Hot path: every message passes `offer` or `enqueue`, and `dispatch`. Benchmark: T16, P1K in bench/. */
import type { Clock, Timer } from "../../base/index.ts";
import type { FieldTable } from "../../wire/index.ts";
import {
  MessageView,
  type Destination,
  type MessageHandle,
  type MessageStore,
  type SurvivingMessage,
} from "../storage/index.ts";
import { Deliveries } from "../traffic.ts";
import { ConsumerTurns, type TurnTaker } from "./consumer-turns.ts";
import { withDeliveryCount } from "./delivery-count.ts";
import { PriorityMessages } from "./priority-messages.ts";
import { queueSettings, type QueueSettings } from "./queue-settings.ts";
import {
  deathShift,
  mostRank,
  positionShift,
  rankOf,
  rankShift,
  ReadyMessages,
  redelivered,
  type ReadyOrder,
} from "./ready-messages.ts";

/** What a queue delivers to. */
export interface QueueConsumer extends TurnTaker {
  readonly tag: string;
  readonly exclusive: boolean;
  /** Messages count as settled when they are sent. */
  readonly noAck: boolean;
  deliver(message: MessageView, handle: MessageHandle, flags: number, sequence: number): void;
  /** Adds what was delivered to {@link Queue.counts}. */
  countDelivered(): void;
  /** The queue is gone. */
  cancelledByQueue(): void;
}

export interface QueueOptions {
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** The connection that alone may use the queue, and at whose end it is deleted. */
  readonly exclusiveOwner: object | null;
  readonly arguments: FieldTable;
}

/** What a queue needs of its virtual host. */
export interface QueueEnvironment {
  readonly store: MessageStore;
  readonly clock: Clock;
  /** Whether all returns count towards a delivery limit, or rejections only. */
  readonly countsEveryReturn: boolean;
  /** Of quorum queues. */
  readonly defaultDeliveryLimit: number;
  /** The queue has dead letters to be taken with {@link Queue.takeDead}. */
  hasDeadLetters(queue: Queue): void;
  /** The queue has not been used for as long as its `x-expires` says. */
  isUnused(queue: Queue): void;
  /** Does what a timer is for; a failure of the storage, which has its own way to be told, ends nothing else. */
  attempt(work: () => void): void;
}

/** Why a message is dead, in RabbitMQ's words. */
const deathReasons = ["rejected", "expired", "maxlen", "delivery_limit"] as const;
export type DeathReason = (typeof deathReasons)[number];

/** More ready messages than this, while consumers are there, and the consumers have fallen behind the publishers. */
const behindAt = 2048;
/** The longest time that a timer can be set for. */
const longestTimerMs = 0x7fff_ffff;

export class Queue implements Destination {
  readonly id: number;
  readonly name: string;
  readonly durable: boolean;
  readonly survives: boolean;
  readonly autoDelete: boolean;
  readonly exclusiveOwner: object | null;
  readonly arguments: FieldTable;
  readonly settings: QueueSettings;
  /** Nothing of a message matters to the queue but that it is one: it need not be asked, nor be prepared. */
  readonly isPlain: boolean;
  nextSequence = 1;
  nextTimeMs = 0;
  nextNote = 0;
  deleted = false;
  /** Without what its consumers have not added yet. */
  readonly counts: Deliveries = new Deliveries();
  /** The sequence of the first message of this life of the broker: it tells how many have come. */
  private firstSequence = 1;
  /** Messages that were stored and then delivered to consumers that do not acknowledge. */
  private storedNoAck = 0;
  /** Delivered messages that were rejected, or came back. */
  private givenBack = 0;
  private readonly environment: QueueEnvironment;
  private readonly store: MessageStore;
  private readonly isLimited: boolean;
  private readonly countsBytes: boolean;
  /** Returns are counted, and shown to consumers. */
  private readonly countsReturns: boolean;
  /** Some ready message may expire: none is looked at for its time before. */
  private isTimed = false;
  private readonly ready: ReadyOrder;
  /** Of ready bodies; counted only where there is a limit to them. */
  private readyBytes = 0;
  /** The same of dead letters, where they count. */
  private deadBytes = 0;
  private readonly located = new MessageView();
  private readonly consumers = new ConsumerTurns<QueueConsumer>();
  /** Of the consumers, those that need no acknowledgement: without one, nothing can be handed over unstored. */
  private noAckConsumers = 0;
  private exclusiveConsumer: QueueConsumer | null = null;
  /** The only one that is served, where there may be only one. */
  private activeConsumer: QueueConsumer | null = null;
  /** When delivered messages expire, by sequence: they may come back. */
  private readonly heldTimes = new Map<number, number>();
  /** Messages that wait to be dead-lettered: not ready any more, and not settled yet. */
  private dead: ReadyMessages | null = null;
  private expiry: Timer | undefined;
  /** For when it is set. */
  private expiryMs = 0;
  private lastUsedMs = 0;
  private unusedTimer: Timer | undefined;

  constructor(id: number, name: string, options: QueueOptions, environment: QueueEnvironment) {
    this.id = id;
    this.name = name;
    this.durable = options.durable;
    // An exclusive queue goes with its connection, and no connection outlives the broker.
    this.survives = options.durable && options.exclusiveOwner === null;
    this.autoDelete = options.autoDelete;
    this.exclusiveOwner = options.exclusiveOwner;
    this.arguments = options.arguments;
    this.environment = environment;
    this.store = environment.store;
    const settings = queueSettings(options.arguments, environment.defaultDeliveryLimit);
    this.settings = settings;
    this.countsBytes = Number.isFinite(settings.maxBytes);
    this.countsReturns = settings.type === "quorum";
    this.isLimited = this.countsBytes || Number.isFinite(settings.maxLength);
    const rejects = this.isLimited && settings.overflow !== "drop-head";
    this.isPlain = !rejects && settings.maxPriority === 0 && !Number.isFinite(settings.ttlMs);
    this.ready = settings.maxPriority > 0 ? new PriorityMessages() : new ReadyMessages();
    this.used();
  }

  get readyCount(): number {
    return this.ready.count;
  }

  /** Ready, or waiting to be dead-lettered. */
  get messageCount(): number {
    return this.ready.count + this.deadCount;
  }

  get consumerCount(): number {
    return this.consumers.all.size;
  }

  get exclusiveConsumerTag(): string | null {
    return this.exclusiveConsumer?.tag ?? null;
  }

  get activeConsumerTag(): string | null {
    return this.activeConsumer?.tag ?? null;
  }

  /** Messages that have come since the broker started, dead letters of other queues among them. */
  get publishedCount(): number {
    // What went straight to a consumer has no sequence.
    const passedOn = this.deliveries.deliverNoAck - this.storedNoAck;
    return this.nextSequence - this.firstSequence + passedOn;
  }

  get deliveries(): Deliveries {
    for (const consumer of this.consumers.all) consumer.countDelivered();
    return this.counts;
  }

  /** Delivered, and neither acknowledged nor back yet. */
  get unackedCount(): number {
    const { deliver, get, ack } = this.deliveries;
    return deliver + get - ack - this.givenBack;
  }

  /** Among consumers of which only one is served, whether this is the one; where there is no such rule, all are. */
  isActive(consumer: QueueConsumer): boolean {
    return !this.settings.singleActiveConsumer || this.activeConsumer === consumer;
  }

  /** All that survived has been restored: the next message has this sequence. */
  continueFrom(sequence: number): void {
    this.nextSequence = sequence;
    this.firstSequence = sequence;
  }

  get hasExclusiveConsumer(): boolean {
    return this.exclusiveConsumer !== null;
  }

  /** Publishers to this queue should leave more of the event loop to its consumers. Never a reason to stop them. */
  isBehind(): boolean {
    return this.ready.count > behindAt && this.consumers.all.size > 0;
  }

  /** A message with a body of so many bytes would be too much, and the queue refuses what is. */
  refuses(bodyBytes: number): boolean {
    const { overflow, maxLength, maxBytes, deadLettersAtLeastOnce } = this.settings;
    if (overflow === "drop-head") return false;
    // Dead letters that stay until somebody takes them take their room, too.
    const count = this.ready.count + (deadLettersAtLeastOnce ? this.deadCount : 0);
    return count + 1 > maxLength || this.readyBytes + this.deadBytes + bodyBytes > maxBytes;
  }

  /** Decides what is noted of the next message: call it before the store appends. 0, infinity and 0 clear it. */
  prepare(priority: number, ttlMs: number, nowMs: number): void {
    const lives = Math.min(ttlMs, this.settings.ttlMs);
    this.nextTimeMs = Number.isFinite(lives) ? nowMs + lives : 0;
    this.nextNote = Math.min(priority, this.settings.maxPriority);
  }

  /** Hands a message straight to a consumer that needs no acknowledgement, if one is ready. It is not stored then. */
  offer(message: MessageView): boolean {
    if (this.noAckConsumers === 0 || this.ready.count > 0) return false;
    const consumer = this.consumers.next();
    if (consumer === null) return false;
    if (!consumer.noAck) {
      // The message comes again through enqueue.
      this.consumers.giveBack(consumer);
      return false;
    }
    consumer.deliver(message, -1, 0, 0);
    return true;
  }

  /**
   * Takes a message that the store has appended for this queue and others, among which it has this `position`.
   * `message` shows the same bytes.
   */
  enqueue(message: MessageView, handle: MessageHandle, position: number): void {
    const sequence = this.nextSequence++;
    let flags = position << positionShift;
    let timeMs = 0;
    if (this.nextTimeMs !== 0 || this.nextNote !== 0) {
      timeMs = this.nextTimeMs;
      flags |= this.nextNote << rankShift;
      this.nextTimeMs = 0;
      this.nextNote = 0;
    }
    if (this.ready.count === 0) {
      const consumer = this.consumers.next();
      if (consumer !== null) {
        this.hand(consumer, message, handle, flags, sequence, timeMs);
        return;
      }
    }
    this.ready.push(handle, flags, sequence, timeMs);
    if (timeMs !== 0) this.isTimed = true;
    if (this.isLimited || this.isTimed) this.afterPush(message.bodyLength);
  }

  private afterPush(bodyBytes: number): void {
    if (this.countsBytes) this.readyBytes += bodyBytes;
    const isNewHead = (this.isLimited && this.dropExcess()) || this.ready.count === 1;
    if (!this.isTimed) return;
    // It may live no longer than it takes to find a consumer.
    if (isNewHead) this.dropExpired();
    else this.watchExpiry();
  }

  /** Takes back a message that survived an earlier life of the broker. They come in the order of their sequences. */
  restore({ handle, position, sequence, isRedelivered, deliveries, timeMs, note }: SurvivingMessage): void {
    const { maxPriority } = this.settings;
    const rank = this.countsReturns ? Math.min(deliveries, mostRank) : Math.min(note, maxPriority);
    const flags = (position << positionShift) | (rank << rankShift) | (isRedelivered ? redelivered : 0);
    this.ready.push(handle, flags, sequence, timeMs);
    this.countBytes(handle, 1);
    if (timeMs === 0) return;
    this.isTimed = true;
    this.watchExpiry();
  }

  /** Tells the store which of the ready messages have been delivered before, so that it outlives a stop in order. */
  noteRedelivered(): void {
    this.ready.forEach((handle, flags, sequence) => {
      if (!(flags & redelivered)) return;
      const count = this.countsReturns ? rankOf(flags) : 0;
      this.store.returned(handle, flags >> positionShift, this, sequence, count);
    });
  }

  /** Takes out all messages, those too that wait to be dead-lettered, in order. The store is not told. */
  takeAll(visit: (message: SurvivingMessage) => void): void {
    const { ready, dead } = this;
    if (dead !== null) this.revive(dead);
    while (ready.count > 0) {
      ready.shift();
      const { handle, flags, sequence, timeMs } = ready;
      const isRedelivered = (flags & redelivered) !== 0;
      const rank = rankOf(flags);
      visit({
        handle,
        position: flags >> positionShift,
        sequence,
        isRedelivered,
        deliveries: this.countsReturns ? rank : 0,
        timeMs,
        note: this.countsReturns ? 0 : rank,
      });
    }
    this.readyBytes = 0;
    this.stop();
  }

  /** Delivers while there are messages and consumers with credit. */
  dispatch(): void {
    const { ready, located } = this;
    while (ready.count > 0) {
      if (this.isTimed) {
        this.dropExpired();
        if (ready.count === 0) return;
      }
      const consumer = this.consumers.next();
      if (consumer === null) return;
      ready.shift();
      const { handle, flags, sequence, timeMs } = ready;
      this.store.locate(handle, located);
      if (this.countsBytes) this.readyBytes -= located.bodyLength;
      this.hand(consumer, located, handle, flags, sequence, timeMs);
    }
  }

  /** Takes the first ready message for basic.get; null when there is none. The caller settles it or gives it back. */
  take(): TakenMessage | null {
    const { ready } = this;
    this.used();
    if (this.isTimed) this.dropExpired();
    if (ready.count === 0) return null;
    ready.shift();
    const { handle, flags, sequence, timeMs } = ready;
    if (timeMs !== 0) this.heldTimes.set(sequence, timeMs);
    // Before the message is looked at: this settles others, and what is shown may be moved then.
    if (this.isTimed) this.dropExpired();
    const message = new MessageView();
    this.store.locate(handle, message);
    if (this.countsBytes) this.readyBytes -= message.bodyLength;
    const shown = this.countsReturns ? withDeliveryCount(message, rankOf(flags)) : message;
    return { message: shown, handle, flags, sequence };
  }

  /** A delivered message is done with: acknowledged, or taken without acknowledgement. */
  settle(handle: MessageHandle, flags: number, sequence: number): void {
    if (this.heldTimes.size > 0) this.heldTimes.delete(sequence);
    const position = flags >> positionShift;
    if (this.deleted) this.store.drop(handle, position);
    else this.store.settle(handle, position, this, sequence);
  }

  /** A delivered message is not wanted: it is dead. */
  reject(handle: MessageHandle, flags: number, sequence: number): void {
    this.givenBack++;
    const timeMs = this.heldTimes.get(sequence) ?? 0;
    if (timeMs !== 0) this.heldTimes.delete(sequence);
    this.dies(handle, flags, sequence, timeMs, "rejected");
  }

  /**
   * A delivered message comes back, to its original position: it was rejected, or its consumer went away. Call
   * {@link dispatch} when all have come back.
   */
  requeue(handle: MessageHandle, flags: number, sequence: number, isRejection: boolean): void {
    this.givenBack++;
    const timeMs = this.heldTimes.get(sequence) ?? 0;
    if (timeMs !== 0) this.heldTimes.delete(sequence);
    if (this.deleted) {
      this.store.drop(handle, flags >> positionShift);
      return;
    }
    let back = flags | redelivered;
    if (this.countsReturns && (isRejection || this.environment.countsEveryReturn)) {
      // More than can be counted is more than any limit.
      const count = rankOf(flags) + 1;
      const { deliveryLimit } = this.settings;
      if (count > deliveryLimit || (count > mostRank && Number.isFinite(deliveryLimit))) {
        this.dies(handle, flags, sequence, timeMs, "delivery_limit");
        return;
      }
      const counted = Math.min(count, mostRank);
      back = (back & ~(mostRank << rankShift)) | (counted << rankShift);
      this.store.returned(handle, flags >> positionShift, this, sequence, counted);
    }
    this.ready.putBack(handle, back, sequence, timeMs);
    this.countBytes(handle, 1);
    if (this.isLimited) this.dropExcess();
    if (timeMs !== 0) this.isTimed = true;
    if (this.isTimed) this.watchExpiry();
  }

  addConsumer(consumer: QueueConsumer): void {
    const { singleActiveConsumer } = this.settings;
    this.consumers.add(consumer, singleActiveConsumer && this.activeConsumer !== null);
    if (consumer.noAck) this.noAckConsumers++;
    if (consumer.exclusive) this.exclusiveConsumer = consumer;
    if (singleActiveConsumer) this.activeConsumer ??= consumer;
  }

  /** Call {@link dispatch} afterwards: another consumer's time may have come. */
  removeConsumer(consumer: QueueConsumer): void {
    if (!this.consumers.remove(consumer)) return;
    consumer.countDelivered();
    if (consumer.noAck) this.noAckConsumers--;
    if (this.exclusiveConsumer === consumer) this.exclusiveConsumer = null;
    if (this.activeConsumer === consumer) this.activateNext();
    this.used();
  }

  /** A parked consumer has credit again. */
  resume(consumer: QueueConsumer): void {
    if (this.consumers.resume(consumer)) this.dispatch();
  }

  /** The queue was declared again, or asked for a message: it is in use (`x-expires`). */
  used(): void {
    const { expiresMs } = this.settings;
    if (!Number.isFinite(expiresMs)) return;
    this.lastUsedMs = this.environment.clock.nowMs();
    this.unusedTimer ??= this.afterMs(expiresMs, () => this.lookWhetherUnused());
  }

  /** Drops all ready messages, not the unacknowledged ones; they are not dead letters. */
  purge(): number {
    const { ready } = this;
    const purged = ready.count;
    while (ready.count > 0) {
      ready.shift();
      this.store.settle(ready.handle, ready.flags >> positionShift, this, ready.sequence);
    }
    this.readyBytes = 0;
    return purged;
  }

  /**
   * Drops the messages and tells the consumers. The virtual host has forgotten the queue already. What died before is dead
   * still, and goes its way.
   */
  delete(): number {
    this.deleted = true;
    this.stop();
    this.noAckConsumers = 0;
    for (const consumer of this.consumers.clear()) {
      consumer.countDelivered();
      consumer.cancelledByQueue();
    }
    const { ready } = this;
    const dropped = ready.count;
    while (ready.count > 0) {
      ready.shift();
      this.store.drop(ready.handle, ready.flags >> positionShift);
    }
    return dropped;
  }

  /** Lets go of all messages but the delivered ones: what a queue that does not survive has when the broker stops. */
  discard(): void {
    this.purge();
    while (this.deadCount > 0) {
      const { handle, flags, sequence } = this.takeDead();
      this.settle(handle, flags, sequence);
    }
  }

  get deadCount(): number {
    return this.dead?.count ?? 0;
  }

  /** Takes out the first dead letter, which must then be settled or put back with {@link keepDead}. */
  takeDead(): DeadMessage {
    const dead = this.dead!;
    dead.shift();
    const { handle, flags, sequence, timeMs } = dead;
    this.deadBytes -= this.deadBytesOf(handle);
    return { handle, flags, sequence, timeMs, reason: reasonOf(flags) };
  }

  /** The dead letter cannot go anywhere now. */
  keepDead({ handle, flags, sequence, timeMs }: DeadMessage): void {
    this.dead!.putBack(handle, flags, sequence, timeMs);
    this.deadBytes += this.deadBytesOf(handle);
  }

  private deadBytesOf(handle: MessageHandle): number {
    if (!this.countsBytes || !this.settings.deadLettersAtLeastOnce) return 0;
    this.store.locate(handle, this.located);
    return this.located.bodyLength;
  }

  /** The one that has waited longest, of those with the highest priority. https://www.rabbitmq.com/docs/consumers#single-active-consumer */
  private activateNext(): void {
    this.activeConsumer = null;
    if (!this.settings.singleActiveConsumer) return;
    let next: QueueConsumer | null = null;
    for (const consumer of this.consumers.all) {
      if (next === null || consumer.priority > next.priority) next = consumer;
    }
    if (next === null) return;
    this.activeConsumer = next;
    this.consumers.activate(next);
  }

  private hand(
    consumer: QueueConsumer,
    message: MessageView,
    handle: MessageHandle,
    flags: number,
    sequence: number,
    timeMs: number,
  ): void {
    const isCounted = this.countsReturns && rankOf(flags) > 0;
    const shown = isCounted ? withDeliveryCount(message, rankOf(flags)) : message;
    if (consumer.noAck) {
      this.storedNoAck++;
      consumer.deliver(shown, -1, flags, sequence);
      this.store.settle(handle, flags >> positionShift, this, sequence);
    } else {
      if (timeMs !== 0) this.heldTimes.set(sequence, timeMs);
      consumer.deliver(shown, handle, flags, sequence);
    }
  }

  private dies(
    handle: MessageHandle,
    flags: number,
    sequence: number,
    timeMs: number,
    reason: DeathReason,
  ): void {
    if (this.deleted || this.settings.deadLetterExchange === undefined) {
      this.settle(handle, flags, sequence);
      return;
    }
    this.dead ??= new ReadyMessages();
    this.dead.push(handle, flags | (deathReasons.indexOf(reason) << deathShift), sequence, timeMs);
    this.deadBytes += this.deadBytesOf(handle);
    this.environment.hasDeadLetters(this);
  }

  /** They are ready again. */
  private revive(dead: ReadyMessages): void {
    while (dead.count > 0) {
      dead.shift();
      const { handle, flags, sequence, timeMs } = dead;
      // What has expired does so again; what was rejected comes again.
      this.ready.putBack(handle, flags & ~(3 << deathShift), sequence, timeMs);
    }
  }

  /** Whether there was any. */
  private dropExcess(): boolean {
    const { ready, settings } = this;
    if (settings.overflow !== "drop-head") return false;
    const before = ready.count;
    while (ready.count > settings.maxLength || this.readyBytes > settings.maxBytes) this.dropFirst("maxlen");
    return ready.count < before;
  }

  /** Drops what has expired at the queue's head, and sees to it that the next is dropped in time. */
  private dropExpired(): void {
    const { ready } = this;
    let timeMs = ready.headTimeMs();
    if (timeMs !== 0) {
      const nowMs = this.environment.clock.nowMs();
      for (; timeMs !== 0 && timeMs <= nowMs; timeMs = ready.headTimeMs()) this.dropFirst("expired");
      this.watchExpiry();
    }
    if (ready.count === 0) this.isTimed = false;
  }

  private dropFirst(reason: DeathReason): void {
    const { ready } = this;
    ready.shift();
    const { handle, flags, sequence, timeMs } = ready;
    this.countBytes(handle, -1);
    this.dies(handle, flags, sequence, timeMs, reason);
  }

  /** Only the head expires, as in RabbitMQ: what has expired behind it waits. The timer may come too early, never too late. */
  private watchExpiry(): void {
    const timeMs = this.ready.headTimeMs();
    if (timeMs === 0 || (this.expiry && this.expiryMs <= timeMs)) return;
    this.expiry?.cancel();
    this.expiryMs = timeMs;
    this.expiry = this.afterMs(timeMs - this.environment.clock.nowMs(), () => {
      this.expiry = undefined;
      this.dropExpired();
    });
  }

  private lookWhetherUnused(): void {
    this.unusedTimer = undefined;
    if (this.deleted || this.consumers.all.size > 0) return;
    const restMs = this.lastUsedMs + this.settings.expiresMs - this.environment.clock.nowMs();
    if (restMs <= 0) this.environment.isUnused(this);
    else this.unusedTimer = this.afterMs(restMs, () => this.lookWhetherUnused());
  }

  private afterMs(delayMs: number, callback: () => void): Timer {
    const { clock } = this.environment;
    return clock.after(Math.min(Math.max(delayMs, 0), longestTimerMs), () =>
      this.environment.attempt(callback),
    );
  }

  /** Its timers end. Stopping twice is fine. */
  stop(): void {
    this.expiry?.cancel();
    this.expiry = undefined;
    this.unusedTimer?.cancel();
    this.unusedTimer = undefined;
  }

  private countBytes(handle: MessageHandle, sign: 1 | -1): void {
    if (!this.countsBytes) return;
    this.store.locate(handle, this.located);
    this.readyBytes += sign * this.located.bodyLength;
  }
}

export interface TakenMessage {
  readonly message: MessageView;
  readonly handle: MessageHandle;
  readonly flags: number;
  readonly sequence: number;
}

export interface DeadMessage {
  readonly handle: MessageHandle;
  readonly flags: number;
  readonly sequence: number;
  readonly timeMs: number;
  readonly reason: DeathReason;
}

function reasonOf(flags: number): DeathReason {
  return deathReasons[(flags >> deathShift) & 3];
}

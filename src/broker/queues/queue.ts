/** Hot path: every message passes `offer` or `enqueue`, and `dispatch`. Benchmark: T16, P1K in bench/. */
import { fieldText, type FieldTable } from "../../wire/index.ts";
import { MessageView, type Destination, type MessageHandle, type MessageStore } from "../storage/index.ts";
import { positionShift, ReadyMessages, redelivered } from "./ready-messages.ts";

/** What a queue delivers to. */
export interface QueueConsumer {
  readonly tag: string;
  readonly exclusive: boolean;
  /** Messages count as settled when they are sent. */
  readonly noAck: boolean;
  /** Set by the queue: this consumer had no credit when it was asked, and is not asked again before `resume`. */
  parked: boolean;
  /** Whether another message may be sent to it now: prefetch, and room in its connection's output. */
  hasCredit(): boolean;
  /** Called when the queue finds it without credit. It must call `queue.resume` when it has some again. */
  park(): void;
  deliver(message: MessageView, handle: MessageHandle, flags: number, sequence: number): void;
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

/** More ready messages than this, while consumers are there, and the consumers have fallen behind the publishers. */
const behindAt = 2048;

export class Queue implements Destination {
  readonly id: number;
  readonly name: string;
  readonly durable: boolean;
  readonly survives: boolean;
  readonly autoDelete: boolean;
  readonly exclusiveOwner: object | null;
  readonly arguments: FieldTable;
  nextSequence = 1;
  deleted = false;
  private readonly store: MessageStore;
  /** Ready messages kept at most; the oldest go first. */
  private readonly maxLength: number;
  private readonly ready = new ReadyMessages();
  private readonly located = new MessageView();
  private readonly allConsumers = new Set<QueueConsumer>();
  /** Consumers that may have credit, in the order of their turns. */
  private active: QueueConsumer[] = [];
  private turn = 0;
  private exclusiveConsumer: QueueConsumer | null = null;

  constructor(id: number, name: string, options: QueueOptions, store: MessageStore) {
    this.id = id;
    this.name = name;
    this.durable = options.durable;
    // An exclusive queue goes with its connection, and no connection outlives the broker.
    this.survives = options.durable && options.exclusiveOwner === null;
    this.autoDelete = options.autoDelete;
    this.exclusiveOwner = options.exclusiveOwner;
    this.arguments = options.arguments;
    this.store = store;
    const maxLength = options.arguments.get("x-max-length");
    this.maxLength = maxLength ? Number(fieldText(maxLength)) : Number.POSITIVE_INFINITY;
  }

  get readyCount(): number {
    return this.ready.count;
  }

  get consumerCount(): number {
    return this.allConsumers.size;
  }

  get hasExclusiveConsumer(): boolean {
    return this.exclusiveConsumer !== null;
  }

  /** Publishers to this queue should leave more of the event loop to its consumers. Never a reason to stop them. */
  isBehind(): boolean {
    return this.ready.count > behindAt && this.allConsumers.size > 0;
  }

  /** Hands a message straight to a consumer that needs no acknowledgement, if one is ready. It is not stored then. */
  offer(message: MessageView): boolean {
    if (this.active.length === 0 || this.ready.count > 0) return false;
    const consumer = this.pick();
    if (consumer === null) return false;
    if (!consumer.noAck) {
      // Give its turn back: the message comes again through enqueue.
      this.turn--;
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
    const flags = position << positionShift;
    if (this.active.length > 0 && this.ready.count === 0) {
      const consumer = this.pick();
      if (consumer !== null) {
        this.hand(consumer, message, handle, flags, sequence);
        return;
      }
    }
    this.ready.push(handle, flags, sequence);
    while (this.ready.count > this.maxLength) this.dropFirst();
  }

  /** Takes back a message that survived an earlier life of the broker. They come in the order of their sequences. */
  restore(handle: MessageHandle, position: number, sequence: number, isRedelivered: boolean): void {
    this.ready.push(handle, (position << positionShift) | (isRedelivered ? redelivered : 0), sequence);
  }

  /** Tells the store which of the ready messages have been delivered before, so that it outlives a stop in order. */
  noteRedelivered(): void {
    this.ready.forEach((handle, flags, sequence) => {
      if (flags & redelivered) this.store.returned(handle, flags >> positionShift, this, sequence, 1);
    });
  }

  /** Takes out all ready messages, in order. The store is not told. */
  takeAll(
    visit: (handle: MessageHandle, position: number, sequence: number, isRedelivered: boolean) => void,
  ): void {
    const { ready } = this;
    while (ready.count > 0) {
      ready.shift();
      visit(ready.handle, ready.flags >> positionShift, ready.sequence, (ready.flags & redelivered) !== 0);
    }
  }

  /** Delivers while there are messages and consumers with credit. */
  dispatch(): void {
    const { ready, located } = this;
    while (ready.count > 0) {
      const consumer = this.pick();
      if (consumer === null) return;
      ready.shift();
      const { handle } = ready;
      this.store.locate(handle, located);
      this.hand(consumer, located, handle, ready.flags, ready.sequence);
    }
  }

  /** Takes the first ready message for basic.get; null when there is none. The caller settles it or gives it back. */
  take(into: MessageView): TakenMessage | null {
    if (this.ready.count === 0) return null;
    this.ready.shift();
    const { handle, flags, sequence } = this.ready;
    this.store.locate(handle, into);
    return { handle, flags, sequence };
  }

  /** A delivered message is done with: acknowledged, or rejected without requeue. */
  settle(handle: MessageHandle, flags: number, sequence: number): void {
    const position = flags >> positionShift;
    if (this.deleted) this.store.drop(handle, position);
    else this.store.settle(handle, position, this, sequence);
  }

  /** A delivered message comes back, to its original position. Call {@link dispatch} when all have come back. */
  requeue(handle: MessageHandle, flags: number, sequence: number): void {
    if (this.deleted) this.store.drop(handle, flags >> positionShift);
    else this.ready.putBack(handle, flags | redelivered, sequence);
  }

  addConsumer(consumer: QueueConsumer): void {
    this.allConsumers.add(consumer);
    if (consumer.exclusive) this.exclusiveConsumer = consumer;
    consumer.parked = false;
    this.active.push(consumer);
  }

  removeConsumer(consumer: QueueConsumer): void {
    if (!this.allConsumers.delete(consumer)) return;
    if (this.exclusiveConsumer === consumer) this.exclusiveConsumer = null;
    const at = this.active.indexOf(consumer);
    if (at < 0) return;
    this.active.splice(at, 1);
    if (at < this.turn) this.turn--;
  }

  /** A parked consumer has credit again; it takes its turn behind the others. */
  resume(consumer: QueueConsumer): void {
    if (!consumer.parked || !this.allConsumers.has(consumer)) return;
    consumer.parked = false;
    this.active.push(consumer);
    this.dispatch();
  }

  /** Drops all ready messages, not the unacknowledged ones. */
  purge(): number {
    const purged = this.ready.count;
    while (this.ready.count > 0) this.dropFirst();
    return purged;
  }

  /** Drops the messages and tells the consumers. The virtual host has forgotten the queue already. */
  delete(): number {
    this.deleted = true;
    const consumers = [...this.allConsumers];
    this.allConsumers.clear();
    this.active = [];
    for (const consumer of consumers) consumer.cancelledByQueue();
    const { ready } = this;
    const dropped = ready.count;
    while (ready.count > 0) {
      ready.shift();
      this.store.drop(ready.handle, ready.flags >> positionShift);
    }
    return dropped;
  }

  private dropFirst(): void {
    const { ready } = this;
    ready.shift();
    this.store.settle(ready.handle, ready.flags >> positionShift, this, ready.sequence);
  }

  private hand(
    consumer: QueueConsumer,
    message: MessageView,
    handle: MessageHandle,
    flags: number,
    sequence: number,
  ): void {
    if (consumer.noAck) {
      consumer.deliver(message, -1, flags, sequence);
      this.store.settle(handle, flags >> positionShift, this, sequence);
    } else {
      consumer.deliver(message, handle, flags, sequence);
    }
  }

  /** The next consumer with credit, round robin. Those without are parked until they ask to be resumed. */
  private pick(): QueueConsumer | null {
    const { active } = this;
    while (active.length > 0) {
      if (this.turn >= active.length) this.turn = 0;
      const consumer = active[this.turn];
      if (consumer.hasCredit()) {
        this.turn++;
        return consumer;
      }
      active.splice(this.turn, 1);
      consumer.parked = true;
      consumer.park();
    }
    return null;
  }
}

export interface TakenMessage {
  readonly handle: MessageHandle;
  readonly flags: number;
  readonly sequence: number;
}

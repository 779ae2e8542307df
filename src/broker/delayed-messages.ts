/** Hot path of delayed exchanges. Benchmark: delayed in bench/. */
import { crc32 } from "node:zlib";
import type { Clock, EndOfTurn, EventLoopTurn, Timer } from "../base/index.ts";
import { DueMessages } from "./due-messages.ts";
import type { Room } from "./publish-gate.ts";
import {
  MessageView,
  knownProperties,
  routeOf,
  type Destination,
  type MessageHandle,
  type MessageStore,
  type SurvivingMessage,
} from "./storage/index.ts";

export interface DelayedMessagesOptions {
  readonly store: MessageStore;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly room: Room;
  attempt(work: () => void): void;
  /** Routes a message that is due. Its bytes are the store's. */
  release(message: MessageView): void;
}

/** A message that waits for its time. */
export interface DelayedMessage {
  readonly messageId: string | undefined;
  readonly exchange: string;
  readonly routingKey: string;
  /** Milliseconds since 1970. */
  readonly dueMs: number;
  readonly bodyBytes: number;
}

/** The longest delay: 2³² − 1 ms, some 49 days, as in RabbitMQ's plugin. A longer one is none. */
export const longestDelayMs = 0xffff_ffff;
/** Released in one turn of the event loop. */
const releasedPerTurn = 512;
const bytesPerTurn = 1 << 20;
/** When one that could not be released is tried again. */
const retryMs = 1_000;
const longestTimerMs = 0x7fff_ffff;

/**
 * The messages that an exchange of type `x-delayed-message` holds until they are due: a queue of its own, in the order of
 * their times, as durable as the exchange and the messages are. A message is routed when it is due, by the bindings that
 * there are then; storing it for its queues and settling it here is one commit.
 * https://github.com/rabbitmq/rabbitmq-delayed-message-exchange
 */
export class DelayedMessages implements Destination, EndOfTurn {
  readonly id: number;
  readonly survives: boolean;
  nextSequence = 1;
  nextTimeMs = 0;
  nextNote = 0;
  deleted = false;
  private readonly options: DelayedMessagesOptions;
  private readonly due = new DueMessages();
  private readonly located = new MessageView();
  private timer: Timer | undefined;
  private timerMs = 0;
  private scheduled = false;

  constructor(id: number, survives: boolean, options: DelayedMessagesOptions) {
    this.id = id;
    this.survives = survives;
    this.options = options;
  }

  get messageCount(): number {
    return this.due.count;
  }

  /** Decides what is noted of the next message: call it before the store appends. */
  prepare(message: MessageView, dueMs: number): void {
    this.nextTimeMs = dueMs;
    // Finding one by its id then means reading only those with the same checksum.
    this.nextNote = checksumOf(knownProperties(message).messageId);
  }

  /** Takes a message that the store has appended for this and others, among which it has this `position`. */
  enqueue(_message: MessageView, handle: MessageHandle, position: number): void {
    this.due.push(handle, position, this.nextTimeMs, this.nextSequence++, this.nextNote);
    this.watch();
  }

  isBehind(): boolean {
    return false;
  }

  restore({ handle, position, sequence, timeMs, note }: SurvivingMessage): void {
    this.due.push(handle, position, timeMs, sequence, note);
    this.watch();
  }

  /** All that survived has been restored: the next message has this sequence. */
  continueFrom(sequence: number): void {
    this.nextSequence = sequence;
  }

  /** There may be room in the log again. */
  roomChanged(): void {
    if (this.due.count > 0 && this.due.firstTimeMs <= this.options.clock.nowMs()) this.schedule();
  }

  endOfTurn(): void {
    this.scheduled = false;
    this.options.attempt(() => this.releaseDue());
  }

  private releaseDue(): void {
    const { due, located, options } = this;
    const { store, clock, room } = options;
    const nowMs = clock.nowMs();
    let left = releasedPerTurn;
    let bytesLeft = bytesPerTurn;
    while (due.count > 0 && due.firstTimeMs <= nowMs) {
      if (left <= 0 || bytesLeft <= 0) return this.schedule();
      store.locate(due.firstHandle, located);
      // Twice, for what a chunk may waste. When there is room again, roomChanged goes on.
      if (!room.hasRoom || !room.hasRoomFor(2 * (located.bodyLength + located.propertiesLength))) return;
      left--;
      bytesLeft -= located.bodyLength;
      this.releaseFirst(nowMs);
    }
    this.watch();
  }

  private releaseFirst(nowMs: number): void {
    const { due, located, options } = this;
    const { firstHandle: handle, firstPosition: position, firstSequence: sequence, firstNote: note } = due;
    due.shift();
    let isReleased = false;
    try {
      options.release(located);
      isReleased = true;
    } finally {
      // Whatever went wrong, it is still there, and others are not held up by it.
      if (!isReleased) {
        due.push(handle, position, nowMs + retryMs, sequence, note);
        this.schedule();
      }
    }
    options.store.settle(handle, position, this, sequence);
  }

  /** What waits, in no particular order; reading it may take a while. */
  list(): DelayedMessage[] {
    const messages: DelayedMessage[] = [];
    this.due.forEach((handle, _position, dueMs) => {
      this.options.store.locate(handle, this.located);
      const { exchange, routingKey } = routeOf(this.located);
      const { messageId } = knownProperties(this.located);
      messages.push({ messageId, exchange, routingKey, dueMs, bodyBytes: this.located.bodyLength });
    });
    return messages;
  }

  /** Takes out all messages with this message-id, and says how many there were. */
  cancel(messageId: string): number {
    const note = checksumOf(messageId);
    const { store } = this.options;
    let cancelled = 0;
    this.due.removeIf((handle, position, _timeMs, sequence, otherNote) => {
      if (otherNote !== note) return false;
      store.locate(handle, this.located);
      if (knownProperties(this.located).messageId !== messageId) return false;
      store.settle(handle, position, this, sequence);
      cancelled++;
      return true;
    });
    return cancelled;
  }

  /** The exchange is gone. */
  delete(): number {
    const { count } = this.due;
    this.stop();
    this.deleted = true;
    this.due.removeIf((handle, position) => {
      this.options.store.drop(handle, position);
      return true;
    });
    return count;
  }

  /** Takes out all messages, in the order of their sequences. The store is not told. */
  takeAll(visit: (message: SurvivingMessage) => void): void {
    this.stop();
    const taken: SurvivingMessage[] = [];
    this.due.removeIf((handle, position, timeMs, sequence, note) => {
      taken.push({ handle, position, sequence, isRedelivered: false, deliveries: 0, timeMs, note });
      return true;
    });
    for (const message of taken.toSorted((a, b) => a.sequence - b.sequence)) visit(message);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.options.turn.beforeFlush(this);
  }

  private watch(): void {
    if (this.due.count === 0 || this.scheduled) return;
    const { firstTimeMs } = this.due;
    if (this.timer && this.timerMs <= firstTimeMs) return;
    this.timer?.cancel();
    this.timerMs = firstTimeMs;
    const delayMs = Math.min(Math.max(firstTimeMs - this.options.clock.nowMs(), 0), longestTimerMs);
    this.timer = this.options.clock.after(delayMs, () => {
      this.timer = undefined;
      this.schedule();
    });
  }
}

/** 0 stands for none. */
function checksumOf(messageId: string | undefined): number {
  return messageId === undefined ? 0 : crc32(messageId) || 1;
}

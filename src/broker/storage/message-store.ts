import type { MessageView } from "./message-view.ts";

/**
 * Names one stored message until its last reference is settled; then the number is used again. A small integer, so that
 * queues keep their messages in typed arrays. Where the bytes are (memory, a segment of the log) is the store's business
 * and may change while the handle lives.
 */
export type MessageHandle = number;

/** What the store must know of a queue. A message in a queue is named by (queue id, sequence), see FORMAT.md. */
export interface Destination {
  /** Never used again, not even by a queue of the same name. */
  readonly id: number;
  /** The queue outlives the broker's process, and persistent messages in it do. */
  readonly survives: boolean;
  /** The sequence that the next message stored for this queue will have. */
  readonly nextSequence: number;
  /**
   * What else the queue must know of that message in the broker's next life; both are 0 when there is nothing.
   * A time in milliseconds since 1970: when the message expires, or is due.
   */
  readonly nextTimeMs: number;
  /** An unsigned number of 32 bits that means something to the queue: a priority, say. */
  readonly nextNote: number;
}

/**
 * Something that must wait until all that was stored before is as safe as the store can make it. The calls alternate:
 * `beforeCommit`, `committed`, `beforeCommit`, …
 */
export interface CommitWaiter {
  /** Whether anything that it waits for goes to a disk. Others need not wait for one. Asked once, at the turn's end. */
  readonly needsDisk: boolean;
  /** What was appended up to now will be covered by the commit that begins; what comes later will not. */
  beforeCommit(): void;
  /** The commit that had begun is done: what it covers may be confirmed. */
  committed(): void;
}

/** Keeps the messages of all queues of a broker, each once, however many queues it is in. */
export interface MessageStore {
  /**
   * Copies a message once for the first `count` of `destinations`, each of which holds one reference to it then. The
   * message's bytes must not be the store's own, as {@link locate} shows them: they may be moved meanwhile.
   * The caller enqueues it at once, so that each queue gives it its `nextSequence`, and remembers for each queue its
   * position among the destinations.
   */
  append(
    message: MessageView,
    persistent: boolean,
    destinations: readonly Destination[],
    count: number,
  ): MessageHandle;
  /** Points `into` at the message's bytes; valid until the next call into the store. Reads the disk where it must. */
  locate(handle: MessageHandle, into: MessageView): void;
  /**
   * One queue is done with the message: acknowledged, rejected or purged. Is remembered as long as the message is.
   * `position` is the queue's among the message's destinations.
   */
  settle(handle: MessageHandle, position: number, destination: Destination, sequence: number): void;
  /** A queue that is deleted lets the message go. Nothing needs to be remembered: the queue's id will not come again. */
  drop(handle: MessageHandle, position: number): void;
  /**
   * The message has been delivered, and returned to the queue `count` times by now, if the queue counts them: remembered,
   * as long as the message is.
   */
  returned(
    handle: MessageHandle,
    position: number,
    destination: Destination,
    sequence: number,
    count: number,
  ): void;
  /** Calls the waiter back once what has been appended and settled until now is committed. */
  awaitCommit(waiter: CommitWaiter): void;
  /** Messages held and the memory that they need. What is on disk and could be dropped does not count. */
  usage(): StoreUsage;
}

export interface StoreUsage {
  readonly messages: number;
  readonly memoryBytes: number;
}

/** The most destinations that one {@link MessageStore.append} takes: their pairs must fit into a chunk of the log. */
export const mostDestinations = 10_000;

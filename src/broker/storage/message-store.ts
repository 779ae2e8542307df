import type { MessageView } from "./message-view.ts";

/**
 * Names one stored message until its last reference is settled; then the number is used again. A small integer, so that
 * queues keep their messages in typed arrays. Where the bytes are (which slab, later which segment or only on disk) is
 * the store's business and may change while the handle lives.
 */
export type MessageHandle = number;

/** What the store must know of a queue. A message in a queue is named by (queue id, sequence), see INVARIANTS 2. */
export interface Destination {
  /** Never used again, not even by a queue of the same name. */
  readonly id: number;
  readonly durable: boolean;
  /** The sequence that the next message stored for this queue will have. */
  readonly nextSequence: number;
}

/**
 * Something that must wait until all that was stored before is as safe as the store can make it. The calls alternate:
 * `beforeCommit`, `committed`, `beforeCommit`, …; the next commit does not begin for a waiter before the last has ended.
 */
export interface CommitWaiter {
  /** What was appended up to now will be covered by the commit that begins; what comes later will not. */
  beforeCommit(): void;
  /** The commit that had begun is done: what it covers may be confirmed. */
  committed(): void;
}

/** Keeps the messages of all queues of a broker, each once, however many queues it is in. */
export interface MessageStore {
  /** A queue id that was never given before. */
  nextQueueId(): number;
  /**
   * Copies a message once for the first `count` of `destinations`, each of which holds one reference to it then.
   * The caller enqueues it at once, so that each queue gives it its `nextSequence`.
   */
  append(
    message: MessageView,
    persistent: boolean,
    destinations: readonly Destination[],
    count: number,
  ): MessageHandle;
  /** Points `into` at the message's bytes; valid until the next call into the store. */
  locate(handle: MessageHandle, into: MessageView): void;
  /** One queue is done with the message: acknowledged, rejected or purged. Must be remembered as long as the message is. */
  settle(handle: MessageHandle, destination: Destination, sequence: number): void;
  /** A queue that is deleted lets the message go. Nothing needs to be remembered: the queue's id will not come again. */
  drop(handle: MessageHandle): void;
  /** Calls the waiter back once what has been appended and settled until now is committed. */
  awaitCommit(waiter: CommitWaiter): void;
  /** Messages held and the bytes that they pin in memory. */
  usage(): { messages: number; memoryBytes: number };
}

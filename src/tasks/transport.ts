import type { Capabilities } from "./capabilities.ts";
import type { QueueDefinition } from "./queue.ts";

/** All that a message broker must do for tasks. `test/contracts/transport` says what each of it means. */
export interface Transport {
  readonly capabilities: Capabilities;
  /** Makes the queue, its dead-letter exchange and queue, and what delays need. Undefined when that was done before. */
  declare(queue: QueueDefinition): Promise<void> | undefined;
  /**
   * Resolves when the broker has confirmed the message: it is durable then.
   * @throws PublishError when it was not confirmed in time, or no queue takes it; the signal's reason.
   */
  publish(message: OutgoingMessage, signal?: AbortSignal): Promise<void>;
  /**
   * Publishes a message that was taken from the queue to the queue's dead letters, with these headers beside its own and as
   * if the broker had found it rejected. The delivery must be acknowledged afterwards.
   */
  bury(
    message: IncomingMessage,
    queue: QueueDefinition,
    headers: Readonly<Record<string, unknown>>,
  ): Promise<void>;
  /** Why and where a dead letter has died, the latest first. */
  deathsOf(letter: IncomingMessage): Death[];
  /** Begins to take messages, and goes on by itself after the connection was lost. */
  consume(queue: QueueDefinition, options: ConsumeOptions): Promise<Consumption>;
  /** Takes messages one by one, for looking at them. Those that are not settled come back when it is closed. */
  browse(queue: string): Promise<Browser>;
  /** A queue of this client alone, which outlives lost connections, but not for long. Resolves with its name. */
  openReplyQueue(onMessage: (message: IncomingMessage) => void): Promise<string>;
  /** Copies of all dead letters of the queue from now on. */
  watchDeadLetters(queue: QueueDefinition, onLetter: (letter: IncomingMessage) => void): Promise<void>;
  /** Undefined where there is no such queue. */
  queueStatus(queue: string): Promise<QueueStatus | undefined>;
  close(): Promise<void>;
}

export interface OutgoingMessage {
  /** The queue that it goes to, … */
  readonly queue: string;
  /** … or instead an exchange and a key. */
  readonly via?: { readonly exchange: string; readonly routingKey: string };
  /** It reaches its queue when so long has passed, never before, in milliseconds. */
  readonly delayMs?: number;
  /** Lost without an error when no queue takes it. Default false. */
  readonly isOptional?: boolean;
  /** Bytes, text, or anything else to be sent as JSON. */
  readonly body: unknown;
  readonly messageId: string | undefined;
  readonly contentType: string | undefined;
  readonly priority: number | undefined;
  /** How long it may wait in its queue. */
  readonly expirationMs: number | undefined;
  readonly replyTo: string | undefined;
  readonly correlationId: string | undefined;
  readonly timestampMs: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** `body` is what JSON has made of it where the content type says so and it is well-formed, else text or a Buffer. */
export interface IncomingMessage extends Omit<
  OutgoingMessage,
  "queue" | "via" | "delayMs" | "isOptional" | "expirationMs"
> {
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
}

export interface ConsumeOptions {
  /** Deliveries that may be unsettled at a time. */
  readonly prefetch: number;
  onDelivery(delivery: Delivery): void;
  /** The connection was lost: what was delivered and is not settled goes to others. */
  onLost(error: Error): void;
  /** Begins to take messages, for the first time or again. */
  onConsuming?(): void;
  /** A broker that answers does not let it go on, so often by now; it is tried again, ever more rarely. */
  onRefused?(error: Error, tries: number): void;
}

export interface Delivery {
  readonly message: IncomingMessage;
  /** It can no longer be settled here. */
  readonly isLost: boolean;
  /** Done with. Settling a lost delivery does nothing. */
  ack(): void;
  /** Back to its place in the queue. */
  requeue(): void;
  /** To the queue's dead letters. */
  reject(): void;
}

export interface Consumption {
  /** Takes no more; what was delivered can still be settled. */
  cancel(): Promise<void>;
  /** Ends it for good: what is not settled by now comes back to the queue. */
  close(): Promise<void>;
}

export interface Browser extends AsyncDisposable {
  /** The next that is ready; undefined when there is none. */
  next(): Promise<Delivery | undefined>;
  /** Publishes the message and settles the delivery: both or neither where the broker can do that, else in this order. */
  move(delivery: Delivery, message: OutgoingMessage): Promise<void>;
  /** Takes the message out of the queue for good. */
  remove(delivery: Delivery): Promise<void>;
  /** Puts back what was not settled. */
  close(): Promise<void>;
}

export interface Death {
  /** `rejected`, `expired`, `maxlen` or `delivery_limit`. */
  readonly reason: string;
  readonly queue: string;
  readonly count: number;
  readonly atMs: number;
}

export interface QueueStatus {
  readonly ready: number;
  readonly consumers: number;
}

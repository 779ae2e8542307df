/** Hot path: hands every published message to its queues. Benchmark: T16, P1K in bench/. */
import type { Queue } from "./queues/index.ts";
import type { Route } from "./route-cache.ts";
import {
  mostDestinations,
  type Destination,
  type MessageHandle,
  type MessageStore,
  type MessageView,
} from "./storage/index.ts";

/** What became of a message at its queues, as bits of a number: no object is made for each message. */
export const Outcome = {
  /** It goes to the disk, and is durable with the next commit. */
  Logged: 1,
  /** A queue has refused it, being full. */
  Refused: 2,
  /** A queue's consumers have fallen behind. */
  Behind: 4,
} as const;

/** What queues other than plain ones must know of a message. */
export interface Particulars {
  readonly priority: number;
  /** Infinity when it lives for ever. */
  readonly ttlMs: number;
  readonly nowMs: number;
}

/** What takes messages: a queue, or a delayed exchange. */
interface Taker extends Destination {
  /** Takes a message that the store has appended for it and others, among which it has this position. */
  enqueue(message: MessageView, handle: MessageHandle, position: number): void;
  isBehind(): boolean;
}

/** Hands messages to queues; each is stored once for all that cannot pass it on at once. */
export class Distributor {
  /** Told of a message that a queue with `reject-publish-dlx` has refused; the bytes are valid during the call. */
  onRefused: (queue: Queue, message: MessageView) => void = () => {};
  private readonly store: MessageStore;
  /** Scratch lists for the store; used up before anything else can be handed out, since nothing here calls back. */
  private readonly single: Taker[] = [];
  private readonly storing: Taker[] = [];

  constructor(store: MessageStore) {
    this.store = store;
  }

  /** To plain queues, of which there is one at least. */
  toPlain(queues: readonly Queue[], message: MessageView, persistent: boolean): number {
    if (queues.length === 1) return this.toOne(queues[0], message, persistent);
    let count = 0;
    for (const queue of queues) {
      if (!queue.offer(message)) this.storing[count++] = queue;
    }
    return this.keep(count, message, persistent);
  }

  /** To queues of all kinds, and to delayed exchanges. */
  toAny(
    { queues, delays }: Route,
    message: MessageView,
    persistent: boolean,
    particulars: Particulars,
  ): number {
    const { priority, ttlMs, nowMs } = particulars;
    let count = 0;
    let refusing: Queue[] | undefined;
    for (const queue of queues) {
      if (queue.refuses(message.bodyLength)) {
        (refusing ??= []).push(queue);
        continue;
      }
      if (queue.offer(message)) continue;
      queue.prepare(priority, ttlMs, nowMs);
      this.storing[count++] = queue;
    }
    for (const { messages, delayMs } of delays ?? []) {
      if (messages.deleted) continue;
      messages.prepare(message, nowMs + delayMs);
      this.storing[count++] = messages;
    }
    const outcome = this.keep(count, message, persistent);
    if (refusing === undefined) return outcome;
    for (const queue of refusing) {
      if (queue.settings.overflow === "reject-publish-dlx") this.onRefused(queue, message);
    }
    return outcome | Outcome.Refused;
  }

  private toOne(queue: Queue, message: MessageView, persistent: boolean): number {
    if (queue.offer(message)) return 0;
    const { single } = this;
    single[0] = queue;
    const handle = this.store.append(message, persistent, single, 1);
    queue.enqueue(message, handle, 0);
    return (persistent && queue.survives ? Outcome.Logged : 0) | (queue.isBehind() ? Outcome.Behind : 0);
  }

  /** Stores it for the first `count` of the list. */
  private keep(count: number, message: MessageView, persistent: boolean): number {
    const { storing } = this;
    let outcome = 0;
    for (let index = 0; index < count; index += mostDestinations) {
      const part = count > mostDestinations ? storing.slice(index, index + mostDestinations) : storing;
      outcome |= this.keepPart(part, Math.min(count - index, mostDestinations), message, persistent);
    }
    storing.length = 0;
    return outcome;
  }

  private keepPart(
    takers: readonly Taker[],
    count: number,
    message: MessageView,
    persistent: boolean,
  ): number {
    const handle = this.store.append(message, persistent, takers, count);
    let outcome = 0;
    for (let position = 0; position < count; position++) {
      const taker = takers[position];
      taker.enqueue(message, handle, position);
      if (persistent && taker.survives) outcome |= Outcome.Logged;
      if (taker.isBehind()) outcome |= Outcome.Behind;
    }
    return outcome;
  }
}

import type { Clock, EndOfTurn, EventLoopTurn, Logger, Timer } from "../base/index.ts";
import type { FieldTable } from "../wire/index.ts";
import { isCycle, withDeath } from "./death-headers.ts";
import type { Distributor } from "./distributor.ts";
import type { Room } from "./publish-gate.ts";
import { copyKeys } from "./copy-keys.ts";
import type { DeathReason, Queue } from "./queues/index.ts";
import type { Route } from "./route-cache.ts";
import {
  composeMessage,
  knownProperties,
  MessageView,
  routeOf,
  type KnownProperties,
  type MessageStore,
} from "./storage/index.ts";

export interface DeadLettersOptions {
  readonly store: MessageStore;
  readonly distributor: Distributor;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly log: Logger;
  readonly room: Room;
  attempt(work: () => void): void;
  /** Where an exchange routes to; undefined when there is no such exchange. */
  route(exchange: string, routingKeys: readonly string[], headers: FieldTable): Route | undefined;
}

/** Dead letters moved in one turn of the event loop, so that a million of them do not hold up everybody. */
const movedPerTurn = 512;
const bytesPerTurn = 1 << 20;
/** How often it is tried again to find a queue for letters that must not be lost. */
const retryMs = 1_000;

/** A message that died without ever being in its queue. */
interface Refused {
  readonly queue: Queue;
  readonly letter: Letter;
}

interface Letter {
  readonly message: MessageView;
  readonly routingKeys: readonly string[];
  readonly headers: FieldTable;
  /** Of the message as it was. */
  readonly properties: KnownProperties;
  readonly reason: DeathReason;
}

type Moved = "moved" | "stuck" | "no room";

/**
 * Moves dead messages to the queues that their dead-letter exchange routes to. They wait in their queues, unsettled; each is
 * stored anew and settled in one turn, so that both are in one commit of the log: a crash finds it in one place. What has
 * been said of classic queues in RabbitMQ holds otherwise: without an exchange, or without a queue behind it, the message is
 * gone, unless its queue asks for more (`x-dead-letter-strategy: at-least-once`).
 */
export class DeadLetters implements EndOfTurn {
  private readonly options: DeadLettersOptions;
  private readonly waiting = new Set<Queue>();
  /** Queues that keep letters which nobody takes. */
  private readonly stuck = new Set<Queue>();
  /** Those of which the log has been told, until they have no dead letters any more. */
  private readonly told = new Set<Queue>();
  private readonly toldOfCircle = new WeakSet<Queue>();
  private refused: Refused[] = [];
  private scheduled = false;
  private retry: Timer | undefined;
  private readonly located = new MessageView();

  constructor(options: DeadLettersOptions) {
    this.options = options;
  }

  /** The queue has dead letters. */
  add(queue: Queue): void {
    this.waiting.add(queue);
    this.schedule();
  }

  /** A full queue has refused a message, and wants it dead-lettered all the same. */
  addRefused(queue: Queue, message: MessageView): void {
    if (queue.settings.deadLetterExchange === undefined) return;
    this.refused.push({ queue, letter: this.letter(queue, message, "maxlen") });
    this.schedule();
  }

  /** There may be room in the log again. */
  roomChanged(): void {
    if (this.waiting.size > 0) this.schedule();
  }

  endOfTurn(): void {
    this.scheduled = false;
    this.options.attempt(() => this.move(movedPerTurn));
  }

  /** Moves some at once, and the rest soon. */
  moveSoon(): void {
    if (this.waiting.size > 0 || this.refused.length > 0) this.move(movedPerTurn);
  }

  /** Moves what there is now, before the broker stops; not what dies again meanwhile. */
  flush(): void {
    let count = this.refused.length;
    for (const { deadCount } of this.waiting) count += deadCount;
    if (count > 0) this.move(count);
  }

  stop(): void {
    this.retry?.cancel();
    this.retry = undefined;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.options.turn.beforeFlush(this);
  }

  private move(most: number): void {
    let left = this.moveRefused(most);
    let bytesLeft = bytesPerTurn * (most / movedPerTurn);
    for (const queue of this.waiting) {
      while (queue.deadCount > 0) {
        if (left <= 0 || bytesLeft <= 0) return this.schedule();
        const moved = this.tryToMoveOne(queue);
        // roomChanged goes on.
        if (moved === "no room") return;
        if (moved === "stuck") {
          this.keep(queue);
          break;
        }
        left--;
        bytesLeft -= this.located.bodyLength;
      }
      if (queue.deadCount === 0) this.told.delete(queue);
      this.waiting.delete(queue);
    }
  }

  /** They are in no queue: they go first. Says how many more may be moved. */
  private moveRefused(most: number): number {
    const { refused } = this;
    let count = 0;
    for (; count < refused.length && count < most; count++) {
      const { queue, letter } = refused[count];
      if (!this.hasRoomFor(letter.message)) break;
      this.deliver(queue, letter);
    }
    this.refused = refused.slice(count);
    return most - count;
  }

  /** What cannot be moved must hold up neither the letters of other queues nor who has caused this. */
  private tryToMoveOne(queue: Queue): Moved {
    try {
      return this.moveOne(queue);
    } catch (error) {
      if (!this.told.has(queue))
        this.options.log.error(
          { queue: queue.name, error: (error as Error).stack },
          "a dead letter cannot be moved: it is kept, and tried again each second",
        );
      this.told.add(queue);
      return "stuck";
    }
  }

  private moveOne(queue: Queue): Moved {
    const { store } = this.options;
    const dead = queue.takeDead();
    let isMoved = false;
    try {
      store.locate(dead.handle, this.located);
      if (!this.hasRoomFor(this.located)) return "no room";
      isMoved = this.deliver(queue, this.letter(queue, this.located, dead.reason));
    } finally {
      // Whatever went wrong, it is still there.
      if (!isMoved) queue.keepDead(dead);
    }
    if (!isMoved) return "stuck";
    queue.settle(dead.handle, dead.flags, dead.sequence);
    return "moved";
  }

  /** Twice what it takes, for the headers, and for what a chunk may waste. */
  private hasRoomFor({ bodyLength, propertiesLength }: MessageView): boolean {
    const { room } = this.options;
    return room.hasRoom && room.hasRoomFor(2 * (bodyLength + propertiesLength));
  }

  private letter(queue: Queue, message: MessageView, reason: DeathReason): Letter {
    const { exchange, routingKey } = routeOf(message);
    const properties = knownProperties(message);
    const { expiration } = properties;
    const copies = copyKeys(properties.headers)
      .filter(({ header }) => header === "CC")
      .map(({ key }) => key);
    const { deadLetterExchange = "", deadLetterRoutingKey } = queue.settings;
    const timeSeconds = Math.floor(this.options.clock.nowMs() / 1000);
    const routingKeys = [routingKey, ...copies];
    const death = { reason, queue: queue.name, exchange, routingKeys, timeSeconds, expiration };
    const headers = new Map(withDeath(properties.headers, death));
    if (deadLetterRoutingKey !== undefined) headers.delete("CC");
    const route = { exchange: deadLetterExchange, routingKey: deadLetterRoutingKey ?? routingKey };
    return {
      message: composeMessage(message, { headers, expiration: null }, route),
      routingKeys: deadLetterRoutingKey === undefined ? routingKeys : [deadLetterRoutingKey],
      headers,
      properties,
      reason,
    };
  }

  /** False when nobody has taken it and it must not be lost. */
  private deliver(queue: Queue, { message, routingKeys, headers, properties, reason }: Letter): boolean {
    const { distributor, clock } = this.options;
    const { deadLetterExchange = "", deadLettersAtLeastOnce } = queue.settings;
    const found = this.options.route(deadLetterExchange, routingKeys, headers);
    const all = found?.queues ?? [];
    const queues = reason === "rejected" ? all : all.filter(({ name }) => !isCycle(name, headers));
    if (queues.length < all.length) this.tellOfCircle(queue);
    const hasTakers = queues.length > 0 || found?.delays !== undefined;
    if (deadLettersAtLeastOnce) {
      if (!hasTakers || queues.some((target) => target.refuses(message.bodyLength))) return false;
    }
    if (!found || !hasTakers) return true;
    const particulars = {
      priority: properties.priority,
      ttlMs: Number.POSITIVE_INFINITY,
      nowMs: clock.nowMs(),
    };
    distributor.toAny({ ...found, queues }, message, properties.persistent, particulars);
    return true;
  }

  private tellOfCircle(queue: Queue): void {
    if (this.toldOfCircle.has(queue)) return;
    this.toldOfCircle.add(queue);
    const { deadLetterExchange } = queue.settings;
    this.options.log.warn(
      { queue: queue.name, exchange: deadLetterExchange },
      "dead letters go round in a circle: they are dropped",
    );
  }

  private keep(queue: Queue): void {
    if (queue.deleted) {
      queue.discard();
      return;
    }
    this.stuck.add(queue);
    if (!this.told.has(queue)) {
      this.told.add(queue);
      const { deadLetterExchange } = queue.settings;
      this.options.log.warn(
        { queue: queue.name, exchange: deadLetterExchange },
        "dead letters are kept: no queue takes them; it is tried again each second",
      );
    }
    this.retry ??= this.options.clock.after(retryMs, () => {
      this.retry = undefined;
      const again = [...this.stuck];
      this.stuck.clear();
      for (const each of again) this.add(each);
    });
  }
}

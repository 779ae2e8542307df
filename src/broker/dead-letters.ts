import type { Clock, EndOfTurn, EventLoopTurn, Logger, Timer } from "../base/index.ts";
import { emptyTable, type BasicProperties, type FieldTable } from "../wire/index.ts";
import { isCycle, withDeath } from "./death-headers.ts";
import type { Distributor } from "./distributor.ts";
import type { Room } from "./publish-gate.ts";
import { copyKeys } from "./copy-keys.ts";
import type { DeathReason, Queue } from "./queues/index.ts";
import { composeMessage, MessageView, propertiesOf, routeOf, type MessageStore } from "./storage/index.ts";

export interface DeadLettersOptions {
  readonly store: MessageStore;
  readonly distributor: Distributor;
  readonly turn: EventLoopTurn;
  readonly clock: Clock;
  readonly log: Logger;
  readonly room: Room;
  attempt(work: () => void): void;
  /** The queues that an exchange routes to; undefined when there is no such exchange. */
  route(exchange: string, routingKeys: readonly string[], headers: FieldTable): readonly Queue[] | undefined;
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
  readonly properties: BasicProperties;
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

  /** Moves what there is now. */
  flush(): void {
    if (this.waiting.size > 0 || this.refused.length > 0) this.move(Number.POSITIVE_INFINITY);
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
    const { refused } = this;
    this.refused = [];
    for (const { queue, letter } of refused) this.deliver(queue, letter);
    let left = most;
    let bytesLeft = Number.isFinite(most) ? bytesPerTurn : Number.POSITIVE_INFINITY;
    for (const queue of this.waiting) {
      while (queue.deadCount > 0) {
        if (left <= 0 || bytesLeft <= 0) return this.schedule();
        const moved = this.moveOne(queue);
        // roomChanged goes on.
        if (moved === "no room") return;
        if (moved === "stuck") {
          this.keep(queue);
          break;
        }
        left--;
        bytesLeft -= this.located.bodyLength;
      }
      this.waiting.delete(queue);
    }
  }

  private moveOne(queue: Queue): Moved {
    const { store, room } = this.options;
    const dead = queue.takeDead();
    store.locate(dead.handle, this.located);
    // Twice, for the headers, and for what a chunk may waste.
    if (!room.hasRoom || !room.hasRoomFor(2 * (this.located.bodyLength + this.located.propertiesLength))) {
      queue.keepDead(dead);
      return "no room";
    }
    if (!this.deliver(queue, this.letter(queue, this.located, dead.reason))) {
      queue.keepDead(dead);
      return "stuck";
    }
    queue.settle(dead.handle, dead.flags, dead.sequence);
    return "moved";
  }

  private letter(queue: Queue, message: MessageView, reason: DeathReason): Letter {
    const { exchange, routingKey } = routeOf(message);
    const { expiration, headers = emptyTable, ...properties } = propertiesOf(message);
    const copies = copyKeys(headers)
      .filter(({ header }) => header === "CC")
      .map(({ key }) => key);
    const { deadLetterExchange = "", deadLetterRoutingKey } = queue.settings;
    const timeSeconds = Math.floor(this.options.clock.nowMs() / 1000);
    const routingKeys = [routingKey, ...copies];
    const changed = new Map(
      withDeath(headers, { reason, queue: queue.name, exchange, routingKeys, timeSeconds, expiration }),
    );
    if (deadLetterRoutingKey !== undefined) changed.delete("CC");
    const newProperties: BasicProperties = { ...properties, headers: changed };
    const route = { exchange: deadLetterExchange, routingKey: deadLetterRoutingKey ?? routingKey };
    return {
      message: composeMessage(message, newProperties, route),
      routingKeys: deadLetterRoutingKey === undefined ? routingKeys : [deadLetterRoutingKey],
      properties: newProperties,
      reason,
    };
  }

  /** False when nobody has taken it and it must not be lost. */
  private deliver(queue: Queue, { message, routingKeys, properties, reason }: Letter): boolean {
    const { distributor, clock, log } = this.options;
    const { deadLetterExchange = "", deadLettersAtLeastOnce } = queue.settings;
    const headers = properties.headers ?? emptyTable;
    const found = this.options.route(deadLetterExchange, routingKeys, headers) ?? [];
    const queues = reason === "rejected" ? found : found.filter(({ name }) => !isCycle(name, headers));
    if (queues.length < found.length)
      log.warn(
        { queue: queue.name, exchange: deadLetterExchange },
        "dead letters go round in a circle: dropped",
      );
    if (deadLettersAtLeastOnce) {
      if (queues.length === 0 || queues.some((target) => target.refuses(message.bodyLength))) return false;
    }
    const particulars = {
      priority: properties.priority ?? 0,
      ttlMs: Number.POSITIVE_INFINITY,
      nowMs: clock.nowMs(),
    };
    distributor.toAny(queues, message, properties.deliveryMode === 2, particulars);
    return true;
  }

  private keep(queue: Queue): void {
    if (!this.stuck.has(queue)) {
      const { deadLetterExchange } = queue.settings;
      this.options.log.warn(
        { queue: queue.name, exchange: deadLetterExchange },
        "dead letters are kept: no queue takes them; it is tried again each second",
      );
    }
    this.stuck.add(queue);
    this.retry ??= this.options.clock.after(retryMs, () => {
      this.retry = undefined;
      const again = [...this.stuck];
      this.stuck.clear();
      for (const each of again) if (!each.deleted) this.add(each);
    });
  }
}

/** Hot path: `isOpen` is read for each publish. Benchmark: P1K in bench/. */
import type { Clock, Logger, Timer } from "../base/index.ts";

/** What is running short. In RabbitMQ's words: https://www.rabbitmq.com/docs/alarms */
export type Resource = "memory" | "disk";

/** A connection that has something to publish and may not yet. */
export interface GateWaiter {
  /** Its consumers have deliveries whose acknowledgements may stand behind its publishes. */
  readonly holdsDeliveries: boolean;
  /** Publishing may go on: without limit, or by `allowanceBytes`. */
  resumePublishing(allowanceBytes: number): void;
  /** An alarm came or went that it should tell its client about. */
  alarmsChanged(): void;
}

/** What the store can take. */
export interface Room {
  readonly hasRoom: boolean;
  hasRoomFor(bytes: number): boolean;
}

/** How often, and how much, a connection may publish under an alarm if it also holds deliveries. */
const trickleMs = 25;
const trickleBytes = 64 << 10;

/**
 * Whether connections may publish. It closes for a moment while the disk catches up, and for longer while an alarm is on:
 * memory or disk run short. Consumers go on, and what they settle ends the alarm.
 *
 * A connection that publishes and consumes has its acknowledgements behind its publishes: stopped for good, it could never
 * end an alarm that it has caused. It goes on slowly (INVARIANTS 11).
 */
export class PublishGate {
  private readonly room: Room;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly alarms = new Set<Resource>();
  private readonly waiting = new Set<GateWaiter>();
  /** Those that were stopped by an alarm and must be told when it is over, though they may have gone on slowly since. */
  private readonly told = new Set<GateWaiter>();
  private trickle: Timer | undefined;

  constructor(room: Room, clock: Clock, log: Logger) {
    this.room = room;
    this.clock = clock;
    this.log = log;
  }

  get isOpen(): boolean {
    return this.alarms.size === 0 && this.room.hasRoom;
  }

  /** There is room, though an alarm may be on. */
  get hasRoom(): boolean {
    return this.room.hasRoom;
  }

  /** Whether a long message may come in. If not, there will be room for it later: wait. */
  hasRoomFor(bytes: number): boolean {
    return this.room.hasRoomFor(bytes);
  }

  get raised(): readonly Resource[] {
    return [...this.alarms];
  }

  /** An alarm keeps this one from publishing. */
  stops(waiter: GateWaiter): boolean {
    return this.alarms.size > 0 && (this.waiting.has(waiter) || this.told.has(waiter));
  }

  wait(waiter: GateWaiter): void {
    this.waiting.add(waiter);
    if (this.alarms.size === 0) return;
    this.told.add(waiter);
    this.startTrickle();
  }

  forget(waiter: GateWaiter): void {
    this.waiting.delete(waiter);
    this.told.delete(waiter);
  }

  /** The store may have room again. */
  roomChanged(): void {
    if (this.waiting.size === 0 || this.alarms.size > 0) return;
    for (const waiter of this.waitingNow()) {
      if (!this.isOpen) return;
      this.resume(waiter, Number.POSITIVE_INFINITY);
    }
  }

  setAlarm(resource: Resource, raised: boolean): void {
    if (this.alarms.has(resource) === raised) return;
    if (raised) this.alarms.add(resource);
    else this.alarms.delete(resource);
    this.log.warn(
      { resource, raised },
      raised ? "alarm: publishers wait" : "alarm cleared: publishers go on",
    );
    for (const waiter of new Set([...this.waiting, ...this.told])) waiter.alarmsChanged();
    if (this.alarms.size === 0) this.told.clear();
    if (this.alarms.size === 0) this.stop();
    else if (this.waiting.size > 0) this.startTrickle();
    this.roomChanged();
  }

  stop(): void {
    this.trickle?.cancel();
    this.trickle = undefined;
  }

  /** A list, since who is resumed may have to wait again at once. */
  private waitingNow(): readonly GateWaiter[] {
    return Array.from(this.waiting);
  }

  private startTrickle(): void {
    this.trickle ??= this.clock.every(trickleMs, () => this.letTrickle());
  }

  private letTrickle(): void {
    for (const waiter of this.waitingNow()) {
      if (this.room.hasRoom && waiter.holdsDeliveries) this.resume(waiter, trickleBytes);
    }
  }

  private resume(waiter: GateWaiter, allowanceBytes: number): void {
    this.waiting.delete(waiter);
    waiter.resumePublishing(allowanceBytes);
  }
}

/** For a broker that keeps everything in memory. */
export const unlimitedRoom: Room = { hasRoom: true, hasRoomFor: () => true };

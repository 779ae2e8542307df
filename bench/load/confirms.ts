import { nowUs } from "./clock.ts";
import { LatencySamples } from "./latency.ts";

/**
 * Which publishes of a channel are confirmed. Brokers may confirm out of order, singly or multiple (RabbitMQ does
 * all of that), so tags above the lowest open one are remembered in a ring.
 */
export class Confirms {
  confirmed = 0;
  sent = 0;
  private timed = false;
  private lowestOpen = 1;
  private readonly mask: number;
  private readonly settled: Uint8Array;
  private readonly dueUs: Float64Array;
  private readonly window: number;
  private readonly latency: LatencySamples;

  constructor(window: number, latency: LatencySamples) {
    this.window = window;
    this.latency = latency;
    const capacity = 2 ** Math.ceil(Math.log2(window * 16));
    this.mask = capacity - 1;
    this.settled = new Uint8Array(capacity);
    this.dueUs = new Float64Array(capacity);
  }

  /** How many may be published now. The ring bounds the distance from the lowest open tag as well. */
  get room(): number {
    const inWindow = this.window - (this.sent - this.confirmed);
    const inRing = this.mask - (this.sent - this.lowestOpen + 1);
    return Math.min(inWindow, inRing);
  }

  published(count: number): void {
    this.sent += count;
  }

  /** Publishes one message whose latency counts from `dueUs`. */
  publishedDue(dueUs: number): void {
    this.timed = true;
    this.sent += 1;
    this.dueUs[this.sent & this.mask] = dueUs;
  }

  settle(tag: number, multiple: boolean): void {
    const atUs = this.timed ? nowUs() : 0;
    for (let each = multiple ? this.lowestOpen : tag; each <= tag; each += 1) this.settleOne(each, atUs);
    while (this.lowestOpen <= this.sent && this.settled[this.lowestOpen & this.mask] === 1) {
      this.settled[this.lowestOpen & this.mask] = 0;
      this.lowestOpen += 1;
    }
  }

  private settleOne(tag: number, atUs: number): void {
    const slot = tag & this.mask;
    if (tag < this.lowestOpen || tag > this.sent)
      throw new Error(`confirm for tag ${tag}, which is not open`);
    if (this.settled[slot] === 1) return;
    this.settled[slot] = 1;
    this.confirmed += 1;
    if (this.timed) this.latency.add(atUs - this.dueUs[slot]);
  }
}

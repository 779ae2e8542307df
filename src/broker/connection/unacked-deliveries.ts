/**
 * Hot path: a delivery goes in, its acknowledgement takes it out. Benchmark: P1K, drain in bench/.
 *
 * The deliveries of a channel that wait for an acknowledgement, in the order of their tags. Tags are kept explicitly and
 * settled entries are squeezed out, so that one delivery that is never acknowledged costs its own few bytes, however
 * many others come and go behind it.
 */
import type { DeliveryHolder } from "./delivery-holder.ts";

const initialCapacity = 64;
const settled = -1;

export class UnackedDeliveries {
  private tags = new Float64Array(initialCapacity);
  private sequences = new Float64Array(initialCapacity);
  /** Pairs of message handle (`settled` when done with) and flags. */
  private entries = new Int32Array(initialCapacity * 2);
  private holders: (DeliveryHolder | null)[] = new Array<DeliveryHolder | null>(initialCapacity).fill(null);
  private start = 0;
  private end = 0;
  count = 0;

  push(tag: number, holder: DeliveryHolder, handle: number, flags: number, sequence: number): void {
    if (this.end === this.tags.length) this.makeRoom();
    const slot = this.end++;
    this.tags[slot] = tag;
    this.sequences[slot] = sequence;
    this.entries[slot * 2] = handle;
    this.entries[slot * 2 + 1] = flags;
    this.holders[slot] = holder;
    this.count++;
  }

  /** The lowest tag that waits; infinity when none does. */
  get firstTag(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : this.tags[this.start];
  }

  /** Takes out one delivery and gives it to `visit`; false when the tag is not waiting. */
  takeOne(tag: number, visit: DeliveryVisitor): boolean {
    const slot = this.find(tag);
    if (slot < 0) return false;
    this.take(slot, visit);
    this.skipSettled();
    return true;
  }

  has(tag: number): boolean {
    return this.find(tag) >= 0;
  }

  /** Takes out all deliveries up to `tag`, oldest first. */
  takeUpTo(tag: number, visit: DeliveryVisitor): void {
    while (this.start < this.end && this.tags[this.start] <= tag) {
      const slot = this.start++;
      if (this.entries[slot * 2] !== settled) this.take(slot, visit);
    }
    this.skipSettled();
  }

  private take(slot: number, visit: DeliveryVisitor): void {
    const holder = this.holders[slot]!;
    const handle = this.entries[slot * 2];
    this.entries[slot * 2] = settled;
    this.holders[slot] = null;
    this.count--;
    visit(holder, handle, this.entries[slot * 2 + 1], this.sequences[slot]);
  }

  private skipSettled(): void {
    while (this.start < this.end && this.entries[this.start * 2] === settled) this.start++;
    if (this.start === this.end) {
      this.start = 0;
      this.end = 0;
      if (this.tags.length > 0xffff) this.resize(initialCapacity);
    }
  }

  private find(tag: number): number {
    let low = this.start;
    let high = this.end - 1;
    // Most often tags follow each other without a gap, and the slot can be told from the first tag.
    const guess = low + (tag - this.tags[low]);
    if (guess >= low && guess <= high && this.tags[guess] === tag) low = high = guess;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const there = this.tags[middle];
      if (there === tag) return this.entries[middle * 2] === settled ? -1 : middle;
      if (there < tag) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  private makeRoom(): void {
    this.resize(this.count * 2 > this.tags.length ? this.tags.length * 2 : this.tags.length);
  }

  /** Moves the entries that still wait to the front of arrays of `capacity`. */
  private resize(capacity: number): void {
    const { tags, sequences, entries, holders, start, end } = this;
    const inPlace = capacity === tags.length;
    if (!inPlace) {
      this.tags = new Float64Array(capacity);
      this.sequences = new Float64Array(capacity);
      this.entries = new Int32Array(capacity * 2);
      this.holders = new Array<DeliveryHolder | null>(capacity).fill(null);
    }
    let to = 0;
    for (let slot = start; slot < end; slot++) {
      if (entries[slot * 2] === settled) continue;
      this.tags[to] = tags[slot]!;
      this.sequences[to] = sequences[slot]!;
      this.entries[to * 2] = entries[slot * 2]!;
      this.entries[to * 2 + 1] = entries[slot * 2 + 1]!;
      this.holders[to] = holders[slot]!;
      to++;
    }
    if (inPlace) this.holders.fill(null, to, end);
    this.start = 0;
    this.end = to;
  }
}

export type DeliveryVisitor = (
  holder: DeliveryHolder,
  handle: number,
  flags: number,
  sequence: number,
) => void;

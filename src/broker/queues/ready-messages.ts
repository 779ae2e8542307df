/**
 * Hot path: every message that is not handed over at once goes in and out here. Benchmark: P1K, publish-only, drain.
 *
 * The messages of a queue that wait for a consumer, in the order of their sequences: a ring for those that were never
 * delivered, and a heap for those that came back. What comes back was delivered before, so that it stands before all
 * that is still in the ring; the heap restores the original order among them.
 */
const initialCapacity = 64;

/**
 * An entry's flags: bit 0 says that it was delivered before; the next 14 bits are its rank, which is a priority or how often
 * it came back; two bits are for why it died, once it has; the bits from `positionShift` up are the queue's position among
 * the message's destinations.
 */
export const redelivered = 1;
export const rankShift = 1;
export const mostRank = 0x3fff;
export const deathShift = 15;
export const positionShift = 17;

export function rankOf(flags: number): number {
  return (flags >> rankShift) & mostRank;
}

/** The order in which a queue hands out its messages. */
export interface ReadyOrder {
  readonly count: number;
  /** The entry that {@link shift} took out; its time is 0 when it does not expire. */
  readonly handle: number;
  readonly flags: number;
  readonly sequence: number;
  readonly timeMs: number;
  push(handle: number, flags: number, sequence: number, timeMs: number): void;
  /** Takes a message back to the place that its sequence gives it. */
  putBack(handle: number, flags: number, sequence: number, timeMs: number): void;
  /** Takes the first message out. There must be one. */
  shift(): void;
  /** When the first message expires; 0 for never, or when there is none. */
  headTimeMs(): number;
  /** In no particular order. */
  forEach(visit: (handle: number, flags: number, sequence: number) => void): void;
}

export class ReadyMessages implements ReadyOrder {
  /** Pairs of message handle and flags. */
  private entries = new Int32Array(initialCapacity * 2);
  private sequences = new Float64Array(initialCapacity);
  /** Made when the first message comes that has a time. */
  private times: Float64Array | null = null;
  private mask = initialCapacity - 1;
  private head = 0;
  private ringCount = 0;
  private readonly returned = new ReturnedMessages();
  count = 0;
  handle = 0;
  flags = 0;
  sequence = 0;
  timeMs = 0;

  push(handle: number, flags: number, sequence: number, timeMs: number): void {
    if (this.ringCount > this.mask) this.resize((this.mask + 1) * 2);
    const slot = (this.head + this.ringCount) & this.mask;
    this.entries[slot * 2] = handle;
    this.entries[slot * 2 + 1] = flags;
    this.sequences[slot] = sequence;
    if (this.times !== null) this.times[slot] = timeMs;
    else if (timeMs !== 0) this.beginTimes(slot, timeMs);
    this.ringCount++;
    this.count++;
  }

  putBack(handle: number, flags: number, sequence: number, timeMs: number): void {
    this.returned.push(handle, flags, sequence, timeMs);
    this.count++;
  }

  shift(): void {
    this.count--;
    if (this.returned.count > 0) {
      const { returned } = this;
      returned.shift();
      this.handle = returned.handle;
      this.flags = returned.flags;
      this.sequence = returned.sequence;
      this.timeMs = returned.timeMs;
      return;
    }
    const slot = this.head;
    this.handle = this.entries[slot * 2]!;
    this.flags = this.entries[slot * 2 + 1]!;
    this.sequence = this.sequences[slot]!;
    this.timeMs = this.times === null ? 0 : this.times[slot];
    this.head = (slot + 1) & this.mask;
    this.ringCount--;
    if (this.ringCount === 0 && this.mask > 0xffff) this.resize(initialCapacity);
  }

  headTimeMs(): number {
    if (this.returned.count > 0) return this.returned.headTimeMs();
    return this.times === null || this.ringCount === 0 ? 0 : this.times[this.head];
  }

  forEach(visit: (handle: number, flags: number, sequence: number) => void): void {
    this.returned.forEach(visit);
    for (let index = 0; index < this.ringCount; index++) {
      const slot = (this.head + index) & this.mask;
      visit(this.entries[slot * 2], this.entries[slot * 2 + 1], this.sequences[slot]);
    }
  }

  private beginTimes(slot: number, timeMs: number): void {
    this.times = new Float64Array(this.sequences.length);
    this.times[slot] = timeMs;
  }

  private resize(capacity: number): void {
    const entries = new Int32Array(capacity * 2);
    const sequences = new Float64Array(capacity);
    // A queue that is empty again forgets that it had times.
    const times = this.times === null || this.ringCount === 0 ? null : new Float64Array(capacity);
    for (let index = 0; index < this.ringCount; index++) {
      const slot = (this.head + index) & this.mask;
      entries[index * 2] = this.entries[slot * 2]!;
      entries[index * 2 + 1] = this.entries[slot * 2 + 1]!;
      sequences[index] = this.sequences[slot]!;
      if (times !== null) times[index] = this.times![slot]!;
    }
    this.entries = entries;
    this.sequences = sequences;
    this.times = times;
    this.mask = capacity - 1;
    this.head = 0;
  }
}

/** A binary heap by sequence, in typed arrays: a consumer that dies may give back a million messages at once. */
class ReturnedMessages {
  private entries = new Int32Array(initialCapacity * 2);
  private sequences = new Float64Array(initialCapacity);
  private times = new Float64Array(initialCapacity);
  count = 0;
  handle = 0;
  flags = 0;
  sequence = 0;
  timeMs = 0;

  push(handle: number, flags: number, sequence: number, timeMs: number): void {
    if (this.count === this.sequences.length) this.resize(this.count * 2);
    let slot = this.count++;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (this.sequences[parent] < sequence) break;
      this.move(parent, slot);
      slot = parent;
    }
    this.place(slot, handle, flags, sequence, timeMs);
  }

  shift(): void {
    this.handle = this.entries[0]!;
    this.flags = this.entries[1]!;
    this.sequence = this.sequences[0]!;
    this.timeMs = this.times[0]!;
    const last = --this.count;
    if (last > 0) {
      this.sink(this.entries[last * 2], this.entries[last * 2 + 1], this.sequences[last], this.times[last]);
    } else if (this.sequences.length > 0xffff) {
      this.resize(initialCapacity);
    }
  }

  headTimeMs(): number {
    return this.times[0];
  }

  forEach(visit: (handle: number, flags: number, sequence: number) => void): void {
    for (let slot = 0; slot < this.count; slot++) {
      visit(this.entries[slot * 2], this.entries[slot * 2 + 1], this.sequences[slot]);
    }
  }

  private sink(handle: number, flags: number, sequence: number, timeMs: number): void {
    let slot = 0;
    for (;;) {
      let child = slot * 2 + 1;
      if (child >= this.count) break;
      if (child + 1 < this.count && this.sequences[child + 1] < this.sequences[child]) child++;
      if (this.sequences[child] > sequence) break;
      this.move(child, slot);
      slot = child;
    }
    this.place(slot, handle, flags, sequence, timeMs);
  }

  private move(from: number, to: number): void {
    this.place(
      to,
      this.entries[from * 2],
      this.entries[from * 2 + 1],
      this.sequences[from],
      this.times[from],
    );
  }

  private place(slot: number, handle: number, flags: number, sequence: number, timeMs: number): void {
    this.entries[slot * 2] = handle;
    this.entries[slot * 2 + 1] = flags;
    this.sequences[slot] = sequence;
    this.times[slot] = timeMs;
  }

  private resize(capacity: number): void {
    const entries = new Int32Array(capacity * 2);
    entries.set(this.entries.subarray(0, this.count * 2));
    const sequences = new Float64Array(capacity);
    sequences.set(this.sequences.subarray(0, this.count));
    const times = new Float64Array(capacity);
    times.set(this.times.subarray(0, this.count));
    this.entries = entries;
    this.sequences = sequences;
    this.times = times;
  }
}

/**
 * Hot path: every message that is not handed over at once goes in and out here. Benchmark: P1K, publish-only, drain.
 *
 * The messages of a queue that wait for a consumer, in the order of their sequences: a ring for those that were never
 * delivered, and a heap for those that came back. What comes back was delivered before, so that it stands before all
 * that is still in the ring; the heap restores the original order among them.
 */
const initialCapacity = 64;

/** Bits of an entry's flags; the bits from `positionShift` up are the queue's position among the message's destinations. */
export const redelivered = 1;
export const positionShift = 8;

export class ReadyMessages {
  /** Pairs of message handle and flags. */
  private entries = new Int32Array(initialCapacity * 2);
  private sequences = new Float64Array(initialCapacity);
  private mask = initialCapacity - 1;
  private head = 0;
  private ringCount = 0;
  private readonly returned = new ReturnedMessages();
  count = 0;

  /** The entry that {@link shift} took out. */
  handle = 0;
  flags = 0;
  sequence = 0;

  push(handle: number, flags: number, sequence: number): void {
    if (this.ringCount > this.mask) this.resize((this.mask + 1) * 2);
    const slot = (this.head + this.ringCount) & this.mask;
    this.entries[slot * 2] = handle;
    this.entries[slot * 2 + 1] = flags;
    this.sequences[slot] = sequence;
    this.ringCount++;
    this.count++;
  }

  /** Takes a message back to the place that its sequence gives it. */
  putBack(handle: number, flags: number, sequence: number): void {
    this.returned.push(handle, flags, sequence);
    this.count++;
  }

  /** Takes the first message out, into `handle`, `flags` and `sequence`. There must be one. */
  shift(): void {
    this.count--;
    if (this.returned.count > 0) {
      const { returned } = this;
      returned.shift();
      this.handle = returned.handle;
      this.flags = returned.flags;
      this.sequence = returned.sequence;
      return;
    }
    const slot = this.head;
    this.handle = this.entries[slot * 2]!;
    this.flags = this.entries[slot * 2 + 1]!;
    this.sequence = this.sequences[slot]!;
    this.head = (slot + 1) & this.mask;
    this.ringCount--;
    if (this.ringCount === 0 && this.mask > 0xffff) this.resize(initialCapacity);
  }

  /** In no particular order. */
  forEach(visit: (handle: number, flags: number, sequence: number) => void): void {
    this.returned.forEach(visit);
    for (let index = 0; index < this.ringCount; index++) {
      const slot = (this.head + index) & this.mask;
      visit(this.entries[slot * 2], this.entries[slot * 2 + 1], this.sequences[slot]);
    }
  }

  private resize(capacity: number): void {
    const entries = new Int32Array(capacity * 2);
    const sequences = new Float64Array(capacity);
    for (let index = 0; index < this.ringCount; index++) {
      const slot = (this.head + index) & this.mask;
      entries[index * 2] = this.entries[slot * 2]!;
      entries[index * 2 + 1] = this.entries[slot * 2 + 1]!;
      sequences[index] = this.sequences[slot]!;
    }
    this.entries = entries;
    this.sequences = sequences;
    this.mask = capacity - 1;
    this.head = 0;
  }
}

/** A binary heap by sequence, in typed arrays: a consumer that dies may give back a million messages at once. */
class ReturnedMessages {
  private entries = new Int32Array(initialCapacity * 2);
  private sequences = new Float64Array(initialCapacity);
  count = 0;
  handle = 0;
  flags = 0;
  sequence = 0;

  push(handle: number, flags: number, sequence: number): void {
    if (this.count === this.sequences.length) this.resize(this.count * 2);
    let slot = this.count++;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (this.sequences[parent] < sequence) break;
      this.move(parent, slot);
      slot = parent;
    }
    this.place(slot, handle, flags, sequence);
  }

  shift(): void {
    this.handle = this.entries[0]!;
    this.flags = this.entries[1]!;
    this.sequence = this.sequences[0]!;
    const last = --this.count;
    if (last > 0) {
      this.sink(this.entries[last * 2], this.entries[last * 2 + 1], this.sequences[last]);
    } else if (this.sequences.length > 0xffff) {
      this.resize(initialCapacity);
    }
  }

  forEach(visit: (handle: number, flags: number, sequence: number) => void): void {
    for (let slot = 0; slot < this.count; slot++) {
      visit(this.entries[slot * 2], this.entries[slot * 2 + 1], this.sequences[slot]);
    }
  }

  private sink(handle: number, flags: number, sequence: number): void {
    let slot = 0;
    for (;;) {
      let child = slot * 2 + 1;
      if (child >= this.count) break;
      if (child + 1 < this.count && this.sequences[child + 1] < this.sequences[child]) child++;
      if (this.sequences[child] > sequence) break;
      this.move(child, slot);
      slot = child;
    }
    this.place(slot, handle, flags, sequence);
  }

  private move(from: number, to: number): void {
    this.place(to, this.entries[from * 2], this.entries[from * 2 + 1], this.sequences[from]);
  }

  private place(slot: number, handle: number, flags: number, sequence: number): void {
    this.entries[slot * 2] = handle;
    this.entries[slot * 2 + 1] = flags;
    this.sequences[slot] = sequence;
  }

  private resize(capacity: number): void {
    const entries = new Int32Array(capacity * 2);
    entries.set(this.entries.subarray(0, this.count * 2));
    const sequences = new Float64Array(capacity);
    sequences.set(this.sequences.subarray(0, this.count));
    this.entries = entries;
    this.sequences = sequences;
  }
}

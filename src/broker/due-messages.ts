/** Hot path of delayed exchanges. Benchmark: delayed in bench/. */

type Visit<T> = (handle: number, position: number, timeMs: number, sequence: number, note: number) => T;

const initialCapacity = 64;

/** Messages by the time when they are due, then by their sequence: a binary heap in typed arrays, 28 bytes a message. */
export class DueMessages {
  private handles = new Int32Array(initialCapacity);
  private positions = new Int32Array(initialCapacity);
  private notes = new Int32Array(initialCapacity);
  private times = new Float64Array(initialCapacity);
  private sequences = new Float64Array(initialCapacity);
  count = 0;

  get firstHandle(): number {
    return this.handles[0];
  }

  get firstTimeMs(): number {
    return this.times[0];
  }

  get firstPosition(): number {
    return this.positions[0];
  }

  get firstNote(): number {
    return this.notes[0] >>> 0;
  }

  get firstSequence(): number {
    return this.sequences[0];
  }

  push(handle: number, position: number, timeMs: number, sequence: number, note: number): void {
    if (this.count === this.handles.length) this.resize(this.count * 2);
    let slot = this.count++;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (this.isBefore(parent, timeMs, sequence)) break;
      this.move(parent, slot);
      slot = parent;
    }
    this.place(slot, handle, position, timeMs, sequence, note);
  }

  /** Takes out the first; there must be one. */
  shift(): void {
    const last = --this.count;
    if (last > 0) this.sink(0, last);
    else if (this.handles.length > 0xffff) this.resize(initialCapacity);
  }

  forEach(visit: Visit<void>): void {
    for (let slot = 0; slot < this.count; slot++) this.visit(slot, visit);
  }

  removeIf(isUnwanted: Visit<boolean>): void {
    let kept = 0;
    for (let slot = 0; slot < this.count; slot++) {
      if (!this.visit(slot, isUnwanted)) this.move(slot, kept++);
    }
    this.count = kept;
    for (let slot = (kept >> 1) - 1; slot >= 0; slot--) this.sink(slot, slot);
  }

  private visit<T>(slot: number, visit: Visit<T>): T {
    return visit(
      this.handles[slot],
      this.positions[slot],
      this.times[slot],
      this.sequences[slot],
      this.notes[slot] >>> 0,
    );
  }

  /** Puts the entry that stands in `from` where it belongs at or below `slot`. */
  private sink(slot: number, from: number): void {
    const handle = this.handles[from];
    const position = this.positions[from];
    const timeMs = this.times[from];
    const sequence = this.sequences[from];
    const note = this.notes[from];
    let at = slot;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.count) break;
      if (child + 1 < this.count && this.isBefore(child + 1, this.times[child], this.sequences[child]))
        child++;
      if (!this.isBefore(child, timeMs, sequence)) break;
      this.move(child, at);
      at = child;
    }
    this.place(at, handle, position, timeMs, sequence, note);
  }

  private isBefore(slot: number, timeMs: number, sequence: number): boolean {
    const other = this.times[slot];
    return other < timeMs || (other === timeMs && this.sequences[slot] < sequence);
  }

  private move(from: number, to: number): void {
    this.place(
      to,
      this.handles[from],
      this.positions[from],
      this.times[from],
      this.sequences[from],
      this.notes[from],
    );
  }

  private place(
    slot: number,
    handle: number,
    position: number,
    timeMs: number,
    sequence: number,
    note: number,
  ): void {
    this.handles[slot] = handle;
    this.positions[slot] = position;
    this.times[slot] = timeMs;
    this.sequences[slot] = sequence;
    this.notes[slot] = note;
  }

  private resize(capacity: number): void {
    this.handles = grown(this.handles, new Int32Array(capacity), this.count);
    this.positions = grown(this.positions, new Int32Array(capacity), this.count);
    this.notes = grown(this.notes, new Int32Array(capacity), this.count);
    this.times = grown(this.times, new Float64Array(capacity), this.count);
    this.sequences = grown(this.sequences, new Float64Array(capacity), this.count);
  }
}

function grown<T extends Int32Array | Float64Array>(from: T, to: T, count: number): T {
  to.set(from.subarray(0, count));
  return to;
}

/**
 * Hot path: read and written for each stored message. Benchmark: P1K, drain in bench/.
 *
 * Handles and what they stand for, in one typed array, so that a backlog of a million messages is some megabytes and
 * nothing that the garbage collector has to visit.
 */
const stride = 3;
const initialCapacity = 1024;

export class MessageTable {
  /**
   * Per handle: slab, offset in the slab, references. A free handle holds -2 - the next free one as its slab, so that no
   * slab is mistaken for it.
   */
  private fields = new Int32Array(initialCapacity * stride);
  /** Handles from 0 up to this were given out once. */
  size = 0;
  private firstFree = -1;
  count = 0;

  add(slab: number, offset: number, references: number): number {
    let handle = this.firstFree;
    if (handle >= 0) {
      this.firstFree = -2 - this.fields[handle * stride];
    } else {
      handle = this.size++;
      if (handle * stride === this.fields.length) this.grow();
    }
    const at = handle * stride;
    this.fields[at] = slab;
    this.fields[at + 1] = offset;
    this.fields[at + 2] = references;
    this.count++;
    return handle;
  }

  /** Negative when the handle is free. */
  slab(handle: number): number {
    return this.fields[handle * stride];
  }

  offset(handle: number): number {
    return this.fields[handle * stride + 1];
  }

  /** The message has been copied. */
  move(handle: number, slab: number, offset: number): void {
    this.fields[handle * stride] = slab;
    this.fields[handle * stride + 1] = offset;
  }

  /** Takes one reference away; true when it was the last, and the handle free again. */
  release(handle: number): boolean {
    const at = handle * stride;
    if (--this.fields[at + 2] > 0) return false;
    this.fields[at] = -2 - this.firstFree;
    this.firstFree = handle;
    this.count--;
    if (this.count === 0) this.reset();
    return true;
  }

  /** An empty table forgets the order in which handles were freed, and the memory that a past backlog took. */
  private reset(): void {
    this.size = 0;
    this.firstFree = -1;
    if (this.fields.length > initialCapacity * stride * 64)
      this.fields = new Int32Array(initialCapacity * stride);
  }

  private grow(): void {
    const grown = new Int32Array(this.fields.length * 2);
    grown.set(this.fields);
    this.fields = grown;
  }

  get usedBytes(): number {
    return this.count * stride * 4;
  }
}

/**
 * Hot path: read and written for each durable message. Benchmark: P1K, drain in bench/.
 *
 * Where each message of the log stands and which queues still have it, in one typed array of 20 bytes a message: a
 * backlog of a million messages is 20 MB, with nothing for the garbage collector to visit.
 */
const stride = 5;
const initialCapacity = 1024;
/** Positions kept as bits in the table itself; a message with more queues has a bit set of its own. */
const inlinePositions = 31;

export interface TableContent {
  readonly fields: Int32Array;
  readonly freeList: number;
  readonly count: number;
  readonly manyPositions: Map<number, Uint8Array>;
}

export class RecordTable {
  /**
   * Per handle: segment's slot, offset of the stored message in the segment, bytes of the record, references, bits of the
   * positions whose queue is durable and not done with it (-1: see `manyPositions`). A free handle holds -2 - the next free
   * one as its slot, so that no slot is mistaken for it.
   */
  private fields = new Int32Array(initialCapacity * stride);
  private manyPositions = new Map<number, Uint8Array>();
  private firstFree = -1;
  /** Handles from 0 up to this were given out once. */
  size = 0;
  count = 0;

  /** All that the table holds, for {@link load}. The arrays are the table's own. */
  dump(): TableContent {
    const { firstFree: freeList, count, manyPositions } = this;
    return { fields: this.fields.subarray(0, this.size * stride), freeList, count, manyPositions };
  }

  static load({ fields, freeList, count, manyPositions }: TableContent): RecordTable {
    const table = new RecordTable();
    while (table.fields.length < fields.length) table.fields = new Int32Array(table.fields.length * 2);
    table.fields.set(fields);
    table.size = fields.length / stride;
    table.firstFree = freeList;
    table.count = count;
    table.manyPositions = manyPositions;
    return table;
  }

  /** Adds a message with `references` queues, of which none is durable until {@link setLive} says so. */
  add(slot: number, offset: number, bytes: number, references: number): number {
    let handle = this.firstFree;
    if (handle >= 0) {
      this.firstFree = -2 - this.fields[handle * stride];
    } else {
      handle = this.size++;
      if (handle * stride === this.fields.length) this.grow();
    }
    const at = handle * stride;
    const { fields } = this;
    fields[at] = slot;
    fields[at + 1] = offset;
    fields[at + 2] = bytes;
    fields[at + 3] = references;
    fields[at + 4] = 0;
    this.count++;
    return handle;
  }

  /** Negative when the handle is free. */
  slot(handle: number): number {
    return this.fields[handle * stride];
  }

  offset(handle: number): number {
    return this.fields[handle * stride + 1];
  }

  recordBytes(handle: number): number {
    return this.fields[handle * stride + 2];
  }

  /** The record has been copied. */
  move(handle: number, slot: number, offset: number): void {
    const at = handle * stride;
    this.fields[at] = slot;
    this.fields[at + 1] = offset;
  }

  /** A durable queue has the message. `positions` is how many queues the message's record names. */
  setLive(handle: number, position: number, positions: number): void {
    const at = handle * stride + 4;
    if (positions <= inlinePositions) {
      this.fields[at] |= 1 << position;
      return;
    }
    this.fields[at] = -1;
    const bits = this.manyPositions.get(handle) ?? new Uint8Array((positions + 7) >> 3);
    bits[position >> 3] |= 1 << (position & 7);
    this.manyPositions.set(handle, bits);
  }

  isLive(handle: number, position: number): boolean {
    const bits = this.fields[handle * stride + 4];
    if (bits !== -1) return position < inlinePositions && (bits & (1 << position)) !== 0;
    return (this.manyPositions.get(handle)![position >> 3] & (1 << (position & 7))) !== 0;
  }

  clearLive(handle: number, position: number): void {
    const at = handle * stride + 4;
    if (this.fields[at] !== -1) this.fields[at] &= ~(1 << position);
    else this.manyPositions.get(handle)![position >> 3] &= ~(1 << (position & 7));
  }

  /** Takes one reference away; true when it was the last. Then call {@link free}. */
  release(handle: number): boolean {
    return --this.fields[handle * stride + 3] === 0;
  }

  free(handle: number): void {
    const at = handle * stride;
    if (this.fields[at + 4] === -1) this.manyPositions.delete(handle);
    this.fields[at] = -2 - this.firstFree;
    this.firstFree = handle;
    this.count--;
    if (this.count === 0) this.reset();
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

/**
 * Hot path: appends and finds every message that is not handed over at once. Benchmark: P1K, publish-only, drain in bench/.
 *
 * Messages live in slabs: large buffers filled one after the other and used again when their last message is settled.
 * When only a little of several is still needed, that is copied together, so that an old message does not pin a slab. A message larger than a slab's quarter has a buffer of its own, which is never used again, so that it may be sent
 * without a copy.
 */
import type { EventLoopTurn } from "../../base/index.ts";
import { MessageTable } from "./message-table.ts";
import type { CommitWaiter, Destination, MessageHandle, MessageStore, StoreUsage } from "./message-store.ts";
import {
  readStored,
  storedBytes,
  storedBytesAt,
  storedHeaderBytes,
  writeStored,
  writeStoredHeader,
  type MessageView,
} from "./message-view.ts";

const slabBytes = 4 << 20;
const ownSlabBytes = slabBytes >> 2;
/** Empty slabs kept for reuse; further ones go back to the system. */
const spareSlabs = 8;
/** A slab with less that is still needed is worth emptying, once there are so many of them. */
const sparseBytes = slabBytes >> 1;
const sparseSlabs = 8;

interface Slab {
  bytes: Uint8Array;
  view: DataView;
  /** Messages in it; the slab that is being filled counts one more, so that it is not recycled meanwhile. */
  live: number;
  /** Bytes of those messages. */
  liveBytes: number;
  owned: boolean;
}

export class MemoryStore implements MessageStore {
  private readonly table = new MessageTable();
  private readonly slabs: Slab[] = [];
  private readonly freeIndexes: number[] = [];
  private readonly spare: Slab[] = [];
  private readonly turn: EventLoopTurn;
  private readonly waiters: CommitWaiter[] = [];
  private current = -1;
  private currentEnd = slabBytes;
  /** Of all messages. Slabs are at least half full of them, but for a few. */
  private liveBytes = 0;

  constructor(turn: EventLoopTurn) {
    this.turn = turn;
  }

  append(
    message: MessageView,
    _persistent: boolean,
    _destinations: readonly Destination[],
    count: number,
  ): MessageHandle {
    const size = storedBytes(message);
    let index: number;
    let at: number;
    if (size > ownSlabBytes && message.owned) return this.adopt(message, count);
    if (size > ownSlabBytes) {
      index = this.addSlab(new Uint8Array(size), true);
      at = 0;
    } else {
      if (this.currentEnd + size > slabBytes) this.startSlab();
      index = this.current;
      at = this.currentEnd;
      // Word-aligned, as the copy below reads and writes words.
      this.currentEnd = (at + size + 3) & ~3;
    }
    const slab = this.slabs[index];
    slab.live++;
    slab.liveBytes += size;
    this.liveBytes += size;
    writeStored(slab.bytes, slab.view, at, message);
    return this.table.add(index, at, count);
  }

  locate(handle: MessageHandle, into: MessageView): void {
    const slab = this.slabs[this.table.slab(handle)];
    readStored(slab.bytes, slab.view, this.table.offset(handle), into);
    into.owned = slab.owned;
  }

  settle(handle: MessageHandle): void {
    this.drop(handle);
  }

  returned(): void {}

  drop(handle: MessageHandle): void {
    const { table } = this;
    const index = table.slab(handle);
    const at = table.offset(handle);
    if (!table.release(handle)) return;
    const size = storedBytesAt(this.slabs[index].view, at);
    this.slabs[index].liveBytes -= size;
    this.liveBytes -= size;
    this.leaveSlab(index);
  }

  /** Memory is as safe as it gets: the commit is the end of this turn, when confirms gather into one frame anyway. */
  awaitCommit(waiter: CommitWaiter): void {
    if (this.waiters.length === 0) this.turn.beforeFlush(this);
    this.waiters.push(waiter);
  }

  endOfTurn(): void {
    for (const waiter of this.waiters) {
      waiter.beforeCommit();
      waiter.committed();
    }
    this.waiters.length = 0;
  }

  usage(): StoreUsage {
    return { messages: this.table.count, memoryBytes: this.liveBytes + this.table.usedBytes };
  }

  /** Takes over the buffer into which a large message was assembled. */
  private adopt(message: MessageView, count: number): MessageHandle {
    const at = message.routeAt - storedHeaderBytes;
    writeStoredHeader(message.view, at, message);
    const index = this.addSlab(message.bytes, true);
    this.slabs[index].live++;
    this.slabs[index].liveBytes += storedBytes(message);
    this.liveBytes += storedBytes(message);
    return this.table.add(index, at, count);
  }

  private startSlab(): void {
    const filled = this.current;
    const reused = this.spare.pop();
    this.current = reused ? this.placeSlab(reused) : this.addSlab(new Uint8Array(slabBytes), false);
    this.slabs[this.current].live = 1;
    this.currentEnd = 0;
    if (filled >= 0) this.leaveSlab(filled);
    this.evacuate();
  }

  /** Copies what is still needed of sparse slabs to the slab that is being filled: it all fits into a few. */
  private evacuate(): void {
    const { table, slabs } = this;
    const isSparse = slabs.map(
      ({ owned, live, liveBytes }, index) =>
        !owned && live > 0 && liveBytes < sparseBytes && index !== this.current,
    );
    if (isSparse.filter(Boolean).length < sparseSlabs) return;
    for (let handle = 0; handle < table.size; handle++) {
      const from = table.slab(handle);
      if (from < 0 || !isSparse[from]) continue;
      const { bytes, view } = slabs[from];
      const at = table.offset(handle);
      const size = storedBytesAt(view, at);
      if (this.currentEnd + size > slabBytes) return;
      const slab = slabs[this.current];
      slab.bytes.set(bytes.subarray(at, at + size), this.currentEnd);
      slab.live++;
      slab.liveBytes += size;
      table.move(handle, this.current, this.currentEnd);
      this.currentEnd = (this.currentEnd + size + 3) & ~3;
      slabs[from].liveBytes -= size;
      this.leaveSlab(from);
    }
  }

  private addSlab(bytes: Uint8Array, owned: boolean): number {
    return this.placeSlab({ bytes, view: new DataView(bytes.buffer), live: 0, liveBytes: 0, owned });
  }

  private placeSlab(slab: Slab): number {
    const index = this.freeIndexes.pop() ?? this.slabs.length;
    this.slabs[index] = slab;
    return index;
  }

  private leaveSlab(index: number): void {
    const slab = this.slabs[index];
    if (--slab.live > 0) return;
    this.slabs[index] = emptySlab;
    this.freeIndexes.push(index);
    if (!slab.owned && this.spare.length < spareSlabs) this.spare.push(slab);
  }
}

const emptySlab: Slab = {
  bytes: new Uint8Array(0),
  view: new DataView(new ArrayBuffer(0)),
  live: 0,
  liveBytes: 0,
  owned: false,
};

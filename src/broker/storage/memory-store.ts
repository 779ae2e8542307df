/**
 * Hot path: appends and finds every message that is not handed over at once. Benchmark: P1K, publish-only, drain in bench/.
 *
 * Messages live in slabs: large buffers filled one after the other and used again when their last message is settled.
 * A message larger than a slab's quarter has a buffer of its own, which is never used again, so that it may be sent
 * without a copy.
 */
import type { EventLoopTurn } from "../../base/index.ts";
import { copyBytes } from "../../wire/index.ts";
import { MessageTable } from "./message-table.ts";
import type { CommitWaiter, Destination, MessageHandle, MessageStore } from "./message-store.ts";
import { storedHeaderBytes, type MessageView } from "./message-view.ts";

const slabBytes = 4 << 20;
const ownSlabBytes = slabBytes >> 2;
/** Empty slabs kept for reuse; further ones go back to the system. */
const spareSlabs = 8;

interface Slab {
  bytes: Uint8Array;
  view: DataView;
  /** Messages in it; the slab that is being filled counts one more, so that it is not recycled meanwhile. */
  live: number;
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
  private queueIds = 0;
  private slabMemory = 0;

  constructor(turn: EventLoopTurn) {
    this.turn = turn;
  }

  nextQueueId(): number {
    return ++this.queueIds;
  }

  append(
    message: MessageView,
    _persistent: boolean,
    _destinations: readonly Destination[],
    count: number,
  ): MessageHandle {
    const { routeLength, propertiesLength, bodyLength } = message;
    const size = storedHeaderBytes + routeLength + propertiesLength + bodyLength;
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
    const { bytes, view } = slab;
    writeHeader(view, at, message);
    let to = at + storedHeaderBytes;
    copyBytes(bytes, view, to, message.bytes, message.view, message.routeAt, routeLength);
    to += routeLength;
    copyBytes(bytes, view, to, message.bytes, message.view, message.propertiesAt, propertiesLength);
    to += propertiesLength;
    copyBytes(bytes, view, to, message.bytes, message.view, message.bodyAt, bodyLength);
    return this.table.add(index, at, count);
  }

  locate(handle: MessageHandle, into: MessageView): void {
    const slab = this.slabs[this.table.slab(handle)];
    const at = this.table.offset(handle);
    const view = slab.view;
    into.bytes = slab.bytes;
    into.view = view;
    into.owned = slab.owned;
    into.routeAt = at + storedHeaderBytes;
    into.routeLength = view.getInt32(at, true);
    into.propertiesAt = into.routeAt + into.routeLength;
    into.propertiesLength = view.getInt32(at + 4, true);
    into.bodyAt = into.propertiesAt + into.propertiesLength;
    into.bodyLength = view.getInt32(at + 8, true);
  }

  settle(handle: MessageHandle, _destination: Destination, _sequence: number): void {
    this.drop(handle);
  }

  drop(handle: MessageHandle): void {
    const index = this.table.slab(handle);
    if (this.table.release(handle)) this.leaveSlab(index);
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

  usage(): { messages: number; memoryBytes: number } {
    return { messages: this.table.count, memoryBytes: this.slabMemory + this.table.memoryBytes };
  }

  /** Takes over the buffer into which a large message was assembled. */
  private adopt(message: MessageView, count: number): MessageHandle {
    const at = message.routeAt - storedHeaderBytes;
    writeHeader(message.view, at, message);
    const index = this.addSlab(message.bytes, true);
    this.slabs[index].live++;
    return this.table.add(index, at, count);
  }

  private startSlab(): void {
    const filled = this.current;
    const reused = this.spare.pop();
    this.current = reused ? this.placeSlab(reused) : this.addSlab(new Uint8Array(slabBytes), false);
    this.slabs[this.current].live = 1;
    this.currentEnd = 0;
    if (filled >= 0) this.leaveSlab(filled);
  }

  private addSlab(bytes: Uint8Array, owned: boolean): number {
    this.slabMemory += bytes.length;
    return this.placeSlab({ bytes, view: new DataView(bytes.buffer), live: 0, owned });
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
    else this.slabMemory -= slab.bytes.length;
  }
}

function writeHeader(view: DataView, at: number, message: MessageView): void {
  view.setInt32(at, message.routeLength, true);
  view.setInt32(at + 4, message.propertiesLength, true);
  view.setInt32(at + 8, message.bodyLength, true);
}

const emptySlab: Slab = {
  bytes: new Uint8Array(0),
  view: new DataView(new ArrayBuffer(0)),
  live: 0,
  owned: false,
};

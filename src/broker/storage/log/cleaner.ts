import type { EndOfTurn, EventLoopTurn } from "../../../base/index.ts";
import type { LogStore } from "./log-store.ts";
import type { Segment } from "./segment.ts";

/** A log of fewer segments is not worth cleaning. */
const leastSegments = 4;
/** Records looked at in one turn of the event loop. */
const lookedAtPerTurn = 1 << 16;

/**
 * Copies what is still needed of the oldest segment to the end of the log, so that the segment can be used again: one
 * message that is never acknowledged must not pin the disk. It works when more than half of the log is garbage, or any
 * segment's worth of it when the disk is full. INVARIANTS 1, 2, 6.
 */
export class Cleaner implements EndOfTurn {
  private readonly store: LogStore;
  private readonly turn: EventLoopTurn;
  private cleaning: Promise<void> | undefined;
  private nextTurn: (() => void) | undefined;
  private stopped = false;
  private readonly stopping = Promise.withResolvers<void>();

  constructor(store: LogStore, turn: EventLoopTurn) {
    this.store = store;
    this.turn = turn;
  }

  /** Starts to clean if it is worth while. Call it after each commit. */
  consider(): void {
    const oldest = this.store.log.segments[0];
    if (this.cleaning || this.stopped || !oldest || !this.isWorthwhile(oldest)) return;
    this.cleaning = this.clean(oldest)
      .catch((error: unknown) => this.store.log.fail(error as Error))
      .finally(() => (this.cleaning = undefined));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.stopping.resolve();
    this.endOfTurn();
    await this.cleaning;
  }

  endOfTurn(): void {
    this.nextTurn?.();
  }

  private isWorthwhile(oldest: Segment): boolean {
    const { log } = this.store;
    // The segment goes by itself when nothing in it is needed.
    if (oldest.live === 0 || oldest === log.writer.segment || log.freeSegments === 0) return false;
    let live = 0;
    for (const { liveBytes } of log.segments) live += liveBytes;
    const used = log.segments.length * log.geometry.segmentBytes;
    if (log.isFull) return used - live > 2 * log.geometry.segmentBytes;
    return log.segments.length >= leastSegments && live * 2 < used;
  }

  private async clean(segment: Segment): Promise<void> {
    const { table, log } = this.store;
    // 1 MiB in a turn of the event loop; 8 MiB that have yet to reach the disk.
    const copiedPerTurn = log.geometry.segmentBytes >> 4;
    const mostPendingBytes = log.geometry.segmentBytes >> 1;
    const records = await this.recordsOf(segment);
    // In the order of the log, so that each chunk is read once and a queue's messages stay together.
    records.sort((a, b) => table.offset(a) - table.offset(b));
    let copied = 0;
    for (const record of records) {
      if (copied > copiedPerTurn) {
        copied = 0;
        if (log.writer.pendingBytes > mostPendingBytes) await log.flush();
        else await this.turnOver();
      }
      if (this.stopped) return;
      // Settled meanwhile: the oldest segment gets no new records, so that the slot tells while it is this segment's.
      if (log.bySlot[segment.slot] !== segment) return;
      if (table.slot(record) !== segment.slot) continue;
      if (!(await this.hasRoomFor(table.recordBytes(record)))) return;
      if (table.slot(record) !== segment.slot) continue;
      this.store.move(record);
      log.hasCopied();
      copied += table.recordBytes(record);
    }
    log.commitSoon();
  }

  /** Waits for free segments, of which a long message may need many; false when the disk is too full for it. */
  private async hasRoomFor(recordBytes: number): Promise<boolean> {
    const { log } = this.store;
    const isLong = recordBytes > log.geometry.mostRecordBytes;
    while (isLong ? !log.hasRoomToCopy(recordBytes) : log.freeSegments === 0) {
      if (log.cannotGrow || this.stopped) {
        log.hasCopied();
        return false;
      }
      await Promise.race([log.roomChange(), this.stopping.promise]);
    }
    return !this.stopped;
  }

  private async recordsOf(segment: Segment): Promise<number[]> {
    const { table } = this.store;
    const records: number[] = [];
    for (let record = 0; record < table.size && records.length < segment.live; record++) {
      if (table.slot(record) === segment.slot) records.push(record);
      if (record % lookedAtPerTurn === lookedAtPerTurn - 1) await this.turnOver();
      if (this.stopped) break;
    }
    return records;
  }

  private async turnOver(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.nextTurn = resolve;
      this.turn.afterFlush(this);
    });
  }
}

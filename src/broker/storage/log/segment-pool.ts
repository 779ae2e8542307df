import type { Clock } from "../../../base/index.ts";
import { isWantOfRoom, writeFully, type Disk, type DiskFile } from "../disk.ts";
import { encodeFileHeader, fileHeaderBytes } from "./format.ts";
import type { Geometry } from "./geometry.ts";

/** A segment file that is not part of the log: pre-zeroed, or with old batches that no reader will take for ours. */
export interface FreeFile {
  readonly slot: number;
  readonly file: DiskFile;
}

/** Segments that publishing leaves for the cleaner and for settles, so that a full disk can still be drained. */
export const reservedSegments = 2;
/** Made ahead beside the reserve. */
const aheadSegments = 2;
/** More free files than this are removed. */
const mostFree = 8;
const retryMs = 500;
const zeroes = new Uint8Array(1 << 20);

export interface PoolOwner {
  /** There are more or fewer free files than before, or the disk became full or is no longer. */
  poolChanged(): void;
  /** A file cannot be made, and not for want of room. */
  poolFailed(error: unknown): void;
}

/**
 * Free segment files. They are used again rather than removed and created: creating files makes fdatasync wait for the
 * file system's journal, which costs 2.9× (HOT-PATH.md). New ones are filled with zeroes first, for the same reason.
 */
export class SegmentPool {
  /** The last attempt to make a file failed because the disk is full. */
  isFull = false;
  /** The disk is short of space: what is not needed soon is removed. */
  private short = false;
  private readonly disk: Disk;
  private readonly geometry: Geometry;
  private readonly nonce: bigint;
  private readonly clock: Clock;
  private readonly owner: PoolOwner;
  private readonly free: FreeFile[] = [];
  private readonly usedSlots = new Set<number>();
  private wanted = reservedSegments + aheadSegments;
  private extending: Promise<void> | undefined;
  private readonly removing = new Set<Promise<void>>();
  private closed = false;

  constructor(disk: Disk, geometry: Geometry, nonce: bigint, clock: Clock, owner: PoolOwner) {
    this.disk = disk;
    this.geometry = geometry;
    this.nonce = nonce;
    this.clock = clock;
    this.owner = owner;
  }

  get count(): number {
    return this.free.length;
  }

  /** A file that exists: it holds a segment of the log, or is free. */
  adopt(slot: number): void {
    this.usedSlots.add(slot);
  }

  take(): FreeFile | undefined {
    const taken = this.free.shift();
    this.extend();
    return taken;
  }

  /** A file leaves the log. */
  give(slot: number, file: DiskFile): void {
    this.free.push({ slot, file });
    this.trim();
  }

  set isShort(isShort: boolean) {
    this.short = isShort;
    this.trim();
  }

  private trim(): void {
    const most = Math.max(this.short ? 0 : mostFree, this.wanted);
    while (this.free.length > most) {
      const { slot, file } = this.free.pop()!;
      this.remove(slot, file);
    }
  }

  /** Sees to it that so many files are free beside the reserve, soon. */
  want(count: number): void {
    this.wanted = Math.max(this.wanted, reservedSegments + count);
    this.extend();
  }

  /** Starts to make files until as many are free as wanted. */
  extend(): void {
    if (this.extending || this.closed || this.free.length >= this.wanted) return;
    this.extending = this.makeWanted().finally(() => {
      this.extending = undefined;
      if (!this.isFull) this.extend();
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.extending;
    await Promise.all(this.removing);
    await Promise.all(this.free.map(({ file }) => file.close()));
  }

  private async makeWanted(): Promise<void> {
    try {
      while (!this.closed && this.free.length < this.wanted) {
        this.free.push(await this.make());
        this.isFull = false;
        this.owner.poolChanged();
      }
      // Whoever has wanted more has been told that it is there, and took it.
      this.wanted = reservedSegments + aheadSegments;
    } catch (error) {
      if (!isWantOfRoom(error)) {
        // Trying again would fail again, at once.
        this.closed = true;
        return this.owner.poolFailed(error);
      }
      this.isFull = true;
      this.owner.poolChanged();
      this.clock.after(retryMs, () => this.extend());
    }
  }

  private async make(): Promise<FreeFile> {
    let slot = 1;
    while (this.usedSlots.has(slot)) slot++;
    this.usedSlots.add(slot);
    const name = segmentName(slot);
    let file: DiskFile | undefined;
    try {
      file = await this.disk.open(name);
      const { segmentBytes } = this.geometry;
      for (let at = fileHeaderBytes; at < segmentBytes; at += zeroes.length) {
        await writeFully(file, zeroes.subarray(0, Math.min(zeroes.length, segmentBytes - at)), at);
      }
      await file.sync();
      // Last, so that a file with a header is a whole one.
      await writeFully(file, encodeFileHeader(this.nonce, this.geometry), 0);
      await file.sync();
      await this.disk.sync();
      return { slot, file };
    } catch (error) {
      this.usedSlots.delete(slot);
      await file?.close();
      await this.disk.remove(name).catch(() => {});
      throw error;
    }
  }

  private remove(slot: number, file: DiskFile): void {
    const removing = (async () => {
      await file.close();
      await this.disk.remove(file.name);
      this.usedSlots.delete(slot);
    })().catch((error: unknown) => this.owner.poolFailed(error));
    this.removing.add(removing);
    void removing.finally(() => this.removing.delete(removing));
  }
}

const segmentNames = /^segment-(\d{5,})\.log$/;

export function segmentName(slot: number): string {
  return `segment-${String(slot).padStart(5, "0")}.log`;
}

/** The slot that a file name stands for, if it is one of a segment. */
export function slotOf(name: string): number | undefined {
  const match = segmentNames.exec(name);
  return match ? Number(match[1]) : undefined;
}

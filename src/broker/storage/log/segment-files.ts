import type { Disk, DiskFile } from "../disk.ts";
import { CorruptionError, StorageError } from "../storage-error.ts";
import {
  batchHeaderBytes,
  decodeBatch,
  decodeFileHeader,
  fileHeaderBytes,
  formatVersion,
  type BatchHeader,
} from "./format.ts";
import { defaultGeometry, geometry, type Geometry } from "./geometry.ts";
import type { FreeFile } from "./segment-pool.ts";
import { segmentName, slotOf } from "./segment-pool.ts";

export interface SegmentFile extends FreeFile {
  /** Its place in the log: that of its first batch or, if that cannot be read, of its newest. */
  readonly generation: number;
}

export interface FoundBatch {
  readonly header: BatchHeader;
  /** In the file. */
  readonly offset: number;
  /** The chunk that it stands in, and where its records are there. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
}

/** The segment files of a data directory, before it is known what of them is part of the log. */
export class SegmentFiles {
  readonly disk: Disk;
  readonly nonce: bigint;
  geometry: Geometry = defaultGeometry;
  /** With batches; in the order of their generations. */
  used: SegmentFile[] = [];
  /** Made and never used. */
  readonly blank: FreeFile[] = [];
  /** Names of those whose making a crash has interrupted. */
  readonly unfinished: string[] = [];
  private readonly opened: DiskFile[] = [];
  private hasGeometry = false;

  private constructor(disk: Disk, nonce: bigint) {
    this.disk = disk;
    this.nonce = nonce;
  }

  /**
   * Opens them all.
   * @throws CorruptionError, StorageError for a file that is not a segment of this data directory and version.
   */
  static async open(disk: Disk, nonce: bigint): Promise<SegmentFiles> {
    const files = new SegmentFiles(disk, nonce);
    const slots = (await disk.list()).map(slotOf).filter((slot) => slot !== undefined);
    try {
      for (const slot of slots.toSorted((a, b) => a - b)) await files.add(slot);
    } catch (error) {
      await files.close();
      throw error;
    }
    files.used.sort((a, b) => a.generation - b.generation);
    return files;
  }

  private async add(slot: number): Promise<void> {
    const file = await this.disk.open(segmentName(slot));
    this.opened.push(file);
    if (!(await this.readHeader(file))) {
      await file.close();
      this.unfinished.push(file.name);
      return;
    }
    const generation = await this.findGeneration(file);
    if (generation === 0) this.blank.push({ slot, file });
    else this.used.push({ slot, file, generation });
  }

  /** False when there is none: a file gets it last of all. */
  private async readHeader(file: DiskFile): Promise<boolean> {
    const bytes = new Uint8Array(fileHeaderBytes);
    const count = await file.read(bytes, 0);
    const header = decodeFileHeader(bytes.subarray(0, count));
    if (header === "blank") return false;
    const { path } = this.disk;
    if (header === "damaged") {
      // The header itself was being written at the crash: all behind it is as it was made.
      if (await isZeroFrom(file, fileHeaderBytes)) return false;
      throw new CorruptionError(path, file.name, 0, "this is not the start of a segment");
    }
    if (header.version !== formatVersion) {
      throw new StorageError(
        `${path}/${file.name} has format version ${header.version}; this Warren reads version ${formatVersion}. ` +
          "Use the Warren that wrote it, or a newer one.",
      );
    }
    if (header.nonce !== this.nonce) {
      throw new CorruptionError(path, file.name, 16, "this segment is another data directory's");
    }
    if (!this.hasGeometry) this.geometry = geometry(header.segmentBytes, header.chunkBytes);
    this.hasGeometry = true;
    if (
      header.segmentBytes !== this.geometry.segmentBytes ||
      header.chunkBytes !== this.geometry.chunkBytes
    ) {
      throw new CorruptionError(path, file.name, 8, "its size is not that of the other segments");
    }
    return true;
  }

  private async findGeneration(file: DiskFile): Promise<number> {
    const chunk = await this.readChunk(file, 0);
    const first = decodeBatch(chunk.bytes, chunk.view, fileHeaderBytes, this.nonce);
    if (first) return first.generation;
    let generation = 0;
    for await (const { header } of this.search(file)) generation = Math.max(generation, header.generation);
    return generation;
  }

  /** All whole batches of ours in the file, of whatever generation, wherever they stand. */
  async *search(file: DiskFile): AsyncGenerator<FoundBatch> {
    const { segmentBytes, chunkBytes } = this.geometry;
    for (let index = 0; index * chunkBytes < segmentBytes; index++) {
      const { bytes, view } = await this.readChunk(file, index);
      for (let at = 0; at + batchHeaderBytes <= chunkBytes; at += 4) {
        const header = decodeBatch(bytes, view, at, this.nonce);
        if (!header) continue;
        const start = at + batchHeaderBytes;
        const end = start + header.payloadBytes;
        yield { header, offset: index * chunkBytes + at, bytes, view, start, end };
        at = ((end + 3) & ~3) - 4;
      }
    }
  }

  /** A file that was cut short reads as zeroes behind its end. */
  async readChunk(file: DiskFile, index: number): Promise<{ bytes: Uint8Array; view: DataView }> {
    const { chunkBytes } = this.geometry;
    const bytes = new Uint8Array(chunkBytes);
    await file.read(bytes, index * chunkBytes);
    return { bytes, view: new DataView(bytes.buffer) };
  }

  async close(): Promise<void> {
    await Promise.all(this.opened.map((file) => file.close()));
  }
}

async function isZeroFrom(file: DiskFile, position: number): Promise<boolean> {
  const bytes = new Uint8Array(64 << 10);
  for (let at = position; ; at += bytes.length) {
    const count = await file.read(bytes, at);
    if (bytes.subarray(0, count).some((octet) => octet !== 0)) return false;
    if (count < bytes.length) return true;
  }
}

import type { DiskFile } from "../disk.ts";
import { CorruptionError } from "../storage-error.ts";
import {
  batchHeaderBytes,
  decodeBatch,
  fileHeaderBytes,
  looksLikeBatch,
  type BatchHeader,
} from "./format.ts";
import { Segment } from "./segment.ts";
import type { SegmentFile, SegmentFiles } from "./segment-files.ts";
import type { FreeFile } from "./segment-pool.ts";

/** A batch of a commit that is whole. */
export interface ReadBatch {
  readonly segment: Segment;
  /** Where `bytes` stands in the segment. */
  readonly chunkOffset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The records: `bytes[start, end)`. */
  readonly start: number;
  readonly end: number;
}

export interface ReadLog {
  /** In the order of the log. */
  readonly segments: Segment[];
  /** Files that hold nothing of the log. */
  readonly free: FreeFile[];
  readonly lastCommit: number;
  readonly logStart: number;
  /** The most definitions that a batch says were durable before it. */
  readonly definitions: number;
  /** What a crash left of a commit that was being written, and that nobody was told of. To be cut before writing on. */
  readonly torn: readonly LogPiece[];
  /** The batches of the last commit. */
  readonly last: readonly LogPiece[];
}

export interface LogPiece {
  readonly file: DiskFile;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Reads the log from its start and hands over the batches of whole commits in order. It ends where the next commit is not
 * whole. If something of a still later commit stands behind that, it is not the trace of a crash but damage, since a commit
 * begins only when the one before is durable (INVARIANTS 4).
 *
 * @throws CorruptionError that names the file and the byte.
 */
export async function readLog(files: SegmentFiles, visit: (batch: ReadBatch) => void): Promise<ReadLog> {
  const logStart = await findLogStart(files);
  const inLog = files.used.filter(({ generation }) => generation >= logStart);
  const stale = files.used.filter(({ generation }) => generation < logStart);
  if (inLog.length > 0 && logStart > 0 && inLog[0].generation !== logStart) {
    const { file, generation } = inLog[0];
    const what = `this is segment ${generation} of the log, which starts with segment ${logStart}; that one is missing`;
    throw new CorruptionError(files.disk.path, file.name, 0, what);
  }
  const reader = new LogReader(files, visit, logStart);
  for (const file of inLog) await reader.readSegment(file, file === inLog[0]);
  const torn = await reader.findTorn(inLog);
  const { segments, lastCommit, definitions, last } = reader;
  const read = new Set(segments.map(({ slot }) => slot));
  const unused = inLog.filter(({ slot }) => !read.has(slot));
  return {
    segments,
    free: [...files.blank, ...stale, ...unused],
    lastCommit,
    logStart,
    definitions,
    torn,
    last,
  };
}

/** The newest batches say where the log starts. */
async function findLogStart(files: SegmentFiles): Promise<number> {
  let logStart = 0;
  const newest = files.used.at(-1);
  if (!newest) return logStart;
  for await (const { header } of files.search(newest.file)) {
    if (header.generation === newest.generation) logStart = Math.max(logStart, header.logStart);
  }
  return logStart;
}

class LogReader {
  readonly segments: Segment[] = [];
  lastCommit = 0;
  definitions = 0;
  last: readonly LogPiece[] = [];
  private readonly files: SegmentFiles;
  private readonly visit: (batch: ReadBatch) => void;
  /** The commit that is being read, or comes next, and the part that is due. -1 before a first batch that may be any. */
  private commit: number;
  private part = 0;
  /** Batches of the commit that is being read. */
  private pending: ReadBatch[] = [];

  constructor(files: SegmentFiles, visit: (batch: ReadBatch) => void, logStart: number) {
    this.files = files;
    this.visit = visit;
    // A log that never moved its start begins with its first commit; of that, a crash may leave any segment.
    this.commit = logStart === 0 ? 1 : -1;
  }

  async readSegment({ slot, file, generation }: SegmentFile, startsLog: boolean): Promise<void> {
    const { files } = this;
    const { chunkBytes } = files.geometry;
    const segment = new Segment(slot, generation, file, files.geometry);
    for (let index = 0; index < segment.chunkEnds.length; index++) {
      const { bytes, view } = await files.readChunk(file, index);
      let at = index === 0 ? fileHeaderBytes : 0;
      for (;;) {
        const header = decodeBatch(bytes, view, at, files.nonce);
        // The first batch of the log may be any part of its commit: earlier ones stood in segments that are not needed.
        const isFirst = this.commit < 0 && startsLog && index === 0 && at === fileHeaderBytes;
        if (header?.generation !== generation || !(isFirst || this.isDue(header))) break;
        const start = at + batchHeaderBytes;
        at = start + header.payloadBytes;
        this.take(header, { segment, chunkOffset: index * chunkBytes, bytes, view, start, end: at });
      }
    }
  }

  private isDue({ commit, part }: BatchHeader): boolean {
    return commit === this.commit && part === this.part;
  }

  private take(header: BatchHeader, batch: ReadBatch): void {
    this.pending.push(batch);
    this.commit = header.commit;
    this.part = header.part + 1;
    if (!header.isLast) return;
    for (const whole of this.pending) {
      const { segment, chunkOffset, end } = whole;
      if (this.segments.at(-1) !== segment) this.segments.push(segment);
      segment.chunkEnds[chunkOffset / this.files.geometry.chunkBytes] = end;
      this.visit(whole);
    }
    this.last = this.pending.map(({ segment, chunkOffset, start, end: ends }) => {
      const offset = chunkOffset + start - batchHeaderBytes;
      return { file: segment.file, offset, bytes: ends - start + batchHeaderBytes };
    });
    this.pending = [];
    this.lastCommit = header.commit;
    this.commit = header.commit + 1;
    this.part = 0;
    this.definitions = Math.max(this.definitions, header.definitions);
  }

  /** Looks at what stands behind the last whole commit. */
  async findTorn(inLog: readonly SegmentFile[]): Promise<LogPiece[]> {
    const last = this.segments.at(-1);
    const behind = inLog.slice(last ? inLog.findIndex(({ slot }) => slot === last.slot) : 0);
    const torn: LogPiece[] = await this.findBegun(behind);
    const unread = this.lastCommit + 1;
    for (const { file, generation } of behind) {
      for await (const { header, offset, start, end } of this.files.search(file)) {
        if (header.generation !== generation || header.commit <= this.lastCommit) continue;
        // The log always has one whole commit at least, but for its very first.
        if (header.commit > unread) throw this.gap(behind, unread, header.commit, file, offset);
        torn.push({ file, offset, bytes: batchHeaderBytes + end - start });
      }
    }
    return torn;
  }

  /** A batch that was begun, but is not whole, where the next one is due. */
  private async findBegun(behind: readonly SegmentFile[]): Promise<LogPiece[]> {
    if (behind.length === 0) return [];
    const { file, offset } = this.end(behind);
    const { chunkBytes } = this.files.geometry;
    const { bytes, view } = await this.files.readChunk(file, Math.floor(offset / chunkBytes));
    const at = offset % chunkBytes;
    if (!looksLikeBatch(bytes, view, at, this.files.nonce, behind[0].generation)) return [];
    if (decodeBatch(bytes, view, at, this.files.nonce)) return [];
    return [{ file, offset, bytes: chunkBytes - at }];
  }

  /** Where the last whole commit ends. */
  private end(behind: readonly SegmentFile[]): { file: DiskFile; offset: number } {
    const last = this.segments.at(-1);
    if (!last) return { file: behind[0].file, offset: fileHeaderBytes };
    const index = last.chunkEnds.findLastIndex((end) => end > 0);
    return { file: last.file, offset: index * this.files.geometry.chunkBytes + last.chunkEnds[index] };
  }

  private gap(
    behind: readonly SegmentFile[],
    unread: number,
    later: number,
    laterFile: DiskFile,
    laterOffset: number,
  ): CorruptionError {
    const { file, offset } = this.end(behind);
    return new CorruptionError(
      this.files.disk.path,
      file.name,
      offset,
      `commit ${unread} of the log should follow and cannot be read, but commit ${later} can, ` +
        `at byte ${laterOffset} of ${laterFile.name}`,
    );
  }
}

import { crc32 } from "node:zlib";
import type { Definitions } from "./definitions.ts";
import { isWantOfRoom, rewrite, writeFully, type Disk, type DiskFile } from "./disk.ts";
import { CorruptionError, StorageError } from "./storage-error.ts";

export const definitionsFile = "definitions.log";
const newFile = "definitions.new";
const definitionsVersion = 1;
const fileMagic = 0x4644_4c57; // "WLDF"
const entryMagic = 0x4e44_4c57; // "WLDN"
const definitionsHeaderBytes = 32;
const entryHeaderBytes = 24;
/** A file smaller than this is not worth writing anew. */
const compactAtBytes = 1 << 20;
/** Queue ids are set aside in blocks, so that most new queues cost one entry, not two. */
const queueIdBlock = 1024;
const nextQueueIdKey = "next-queue-id";
/** Zeroes kept behind the last entry, so that definitions can be changed when the disk is full. */
const reserveBytes = 64 << 10;

/** A value put under a key, or the key deleted. */
type Change = readonly [key: string, value: string | null];

/** What the file holds, and where its last whole entry ends. */
export interface DefinitionsContent {
  readonly nonce: bigint;
  readonly values: Map<string, string>;
  /** Entries that were ever written, of which the file need not hold all. */
  readonly count: number;
  readonly end: number;
  /** Where the last entry starts. */
  readonly lastEntry: number;
  /** Bytes behind the end: an entry that was being written at a crash. */
  readonly tornBytes: number;
}

/**
 * Named values in an append-only file of their own. An entry holds all changes of one commit under one checksum, so that
 * only the last can be torn; entries are counted, and the log's batches say how many there were, so that a shortened file
 * is noticed.
 */
export class DefinitionsLog implements Definitions {
  readonly nonce: bigint;
  /** Entries written or handed out by {@link take}. */
  count: number;
  /** Called when there is something to {@link take}. */
  onChanged: () => void = () => {};
  private readonly disk: Disk;
  private file: DiskFile;
  private readonly values: Map<string, string>;
  private end: number;
  /** Up to here the file has room on the disk, filled with zeroes. */
  private reserved: number;
  /** Of keys and values, roughly: what the file would take if it were written anew. */
  private liveBytes = 0;
  private changes: Change[] = [];
  private writing = false;
  private lastQueueId: number;
  private reservedQueueIds: number;

  private constructor(disk: Disk, file: DiskFile, content: DefinitionsContent) {
    this.disk = disk;
    this.file = file;
    this.nonce = content.nonce;
    this.count = content.count;
    this.values = content.values;
    this.end = content.end;
    this.reserved = content.end;
    this.reservedQueueIds = Number(content.values.get(nextQueueIdKey) ?? 0);
    this.lastQueueId = this.reservedQueueIds;
    for (const [key, value] of this.values) this.liveBytes += sizeOf(key, value);
  }

  /** Makes the file of a new data directory. */
  static async create(disk: Disk, nonce: bigint): Promise<DefinitionsLog> {
    const values = new Map([[nextQueueIdKey, "0"]]);
    const { file, end } = await writeAnew(disk, nonce, values, 1);
    const lastEntry = definitionsHeaderBytes;
    return new DefinitionsLog(disk, file, { nonce, values, count: 1, end, lastEntry, tornBytes: 0 });
  }

  /**
   * Opens the file that holds `content`. A torn last entry is cut off, but for a copy in a file called `.broken`.
   */
  static async open(disk: Disk, content: DefinitionsContent): Promise<DefinitionsLog> {
    const file = await disk.open(definitionsFile);
    return closeOnError(file, async () => {
      if (content.tornBytes > 0) {
        const torn = new Uint8Array(content.tornBytes);
        await file.read(torn, content.end);
        await keepBroken(disk, definitionsFile, torn);
        await file.truncate(content.end);
      }
      // A killed broker's last entry is with the operating system, and perhaps not on the disk yet, or never if a sync failed.
      await rewrite(file, content.lastEntry, content.end - content.lastEntry);
      const definitions = new DefinitionsLog(disk, file, content);
      await definitions.reserve();
      await file.sync();
      return definitions;
    });
  }

  get isDirty(): boolean {
    return this.writing || this.changes.length > 0;
  }

  nextQueueId(): number {
    this.lastQueueId++;
    if (this.lastQueueId > this.reservedQueueIds) {
      this.reservedQueueIds = this.lastQueueId + queueIdBlock;
      this.put(nextQueueIdKey, String(this.reservedQueueIds));
    }
    return this.lastQueueId;
  }

  /** Queues that are made from now on get higher ids. */
  neverGiveAgain(queueId: number): void {
    if (queueId <= this.lastQueueId) return;
    this.lastQueueId = queueId;
    this.reservedQueueIds = queueId;
    this.put(nextQueueIdKey, String(queueId));
  }

  get all(): ReadonlyMap<string, string> {
    return this.values;
  }

  put(key: string, value: string): void {
    this.forget(key);
    this.values.set(key, value);
    this.liveBytes += sizeOf(key, value);
    this.change([key, value]);
  }

  delete(key: string): void {
    if (this.forget(key)) this.change([key, null]);
  }

  private change(change: Change): void {
    this.changes.push(change);
    this.onChanged();
  }

  /** The changes since the last call, for {@link write}, which must follow before the next call; undefined when none. */
  take(): readonly Change[] | undefined {
    if (this.changes.length === 0) return undefined;
    const { changes } = this;
    this.changes = [];
    this.count++;
    this.writing = true;
    return changes;
  }

  /** Makes changes durable: all or, at a crash, none of them. */
  async write(changes: readonly Change[]): Promise<void> {
    const entry = encodeEntry(changes, this.count, this.nonce);
    if (this.end + entry.length > compactAtBytes && this.end > 4 * this.liveBytes) {
      // Changes made meanwhile are in the values already; that they come again in the next entry does no harm.
      const { file, end } = await writeAnew(this.disk, this.nonce, this.values, this.count);
      const old = this.file;
      this.file = file;
      this.end = end;
      this.reserved = end;
      await old.close();
    } else {
      await writeFully(this.file, entry, this.end);
      this.end += entry.length;
      await this.reserve();
      await this.file.sync();
    }
    this.writing = false;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** Without room for it there is none: it is tried again behind the next entry. */
  private async reserve(): Promise<void> {
    if (this.reserved - this.end > reserveBytes / 2) return;
    const from = Math.max(this.reserved, this.end);
    try {
      await writeFully(this.file, new Uint8Array(reserveBytes), from);
      this.reserved = from + reserveBytes;
    } catch (error) {
      if (!isWantOfRoom(error)) throw error;
    }
  }

  /** False when there was nothing of that name. */
  private forget(key: string): boolean {
    const value = this.values.get(key);
    if (value === undefined) return false;
    this.liveBytes -= sizeOf(key, value);
    return this.values.delete(key);
  }
}

function sizeOf(key: string, value: string): number {
  return key.length + value.length + 8;
}

/**
 * Reads the definitions.
 * @param onDamage "skip" passes over what cannot be read, if there is more behind it.
 * @throws CorruptionError when the file is damaged elsewhere than at its end; StorageError for a foreign version.
 */
export async function readDefinitions(
  disk: Disk,
  file: DiskFile,
  onDamage: "refuse" | "skip" = "refuse",
): Promise<DefinitionsContent> {
  const bytes = new Uint8Array(await file.size());
  await file.read(bytes, 0);
  const view = new DataView(bytes.buffer);
  const nonce = readHeader(disk, bytes, view);
  const values = new Map<string, string>();
  let count = 0;
  let end = definitionsHeaderBytes;
  let lastEntry = end;
  for (let at = end; at < bytes.length;) {
    const entry = decodeEntry(bytes, view, at, nonce);
    if (!entry) {
      at++;
      continue;
    }
    if (at > end && onDamage === "refuse") {
      throw new CorruptionError(
        disk.path,
        definitionsFile,
        end,
        `unreadable, but there is more at byte ${at}`,
      );
    }
    for (const [key, value] of entry.changes) {
      if (value === null) values.delete(key);
      else values.set(key, value);
    }
    count = entry.count;
    lastEntry = at;
    at += entry.bytes;
    end = at;
  }
  if (count === 0) throw new CorruptionError(disk.path, definitionsFile, end, "not one entry can be read");
  // Zeroes are the file's reserve.
  const written = bytes.findLastIndex((octet) => octet !== 0) + 1;
  return { nonce, values, count, end, lastEntry, tornBytes: Math.max(0, written - end) };
}

function readHeader(disk: Disk, bytes: Uint8Array, view: DataView): bigint {
  const isOurs = bytes.length >= definitionsHeaderBytes && view.getUint32(0, true) === fileMagic;
  if (!isOurs || view.getUint32(16, true) !== crc32(bytes.subarray(0, 16))) {
    throw new CorruptionError(disk.path, definitionsFile, 0, "this is not the start of a definitions log");
  }
  const version = view.getUint32(4, true);
  if (version !== definitionsVersion) {
    throw new StorageError(
      `${disk.path}/${definitionsFile} has format version ${version}; this Warren reads version ${definitionsVersion}. ` +
        "Use the Warren that wrote it, or a newer one.",
    );
  }
  return view.getBigUint64(8, true);
}

/** Writes a file that holds just `values`, and puts it into the place of the old one. */
async function writeAnew(
  disk: Disk,
  nonce: bigint,
  values: ReadonlyMap<string, string>,
  count: number,
): Promise<{ file: DiskFile; end: number }> {
  const header = new Uint8Array(definitionsHeaderBytes);
  const view = new DataView(header.buffer);
  view.setUint32(0, fileMagic, true);
  view.setUint32(4, definitionsVersion, true);
  view.setBigUint64(8, nonce, true);
  view.setUint32(16, crc32(header.subarray(0, 16)), true);
  const entry = encodeEntry([...values], count, nonce);
  const file = await disk.open(newFile);
  return closeOnError(file, async () => {
    await file.truncate(0);
    await writeFully(file, header, 0);
    await writeFully(file, entry, header.length);
    await file.sync();
    await disk.rename(newFile, definitionsFile);
    await disk.sync();
    return { file, end: header.length + entry.length };
  });
}

async function closeOnError<T>(file: DiskFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Keeps bytes that are about to be cut off, if the disk has room. Only the last such cut of a file is kept. */
export async function keepBroken(disk: Disk, name: string, bytes: Uint8Array): Promise<void> {
  try {
    const file = await disk.open(`${name}.broken`);
    try {
      await file.truncate(0);
      await writeFully(file, bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await disk.sync();
  } catch (error) {
    if (!isWantOfRoom(error)) throw error;
  }
}

function encodeEntry(changes: readonly Change[], count: number, nonce: bigint): Uint8Array {
  const payload = Buffer.from(JSON.stringify(changes));
  const entry = new Uint8Array(entryHeaderBytes + payload.length);
  const view = new DataView(entry.buffer);
  view.setUint32(0, entryMagic, true);
  view.setUint32(4, payload.length, true);
  view.setBigUint64(16, BigInt(count), true);
  entry.set(payload, entryHeaderBytes);
  view.setUint32(8, entryChecksum(entry, nonce), true);
  return entry;
}

function decodeEntry(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  nonce: bigint,
): { changes: readonly Change[]; count: number; bytes: number } | undefined {
  if (at + entryHeaderBytes > bytes.length || view.getUint32(at, true) !== entryMagic) return undefined;
  const length = entryHeaderBytes + view.getUint32(at + 4, true);
  if (length > bytes.length - at) return undefined;
  const entry = bytes.subarray(at, at + length);
  if (view.getUint32(at + 8, true) !== entryChecksum(entry, nonce)) return undefined;
  const payload = Buffer.from(bytes.buffer, at + entryHeaderBytes, length - entryHeaderBytes);
  return {
    changes: JSON.parse(payload.toString()) as Change[],
    count: Number(view.getBigUint64(at + 16, true)),
    bytes: length,
  };
}

/** Depends on the data directory, so that bytes of another, or chosen by somebody, do not pass for an entry. */
function entryChecksum(entry: Uint8Array, nonce: bigint): number {
  const seed = crc32(Buffer.from(nonce.toString(16)), entry.length);
  return crc32(entry.subarray(12), seed);
}

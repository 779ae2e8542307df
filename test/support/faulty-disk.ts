import type { Disk, DiskFile } from "../../src/broker/storage/disk.ts";
import type { Random } from "./random.ts";

/**
 * A disk in memory that does all that a real one may do, as its seed decides.
 *
 * - Operations that are under way together return in any order.
 * - What is written is in the page cache: a killed process leaves it (`kill`), a power failure (`crash`) may take any of
 *   it that no sync covered, sector by sector. A sync covers what had returned before it was called, no more.
 * - Creations, renames and removals are durable after the directory's sync; until then some first of them survive, as
 *   in the journal of a file system.
 * - After a sync that failed, what it should have written is not written by the next one either: Linux marks the pages
 *   clean (https://wiki.postgresql.org/wiki/Fsync_Errors).
 *
 * The same seed gives the same life as long as all that the test waits for is this disk, microtasks and immediates.
 */
export class FaultyDisk implements Disk {
  readonly path: string = "/faulty";
  /** How likely a write takes only some of its bytes. */
  shortWrites: number;
  /** What the sizes of all files may add up to. Holes count, so that overwriting never fails. */
  capacityBytes: number;
  private readonly random: Random;
  private readonly operations: Operations;
  private readonly directory: Directory = new Directory();
  private readonly handles = new Set<FaultyFile>();
  private readonly countersByName = new Map<string, Counters>();
  private readonly host: FileHost = {
    room: () => this.room(),
    shortWrites: () => this.shortWrites,
    closed: (file) => this.handles.delete(file),
  };

  constructor(random: Random, { shortWrites = 0, capacityBytes = Number.MAX_SAFE_INTEGER }: Options = {}) {
    this.random = random;
    this.shortWrites = shortWrites;
    this.capacityBytes = capacityBytes;
    this.operations = new Operations(random);
  }

  /**
   * The power fails. Nothing under way on this disk ever returns, nor does what is asked of it later; the disk returned
   * has what survived. Called again it gives another outcome of the same failure.
   */
  crash(): FaultyDisk {
    this.operations.stop();
    const after = this.successor();
    const inFlight = shuffled(this.operations.inFlight(), this.random);
    const names = new Map(this.directory.durable);
    const journal = this.directoryChanges(inFlight);
    for (const change of journal.slice(0, this.random.below(journal.length + 1))) applyTo(names, change);
    for (const [name, inode] of names) {
      const image = whatSurvives(inode.durable, this.fileChanges(inode, inFlight), this.random);
      after.directory.add(name, new Inode(image.clone(), image));
    }
    return after;
  }

  /**
   * The process is killed (SIGKILL) and the machine goes on: all that returned is still there, as durable as it was.
   * What was under way was done, was not, or for a write in part. Otherwise as `crash`.
   */
  kill(): FaultyDisk {
    this.operations.stop();
    const after = this.successor();
    const copyOf = this.directory.copyTo(after.directory);
    for (const operation of shuffled(this.operations.inFlight(), this.random)) {
      if (this.random.chance(0.4)) continue;
      if ("directory" in operation) after.directory.carryOut(operation.directory);
      else copyOf(operation.inode).carryOut(partOf(operation.change, this.random));
    }
    return after;
  }

  /**
   * Keeps operations of this kind, also those under way, from returning and from being seen. A crash may find them done
   * all the same.
   */
  hold(kind: OperationKind = {}): void {
    this.operations.hold(kind);
  }

  /** Ends all holds. */
  release(): void {
    this.operations.release();
  }

  /** What is under way, held or not, in the order it was asked for. */
  pending(): { operation: OperationName; file?: string }[] {
    return this.operations.pending.map(({ operation, file }) => ({ operation, file }));
  }

  /** Operations of this kind fail from now on: all but the first `after`, at most `times`. Ends with the life. */
  fail(fault: Fault): void {
    this.operations.fail(fault);
  }

  /** No operation fails any more of those that are not under way yet. */
  heal(): void {
    this.operations.heal();
  }

  /** Whether the file has these bytes after a crash, whatever the seed makes of the crash. */
  isDurable(name: string, position: number, bytes: Uint8Array): boolean {
    const inode = this.directory.durable.get(name);
    if (!inode?.durable.has(bytes, position)) return false;
    const inFlight = this.operations.inFlight();
    return (
      !this.directoryChanges(inFlight).some((change) => takesAway(change, name)) &&
      !this.fileChanges(inode, inFlight).some((change) => alters(change, bytes, position))
    );
  }

  /** What was synced of this file; undefined when its name was not. Later writes may survive over it. */
  durableImage(name: string): Uint8Array | undefined {
    return this.directory.durable.get(name)?.durable.toBytes();
  }

  durableNames(): string[] {
    return [...this.directory.durable.keys()];
  }

  names(): string[] {
    return [...this.directory.current.keys()];
  }

  /**
   * The file's bytes, to look at and to spoil: what is stored into the array is in the file, and on the medium where
   * the two were the same. Until the file is written again or the disk crashes; then ask again.
   */
  bytes(name: string): Uint8Array {
    const inode = this.directory.current.get(name);
    if (!inode) throw systemError("ENOENT", "bytes", name);
    return inode.current.expose(inode.durable);
  }

  /** What was done through files opened with this name, in this life. */
  counters(name: string): Readonly<Counters> {
    let counters = this.countersByName.get(name);
    if (!counters) this.countersByName.set(name, (counters = { writes: 0, syncs: 0, bytesWritten: 0 }));
    return counters;
  }

  /** Names of the files that nobody closed. */
  openFiles(): string[] {
    return [...this.handles].map(({ name }) => name);
  }

  list(): Promise<string[]> {
    return this.operations.issue({ operation: "list" }, () => this.names());
  }

  open(name: string): Promise<DiskFile> {
    const create: DirectoryChange = { kind: "create", name, inode: new Inode() };
    return this.operations.issue({ operation: "open", file: name, inFlight: { directory: create } }, () => {
      let inode = this.directory.current.get(name);
      if (!inode) {
        if (this.room() === 0) throw systemError("ENOSPC", "open", name);
        ({ inode } = create);
        this.directory.carryOut(create);
      }
      const file = new FaultyFile(name, inode, this.operations, this.counters(name), this.host);
      this.handles.add(file);
      return file;
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.changeName("rename", from, { kind: "rename", from, to });
  }

  remove(name: string): Promise<void> {
    return this.changeName("remove", name, { kind: "remove", name });
  }

  sync(): Promise<void> {
    const mark = this.directory.unsynced.mark();
    return this.operations.issue({ operation: "syncDirectory" }, () => this.directory.sync(mark));
  }

  freeBytes(): Promise<number> {
    return this.operations.issue({ operation: "freeBytes" }, () => this.room());
  }

  private changeName(operation: OperationName, file: string, change: DirectoryChange): Promise<void> {
    return this.operations.issue({ operation, file, inFlight: { directory: change } }, () => {
      if (!this.directory.carryOut(change)) throw systemError("ENOENT", operation, file);
    });
  }

  /** What a crash may find done besides what is durable. */
  private directoryChanges(inFlight: InFlight[]): DirectoryChange[] {
    const asked = inFlight.flatMap((operation) => ("directory" in operation ? operation.directory : []));
    return [...this.directory.unsynced.all(), ...asked];
  }

  private fileChanges(inode: Inode, inFlight: InFlight[]): FileChange[] {
    const asked = inFlight.flatMap((operation) =>
      "inode" in operation && operation.inode === inode ? operation.change : [],
    );
    return [...inode.unsynced.all(), ...asked];
  }

  private successor(): FaultyDisk {
    const { shortWrites, capacityBytes } = this;
    return new FaultyDisk(this.random, { shortWrites, capacityBytes });
  }

  /** Files that were removed while open still take their room, as on any POSIX system. */
  private room(): number {
    const inodes = new Set(this.directory.current.values());
    for (const { inode } of this.handles) inodes.add(inode);
    let free = this.capacityBytes;
    for (const { current } of inodes) free -= current.size;
    return Math.max(0, free);
  }
}

interface Options {
  shortWrites?: number;
  capacityBytes?: number;
}

type FileOperationName = "size" | "read" | "write" | "sync" | "truncate" | "close";
type OperationName =
  | FileOperationName
  | "list"
  | "open"
  | "rename"
  | "remove"
  | "syncDirectory"
  | "freeBytes";

/** All operations when neither is given. A rename goes by the old name. */
interface OperationKind {
  operation?: OperationName;
  file?: RegExp;
}

interface Fault extends OperationKind {
  operation: OperationName;
  code: string;
  after?: number;
  times?: number;
}

interface Counters {
  writes: number;
  syncs: number;
  bytesWritten: number;
}

/** What a file asks of its disk. */
interface FileHost {
  room(): number;
  shortWrites(): number;
  closed(file: FaultyFile): void;
}

class FaultyFile implements DiskFile {
  readonly name: string;
  readonly inode: Inode;
  private readonly operations: Operations;
  private readonly counters: Counters;
  private readonly disk: FileHost;
  private closing = false;

  constructor(name: string, inode: Inode, operations: Operations, counters: Counters, disk: FileHost) {
    this.name = name;
    this.inode = inode;
    this.operations = operations;
    this.counters = counters;
    this.disk = disk;
  }

  size(): Promise<number> {
    return this.issue("size", () => this.inode.current.size);
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.issue("read", () => this.inode.current.read(into, position));
  }

  readNow(into: Uint8Array, position: number): number {
    this.operations.checkNow("read", this.name, this.closing);
    return this.inode.current.read(into, position);
  }

  /** The kernel copies the bytes before it returns: at the first or the last moment, as the seed decides. */
  write(bytes: Uint8Array, position: number): Promise<number> {
    return this.writeParts([bytes], position);
  }

  async writeDurably(parts: readonly Uint8Array[], position: number): Promise<number> {
    const written = await this.writeParts(parts, position);
    await this.sync();
    return written;
  }

  private writeParts(parts: readonly Uint8Array[], position: number): Promise<number> {
    const together = (): Uint8Array => (parts.length === 1 ? parts[0] : new Uint8Array(Buffer.concat(parts)));
    const given = this.operations.random.chance(0.5) ? new Uint8Array(together()) : undefined;
    const change: FileChange = {
      kind: "write",
      position,
      get bytes() {
        return given ?? together();
      },
    };
    return this.issue("write", () => this.carryOutWrite(change.bytes, position), { change });
  }

  sync(): Promise<void> {
    const mark = this.inode.unsynced.mark();
    const done = (): void => {
      this.counters.syncs++;
      this.inode.sync(mark);
    };
    return this.issue("sync", done, { failed: () => this.inode.failSync(mark, this.operations.random) });
  }

  truncate(size: number): Promise<void> {
    const change: FileChange = { kind: "truncate", size };
    return this.issue("truncate", () => this.carryOutTruncate(change), { change });
  }

  /** As in Node, returns when all else that is under way on this handle has; closing again is fine. */
  close(): Promise<void> {
    const closed = (): void => this.disk.closed(this);
    const done = this.issue("close", closed, { failed: closed });
    this.closing = true;
    return done;
  }

  private carryOutWrite(bytes: Uint8Array, position: number): number {
    if (bytes.length === 0) return 0;
    const count = this.accept(bytes.length, position);
    this.inode.carryOut({ kind: "write", position, bytes: new Uint8Array(bytes.subarray(0, count)) });
    this.counters.writes++;
    this.counters.bytesWritten += count;
    return count;
  }

  /** How many of `count` bytes at `position` the disk takes. */
  private accept(count: number, position: number): number {
    const { random } = this.operations;
    const { size } = this.inode.current;
    const taken = count > 1 && random.chance(this.disk.shortWrites()) ? 1 + random.below(count - 1) : count;
    if (position + taken <= size) return taken;
    const limit = size + this.disk.room();
    if (position + taken <= limit) return taken;
    if (position < limit && random.chance(0.5)) return limit - position;
    throw systemError("ENOSPC", "write", this.name);
  }

  private carryOutTruncate(change: FileChange & { kind: "truncate" }): void {
    const { size } = this.inode.current;
    if (change.size > size && this.disk.room() < change.size - size) {
      throw systemError("ENOSPC", "truncate", this.name);
    }
    this.inode.carryOut(change);
  }

  private issue<T>(
    operation: FileOperationName,
    complete: () => T,
    { change, failed }: { change?: FileChange; failed?: () => void } = {},
  ): Promise<T> {
    return this.operations.issue(
      {
        operation,
        file: this.name,
        handle: this,
        inFlight: change && { inode: this.inode, change },
        failed,
        code: this.closing && operation !== "close" ? "EBADF" : undefined,
      },
      complete,
    );
  }
}

/** Carries out what is asked for in an order of its own; one per immediate, so that its caller goes on before the next. */
class Operations {
  readonly random: Random;
  readonly pending: Pending[] = [];
  private holds: OperationKind[] = [];
  private faults: (Fault & { after: number; times: number })[] = [];
  private scheduled = 0;
  private stopped = false;
  private readonly run = (): void => this.carryOutOne();

  constructor(random: Random) {
    this.random = random;
  }

  /** For ever pending once stopped: a process that is gone hears nothing. */
  issue<T>(request: Request, complete: () => T): Promise<T> {
    if (this.stopped) return new Promise(() => {});
    const { operation, file, handle, inFlight, failed } = request;
    const code = request.code ?? this.faultFor(operation, file);
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        try {
          if (code === undefined) return resolve(complete());
          failed?.();
          reject(systemError(code, operation, file));
        } catch (error) {
          reject(error);
        }
      };
      // What is going to fail leaves no trace, wherever a crash finds it.
      this.pending.push({
        operation,
        file,
        handle,
        inFlight: code === undefined ? inFlight : undefined,
        finish,
      });
      this.schedule();
    });
  }

  /** Throws what `issue` would reject with. */
  checkNow(operation: OperationName, file: string, closed: boolean): void {
    if (this.stopped) throw new Error(`${operation} of ${file} on a disk that crashed`);
    const code = closed ? "EBADF" : this.faultFor(operation, file);
    if (code !== undefined) throw systemError(code, operation, file);
  }

  inFlight(): InFlight[] {
    return this.pending.flatMap(({ inFlight }) => inFlight ?? []);
  }

  hold(kind: OperationKind): void {
    this.holds.push(kind);
  }

  release(): void {
    this.holds = [];
    this.schedule();
  }

  fail({ after = 0, times = Infinity, ...fault }: Fault): void {
    this.faults.push({ ...fault, after, times });
  }

  heal(): void {
    this.faults = [];
  }

  stop(): void {
    this.stopped = true;
  }

  private schedule(): void {
    for (; this.scheduled < this.pending.length; this.scheduled++) setImmediate(this.run);
  }

  private carryOutOne(): void {
    this.scheduled--;
    if (this.stopped) return;
    const ready = this.pending.filter((operation) => this.isReady(operation));
    if (ready.length === 0) return;
    const next = this.random.pick(ready);
    this.pending.splice(this.pending.indexOf(next), 1);
    next.finish();
    // Those that were not ready used up their immediates in vain; they may be ready now.
    this.schedule();
  }

  private isReady({ operation, file, handle }: Pending): boolean {
    if (this.holds.some((kind) => isOfKind(kind, operation, file))) return false;
    return (
      operation !== "close" ||
      !this.pending.some((other) => other.handle === handle && other.operation !== "close")
    );
  }

  private faultFor(operation: OperationName, file: string | undefined): string | undefined {
    for (const fault of this.faults) {
      if (fault.times <= 0 || !isOfKind(fault, operation, file)) continue;
      if (fault.after > 0) {
        fault.after--;
        continue;
      }
      fault.times--;
      return fault.code;
    }
    return undefined;
  }
}

interface Request {
  operation: OperationName;
  file?: string;
  /** What a close waits for. */
  handle?: FaultyFile;
  /** What a crash may find done. */
  inFlight?: InFlight;
  /** Fails with this whatever the faults are. */
  code?: string;
  failed?: () => void;
}

type Pending = Pick<Request, "operation" | "file" | "handle" | "inFlight"> & { finish(): void };

type InFlight = { directory: DirectoryChange } | { inode: Inode; change: FileChange };

function isOfKind(kind: OperationKind, operation: OperationName, file: string | undefined): boolean {
  if (kind.operation !== undefined && kind.operation !== operation) return false;
  return kind.file === undefined || (file !== undefined && kind.file.test(file));
}

function systemError(code: string, operation: string, file?: string): NodeJS.ErrnoException {
  const message = file === undefined ? `${code}: ${operation}` : `${code}: ${operation} '${file}'`;
  return Object.assign(new Error(message), { code, syscall: operation });
}

type DirectoryChange =
  | { kind: "create"; name: string; inode: Inode }
  | { kind: "rename"; from: string; to: string }
  | { kind: "remove"; name: string };

class Directory {
  readonly current = new Map<string, Inode>();
  readonly durable = new Map<string, Inode>();
  readonly unsynced: Unsynced<DirectoryChange> = new Unsynced();

  carryOut(change: DirectoryChange): boolean {
    if (!applyTo(this.current, change)) return false;
    this.unsynced.push(change);
    return true;
  }

  sync(mark: number): void {
    for (const change of this.unsynced.take(mark)) applyTo(this.durable, change);
  }

  add(name: string, inode: Inode): void {
    this.current.set(name, inode);
    this.durable.set(name, inode);
  }

  /** Returns what this directory's inodes are in the other. */
  copyTo(other: Directory): (inode: Inode) => Inode {
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      let copy = copies.get(inode);
      if (!copy) copies.set(inode, (copy = inode.copy()));
      return copy;
    };
    for (const [name, inode] of this.current) other.current.set(name, copyOf(inode));
    for (const [name, inode] of this.durable) other.durable.set(name, copyOf(inode));
    for (const change of this.unsynced.all()) {
      other.unsynced.push(change.kind === "create" ? { ...change, inode: copyOf(change.inode) } : change);
    }
    return copyOf;
  }
}

function applyTo(names: Map<string, Inode>, change: DirectoryChange): boolean {
  if (change.kind === "remove") return names.delete(change.name);
  if (change.kind === "create") {
    if (names.has(change.name)) return false;
    names.set(change.name, change.inode);
    return true;
  }
  const inode = names.get(change.from);
  if (!inode) return false;
  names.delete(change.from);
  names.set(change.to, inode);
  return true;
}

function takesAway(change: DirectoryChange, name: string): boolean {
  if (change.kind === "rename") return change.from === name || change.to === name;
  return change.kind === "remove" && change.name === name;
}

type FileChange = Write | { kind: "truncate"; size: number };

interface Write {
  kind: "write";
  position: number;
  bytes: Uint8Array;
}

/** A file apart from its name: what reads see, what the medium has, and the changes that lead from there to here. */
class Inode {
  readonly current: SparseBytes;
  durable: SparseBytes;
  readonly unsynced: Unsynced<FileChange> = new Unsynced();

  constructor(current: SparseBytes = new SparseBytes(), durable: SparseBytes = new SparseBytes()) {
    this.current = current;
    this.durable = durable;
  }

  carryOut(change: FileChange): void {
    this.current.carryOut(change);
    this.unsynced.push(change);
  }

  sync(mark: number): void {
    for (const change of this.unsynced.take(mark)) this.durable.carryOut(change);
  }

  /** Now is decided what of it reached the medium; no later sync writes the rest. */
  failSync(mark: number, random: Random): void {
    this.durable = whatSurvives(this.durable, this.unsynced.take(mark), random);
  }

  copy(): Inode {
    const copy = new Inode(this.current.clone(), this.durable.clone());
    for (const change of this.unsynced.all()) copy.unsynced.push(change);
    return copy;
  }
}

/** Changes in the order in which they were carried out, from the first that no sync covered. */
class Unsynced<Change> {
  private readonly changes: Change[] = [];
  private taken = 0;

  push(change: Change): void {
    this.changes.push(change);
  }

  all(): readonly Change[] {
    return this.changes;
  }

  /** Stands for the changes up to now. */
  mark(): number {
    return this.taken + this.changes.length;
  }

  /** Takes out those up to the mark that no one took before. */
  take(mark: number): Change[] {
    const changes = this.changes.splice(0, Math.max(0, mark - this.taken));
    this.taken += changes.length;
    return changes;
  }
}

/** The part that a killed process left of what it was doing. */
function partOf(change: FileChange, random: Random): FileChange {
  if (change.kind === "truncate") return change;
  const { length } = change.bytes;
  const count = random.chance(0.5) ? length : random.below(length + 1);
  return { ...change, bytes: new Uint8Array(change.bytes.subarray(0, count)) };
}

function alters(change: FileChange, bytes: Uint8Array, position: number): boolean {
  const end = position + bytes.length;
  if (change.kind === "truncate") return change.size < end;
  const from = Math.max(position, change.position);
  const to = Math.min(end, change.position + change.bytes.length);
  if (from >= to) return false;
  const theirs = change.bytes.subarray(from - change.position, to - change.position);
  return Buffer.compare(theirs, bytes.subarray(from - position, to - position)) !== 0;
}

/**
 * A power failure's pick of the changes to a file. Truncations survive in order, being in the journal; the writes
 * between two of them in any order, whole, torn or not at all.
 */
function whatSurvives(durable: SparseBytes, changes: readonly FileChange[], random: Random): SparseBytes {
  const content = durable.clone();
  if (changes.length === 0) return content;
  const odds = { whole: random.pick([0, 0.4, 1]), lost: random.pick([0.3, 1]) };
  let truncations = random.below(1 + changes.filter(({ kind }) => kind === "truncate").length);
  let writes: Write[] = [];
  for (const change of changes) {
    if (change.kind === "write") {
      writes.push(change);
    } else if (truncations > 0) {
      truncations--;
      keepSome(content, writes, odds, random);
      writes = [];
      content.truncate(change.size);
    }
  }
  keepSome(content, writes, odds, random);
  return content;
}

/** The odds are one crash's, so that of many writes there are crashes that keep or lose all. */
function keepSome(
  content: SparseBytes,
  writes: Write[],
  odds: { whole: number; lost: number },
  random: Random,
): void {
  const { size } = content;
  let largest = size;
  for (const write of shuffled(writes, random)) {
    largest = Math.max(largest, write.position + write.bytes.length);
    if (random.chance(odds.whole)) content.carryOut(write);
    else if (!random.chance(odds.lost)) tear(content, write, random);
  }
  // The size is metadata, written apart from the data.
  if (largest > size && random.chance(0.4)) {
    content.truncate(random.chance(0.5) ? largest : size + random.below(largest - size + 1));
  }
}

const sectorBytes = 512;

function tear(content: SparseBytes, { position, bytes }: Write, random: Random): void {
  const end = position + bytes.length;
  const first = Math.floor(position / sectorBytes);
  const count = Math.ceil(end / sectorBytes) - first;
  const whole = random.chance(0.3) ? random.below(count + 1) : 0;
  const density = whole === 0 ? random.next() : 0;
  for (let sector = 0; sector < count; sector++) {
    if (sector >= whole && !random.chance(density)) continue;
    const from = Math.max(position, (first + sector) * sectorBytes);
    const to = Math.min(end, (first + sector + 1) * sectorBytes);
    content.write(bytes.subarray(from - position, to - position), from);
  }
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [result[index], result[other]] = [result[other], result[index]];
  }
  return result;
}

const pageBytes = 64 * 1024;
const zeros = new Uint8Array(pageBytes);

/** A file's content in pages, shared by its copies until written. Pages of zeros need not exist. */
class SparseBytes {
  size = 0;
  private readonly pages = new Map<number, Uint8Array>();
  /** The pages that no copy shares. Whatever a page has beyond `size` is zero. */
  private readonly own = new Set<number>();

  clone(): SparseBytes {
    const copy = new SparseBytes();
    copy.size = this.size;
    for (const [index, page] of this.pages) copy.pages.set(index, page);
    this.own.clear();
    return copy;
  }

  carryOut(change: FileChange): void {
    if (change.kind === "write") this.write(change.bytes, change.position);
    else this.truncate(change.size);
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.size - position));
    for (const { index, offset, start, end } of spans(position, count)) {
      into.set((this.pages.get(index) ?? zeros).subarray(offset, offset + end - start), start);
    }
    return count;
  }

  has(bytes: Uint8Array, position: number): boolean {
    if (position + bytes.length > this.size) return false;
    for (const { index, offset, start, end } of spans(position, bytes.length)) {
      const page = this.pages.get(index) ?? zeros;
      if (Buffer.compare(page.subarray(offset, offset + end - start), bytes.subarray(start, end)) !== 0)
        return false;
    }
    return true;
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    for (const { index, offset, start, end } of spans(position, bytes.length)) {
      this.ownPage(index).set(bytes.subarray(start, end), offset);
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  truncate(size: number): void {
    if (size < this.size) {
      const whole = Math.ceil(size / pageBytes);
      for (const index of this.pages.keys()) if (index >= whole) this.pages.delete(index);
      if (this.pages.has(whole - 1) && size % pageBytes !== 0)
        this.ownPage(whole - 1).fill(0, size % pageBytes);
    }
    this.size = size;
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.size);
    this.read(bytes, 0);
    return bytes;
  }

  /** Puts the content in one piece into memory and returns it; `other` shares the pages that are the same in it. */
  expose(other: SparseBytes): Uint8Array {
    const count = Math.ceil(this.size / pageBytes);
    const all = new Uint8Array(count * pageBytes);
    for (let index = 0; index < count; index++) {
      const page = all.subarray(index * pageBytes, (index + 1) * pageBytes);
      const content = this.pages.get(index) ?? zeros;
      page.set(content);
      this.pages.set(index, page);
      this.own.delete(index);
      const isShared = this.size === other.size || (index + 1) * pageBytes <= Math.min(this.size, other.size);
      if (!isShared || Buffer.compare(other.pages.get(index) ?? zeros, content) !== 0) continue;
      other.pages.set(index, page);
      other.own.delete(index);
    }
    return all.subarray(0, this.size);
  }

  private ownPage(index: number): Uint8Array {
    let page = this.pages.get(index);
    if (page && this.own.has(index)) return page;
    page = page ? page.slice() : new Uint8Array(pageBytes);
    this.pages.set(index, page);
    this.own.add(index);
    return page;
  }
}

/** The pieces, one per page, of a range of a file: where it is in the page, and what of the range it is. */
function spans(
  position: number,
  length: number,
): { index: number; offset: number; start: number; end: number }[] {
  const pieces = [];
  for (let start = 0; start < length;) {
    const index = Math.floor((position + start) / pageBytes);
    const offset = (position + start) % pageBytes;
    const end = Math.min(length, start + pageBytes - offset);
    pieces.push({ index, offset, start, end });
    start = end;
  }
  return pieces;
}

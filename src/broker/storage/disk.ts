/**
 * All that storage asks of the file system, so that tests can put a faulty disk under it: one directory with files. Every
 * method that fails rejects (or throws) with an error whose `code` is the system's (`ENOSPC`, `EIO`).
 */
export interface Disk {
  /** The directory, for messages to people. */
  readonly path: string;
  /** Names of the files in the directory, in no order. */
  list(): Promise<string[]>;
  /** Opens a file for reading and writing; creates it when it does not exist. */
  open(name: string): Promise<DiskFile>;
  /** Replaces what is called `to`. */
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes the creations, renames and removals that have returned durable. */
  sync(): Promise<void>;
  /** What the file system has left for this user, in bytes. */
  freeBytes(): Promise<number>;
}

export interface DiskFile {
  readonly name: string;
  size(): Promise<number>;
  /** Fills `into` from `position`; returns how many bytes there were, fewer than asked only at the file's end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** The same, blocking. */
  readNow(into: Uint8Array, position: number): number;
  /** Writes at `position`; returns how many bytes were written, which may be fewer than given, as with `pwrite`. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Writes one part after the other, as `pwritev` does. What it says was written is durable then, as after {@link sync}. */
  writeDurably(parts: readonly Uint8Array[], position: number): Promise<number>;
  /** fdatasync: what was written before the call is durable when it returns. */
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** Writes all of `bytes`, however few the disk takes at a time. */
export async function writeFully(file: DiskFile, bytes: Uint8Array, position: number): Promise<void> {
  let written = await file.write(bytes, position);
  while (written < bytes.length) {
    const more = await file.write(bytes.subarray(written), position + written);
    if (more === 0) throw new Error(`cannot write to ${file.name}: the disk takes no more bytes`);
    written += more;
  }
}

/** Writes all of the parts durably, however few bytes the disk takes at a time. */
export async function writeDurablyFully(
  file: DiskFile,
  parts: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let left = parts;
  let at = position;
  for (;;) {
    const written = await file.writeDurably(left, at);
    left = behind(left, written);
    if (left.length === 0) return;
    if (written === 0) throw new Error(`cannot write to ${file.name}: the disk takes no more bytes`);
    at += written;
  }
}

function behind(parts: readonly Uint8Array[], written: number): Uint8Array[] {
  let skipped = written;
  return parts.flatMap((part) => {
    const from = Math.min(part.length, skipped);
    skipped -= from;
    return from === part.length ? [] : [part.subarray(from)];
  });
}

/** The disk, its quota, or this process's file descriptors are used up: a state that can end, not a defect. */
export function isWantOfRoom(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Writes again what stands there, so that the next sync covers it whatever became of earlier ones. */
export async function rewrite(file: DiskFile, position: number, length: number): Promise<void> {
  const bytes = new Uint8Array(length);
  await file.read(bytes, position);
  await writeFully(file, bytes, position);
}

import { constants, readSync } from "node:fs";
import { mkdir, open, readdir, rename, statfs, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Disk, DiskFile } from "./disk.ts";

/** A directory of the file system; made when it does not exist, for this user alone (mode 0700). */
export async function openNodeDisk(path: string): Promise<Disk> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  return new NodeDisk(path);
}

class NodeDisk implements Disk {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  list(): Promise<string[]> {
    return readdir(this.path);
  }

  async open(name: string): Promise<DiskFile> {
    const path = join(this.path, name);
    return new NodeFile(name, path, await openOrCreate(path));
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.path, from), join(this.path, to));
  }

  remove(name: string): Promise<void> {
    return unlink(join(this.path, name));
  }

  async sync(): Promise<void> {
    const directory = await open(this.path, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path);
    return bavail * bsize;
  }
}

async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return await open(path, "wx+", 0o600);
  }
}

/**
 * Opened so that a write returns when it is durable: a commit takes one turn of a thread then, not two for writing and syncing.
 * Undefined elsewhere than on Linux, where the flag may promise less than Node's `fdatasync`.
 */
async function openDurably(path: string): Promise<FileHandle | undefined> {
  return process.platform === "linux" ? open(path, constants.O_RDWR | constants.O_DSYNC) : undefined;
}

class NodeFile implements DiskFile {
  readonly name: string;
  private readonly path: string;
  private readonly handle: FileHandle;
  private durably: Promise<FileHandle | undefined> | undefined;

  constructor(name: string, path: string, handle: FileHandle) {
    this.name = name;
    this.path = path;
    this.handle = handle;
  }

  async size(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let count = 0;
    while (count < into.length) {
      const { bytesRead } = await this.handle.read(into, count, into.length - count, position + count);
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    return count;
  }

  readNow(into: Uint8Array, position: number): number {
    let count = 0;
    while (count < into.length) {
      const got = readSync(this.handle.fd, into, count, into.length - count, position + count);
      if (got === 0) break;
      count += got;
    }
    return count;
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    return (await this.handle.write(bytes, 0, bytes.length, position)).bytesWritten;
  }

  async writeDurably(parts: readonly Uint8Array[], position: number): Promise<number> {
    this.durably ??= openDurably(this.path);
    const durably = await this.durably;
    const { bytesWritten } = await (durably ?? this.handle).writev(parts, position);
    if (!durably) await this.sync();
    return bytesWritten;
  }

  sync(): Promise<void> {
    return this.handle.datasync();
  }

  truncate(size: number): Promise<void> {
    return this.handle.truncate(size);
  }

  async close(): Promise<void> {
    await (await this.durably)?.close();
    await this.handle.close();
  }
}

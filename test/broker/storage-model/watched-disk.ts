import type { Disk, DiskFile } from "../../../src/broker/storage/disk.ts";
import type { FaultyDisk } from "../../support/faulty-disk.ts";

/** A file that was opened; its name may change meanwhile. */
interface Handle {
  name: string;
}

interface Written {
  readonly handle: Handle;
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** Remembers what is written to the log and to the definitions, so that it can be told whether it is durable. */
export class WatchedDisk implements Disk {
  readonly path: string;
  private readonly disk: FaultyDisk;
  private readonly isWatched: (name: string) => boolean;
  private readonly handles: Handle[] = [];
  private written: Written[] = [];

  constructor(disk: FaultyDisk, isWatched: (name: string) => boolean) {
    this.path = disk.path;
    this.disk = disk;
    this.isWatched = isWatched;
  }

  /** Of all that was written since the last call, what a power failure could take; undefined when nothing. */
  takeFirstNotDurable(): string | undefined {
    const { written } = this;
    this.written = [];
    const lost = written.find(
      ({ handle, position, bytes }) => !this.disk.isDurable(handle.name, position, bytes),
    );
    return lost && `${lost.bytes.length} bytes at ${lost.position} of ${lost.handle.name}`;
  }

  list(): Promise<string[]> {
    return this.disk.list();
  }

  async open(name: string): Promise<DiskFile> {
    const file = await this.disk.open(name);
    const handle = { name };
    this.handles.push(handle);
    return {
      name,
      size: () => file.size(),
      read: (into, position) => file.read(into, position),
      readNow: (into, position) => file.readNow(into, position),
      write: (bytes, position) => {
        if (this.isWatched(handle.name)) this.written.push({ handle, position, bytes: bytes.slice() });
        return file.write(bytes, position);
      },
      writeDurably: (parts, position) => {
        const bytes = new Uint8Array(Buffer.concat(parts));
        if (this.isWatched(handle.name)) this.written.push({ handle, position, bytes });
        return file.writeDurably(parts, position);
      },
      sync: () => file.sync(),
      truncate: (size) => {
        this.forget(handle.name);
        return file.truncate(size);
      },
      close: () => file.close(),
    };
  }

  rename(from: string, to: string): Promise<void> {
    this.forget(to);
    for (const handle of this.handles) if (handle.name === from) handle.name = to;
    return this.disk.rename(from, to);
  }

  remove(name: string): Promise<void> {
    return this.disk.remove(name);
  }

  sync(): Promise<void> {
    return this.disk.sync();
  }

  freeBytes(): Promise<number> {
    return this.disk.freeBytes();
  }

  private forget(name: string): void {
    this.written = this.written.filter(({ handle }) => handle.name !== name);
  }
}

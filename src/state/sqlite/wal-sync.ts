import { closeSync, fdatasync, openSync } from "node:fs";
import { StateError } from "../errors.ts";

/**
 * Syncs the write-ahead log behind SQLite's back: SQLite would do it within COMMIT and hold up the event loop for as long as the
 * disk takes (37 % of a worker's time, see docs/benchmarks.md), while here one sync serves all that was committed meanwhile.
 *
 * With `synchronous = NORMAL` a commit is written to the log file and not synced, and a checkpoint syncs the log before it
 * uses it: so a sync of the file after the commit makes just what FULL would have made. The file stays the same as long as a
 * connection is open. https://sqlite.org/wal.html#performance_considerations
 */
export class WalSync {
  private readonly path: string | undefined;
  private descriptor: number | undefined;
  private waiting: PromiseWithResolvers<void> | undefined;
  private syncing: Promise<void> | undefined;
  private failure: StateError | undefined;

  /** Of a database file; undefined for one in memory, which has nothing to sync. */
  constructor(file: string | undefined) {
    this.path = file === undefined ? undefined : `${file}-wal`;
  }

  /** Resolves when all that has been committed by now outlives a power failure. @throws StateError */
  synced(): Promise<void> {
    if (this.path === undefined) return Promise.resolve();
    if (this.failure !== undefined) return Promise.reject(this.failure);
    // One that has begun already may not have seen the latest commit.
    this.waiting ??= Promise.withResolvers();
    const { promise } = this.waiting;
    this.syncing ??= this.syncAll(this.path);
    return promise;
  }

  async close(): Promise<void> {
    await this.syncing;
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  private async syncAll(path: string): Promise<void> {
    while (this.waiting !== undefined) {
      const { resolve, reject } = this.waiting;
      this.waiting = undefined;
      try {
        this.descriptor ??= openSync(path, "r+");
        await sync(this.descriptor);
        resolve();
      } catch (error) {
        // What the disk has is unknown from now on, and trying again would not tell.
        this.failure = new StateError(`the state in ${path} cannot be synced: ${(error as Error).message}`, {
          cause: error,
        });
        reject(this.failure);
      }
    }
    this.syncing = undefined;
  }
}

function sync(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error ? reject(error) : resolve()));
  });
}

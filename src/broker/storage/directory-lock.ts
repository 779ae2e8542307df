import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StorageError } from "./storage-error.ts";

/**
 * Keeps a data directory for this process. SQLite's exclusive lock on a file serves, since the kernel releases it however
 * the process ends, also across containers that share the directory; a file with a process id in it would outlive a crash.
 * @throws StorageError with the code "in-use" when another broker has the directory.
 */
export function lockDirectory(path: string): { release(): void } {
  const database = new DatabaseSync(join(path, "lock"));
  try {
    // Nothing is ever written, so that a journal file would only be litter.
    database.exec("PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!(error as Error).message.includes("locked")) throw error;
    throw new StorageError(
      `The data directory ${path} is used by another broker. Stop that one first, or choose another directory.`,
      { cause: error, code: "in-use" },
    );
  }
  return { release: () => database.close() };
}

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** The byte that SQLite locks first, https://sqlite.org/src/file/src/os.h. */
const pendingByte = 0x4000_0000;

/** The process that has a data directory, where the system tells it (Linux). For messages only: it may be gone by now. */
export function lockHolder(dataDir: string): number | undefined {
  try {
    const { ino } = statSync(join(dataDir, "lock"));
    const locks = readFileSync("/proc/locks", "utf8");
    const [, pid] = new RegExp(` WRITE (\\d+) [0-9a-f]+:[0-9a-f]+:${ino} ${pendingByte} `).exec(locks) ?? [];
    return pid === undefined ? undefined : Number(pid);
  } catch {
    return undefined;
  }
}

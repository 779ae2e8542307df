import { statfsSync } from "node:fs";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";

export interface MachineFacts {
  date: string;
  cpuModel: string;
  cores: number;
  memoryBytes: number;
  platform: string;
  node: string;
  /** Both brokers keep their data in the temporary directory. In memory (tmpfs), syncing to disk costs nothing. */
  dataInMemory: boolean;
}

const TMPFS_MAGIC = 0x0102_1994; // statfs(2)

export function machineFacts(): MachineFacts {
  return {
    date: new Date().toISOString(),
    cpuModel: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    dataInMemory: statfsSync(tmpdir()).type === TMPFS_MAGIC,
  };
}

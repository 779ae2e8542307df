import { readFileSync } from "node:fs";

export interface ProcessUsage {
  cpuSeconds: number;
  rssBytes: number;
}

// USER_HZ, the unit of CPU times in /proc/PID/stat (proc(5)): 100 on every Linux that Node runs on.
const TICKS_PER_SECOND = 100;

/** CPU time of all its threads since the start, and resident memory; undefined without /proc or when the process has ended. */
export function processUsage(pid: number): ProcessUsage | undefined {
  const stat = readProc(pid, "stat");
  const status = readProc(pid, "status");
  if (stat === undefined || status === undefined) return undefined;
  // The command's name may contain spaces and brackets; the fields after it start with the state, number 3.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[14 - 3]) + Number(fields[15 - 3]);
  const rssKib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  return { cpuSeconds: ticks / TICKS_PER_SECOND, rssBytes: rssKib * 1024 };
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined;
  }
}

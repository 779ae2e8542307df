/** Microseconds on the system's monotonic clock, which all processes of a machine share; `performance.now()` is each process's own. */
export function nowUs(): number {
  return Number(process.hrtime.bigint()) / 1000;
}

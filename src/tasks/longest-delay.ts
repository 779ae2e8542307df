/** What Warren's delayed exchange holds, some 49 days. It hands on what has a longer delay at once. Milliseconds. */
const longestDelayMs = 2 ** 32 - 1;

/** @throws RangeError for a delay that no backend would keep */
export function assertDelay(delayMs: number): void {
  if (delayMs <= longestDelayMs) return;
  throw new RangeError(`a delay of ${delayMs} ms is longer than the longest, ${longestDelayMs} ms (49 days)`);
}

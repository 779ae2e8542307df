/** Request timeout, conflict, too early, too many requests: they pass by themselves. */
const passing: readonly number[] = [408, 409, 425, 429];

/** The same request would be answered alike: it is wrong, or not allowed. */
export function isFinalStatus(status: number): boolean {
  return status >= 400 && status < 500 && !passing.includes(status);
}

/**
 * How long the server asks to be left alone: `retry-after-ms`, or `retry-after` as seconds or a date (RFC 9110 §10.2.3).
 * Undefined where it does not say.
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const milliseconds = numberIn(headers.get("retry-after-ms"));
  if (milliseconds !== undefined) return milliseconds;
  const after = headers.get("retry-after");
  const seconds = numberIn(after);
  if (seconds !== undefined) return seconds * 1_000;
  const dateMs = Date.parse(after ?? "");
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}

function numberIn(header: string | null): number | undefined {
  return header !== null && /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) : undefined;
}

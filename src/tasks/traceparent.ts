import { randomUUID } from "node:crypto";

/**
 * Begins a trace: retries, children and dead letters of a task carry the same. Its flags say that nobody has recorded it yet.
 * https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function newTraceparent(): string {
  const traceId = randomUUID().replaceAll("-", "");
  return `00-${traceId}-${randomUUID().replaceAll("-", "").slice(0, 16)}-00`;
}

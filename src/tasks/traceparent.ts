import { randomHex } from "./ids.ts";

/**
 * Begins a trace: retries, children and dead letters of a task carry the same. Its flags say that nobody has recorded it yet.
 * https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-00`;
}

import { randomHex } from "./ids.ts";

/**
 * Begins a trace: retries, children and dead letters of a task carry the same. No span stands behind it, and whether it is sampled
 * nobody has decided, for which the header has no word: the flags say that nobody has recorded it, and the parent is the end of the
 * trace's id, by which {@link isUndecidedTrace} knows it. https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function newTraceparent(): string {
  const trace = randomHex(16);
  return `00-${trace}-${trace.slice(16)}-00`;
}

/**
 * It is one of {@link newTraceparent}. Who records spans is the first to do so, and decides: a sampler that goes by the parent would
 * take it for one that was not to be sampled, and drop all.
 */
export function isUndecidedTrace(traceparent: unknown): boolean {
  return typeof traceparent === "string" && /^00-[0-9a-f]{16}([0-9a-f]{16})-\1-00$/.test(traceparent);
}

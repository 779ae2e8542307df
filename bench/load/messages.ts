import type { Latency } from "./latency.ts";
import type { LoadPlan, Role } from "./plan.ts";

/** Runner to worker. */
export type Order =
  | { kind: "prepare"; role: Role; plan: LoadPlan }
  | { kind: "go" }
  /** Asks for a `mark`; latencies before it are forgotten. */
  | { kind: "mark" };

/** Worker to runner. */
export type Report =
  | { kind: "ready" }
  | { kind: "mark"; mark: Mark }
  /** The counted messages are through; the mark was taken at that instant. */
  | { kind: "done"; mark: Mark }
  | { kind: "failed"; reason: string };

/** A worker's counters at one instant; two of them make a rate. */
export interface Mark {
  atUs: number;
  messages: number;
  cpuUs: number;
  latency: Latency | undefined;
}

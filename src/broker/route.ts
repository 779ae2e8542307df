import type { Queue } from "./queues/index.ts";

/** Where messages with one exchange and routing key go, until the topology changes. */
export interface Route {
  readonly queues: readonly Queue[];
  /** The virtual host's `topologyVersion` for which this holds; -1 when it holds for one message only. */
  readonly version: number;
}

import type { Queue } from "../queues/index.ts";

/** Whom a delivery was made to: a consumer, or a basic.get. */
export interface DeliveryHolder {
  readonly queue: Queue;
  /** One of its deliveries was rejected, or given back. */
  settled(): void;
  acknowledged(): void;
}

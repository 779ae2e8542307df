/** A task with an effect of each kind. */
import { defineTask, type ConnectOptions, type Task } from "../../../src/tasks/index.ts";

export interface PaymentSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state">;
  readonly receiverPort: number;
  /** Of SQL that books one side of a payment, with the task's id and the side. */
  readonly insert: string;
  readonly concurrency: number;
}

/** Each kill is an attempt for what it has hit. */
export const payment: Task<undefined, undefined> = defineTask("payment", {
  queue: "payments",
  retry: { retries: 1_000, delay: 50, jitter: "none" },
});

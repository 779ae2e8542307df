import type { Operation } from "./operation.ts";

/** A write that waits for its transaction, and whoever waits for the write. */
export interface Pending {
  readonly operation: Operation<unknown>;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Puts an operation into the list; the promise is its answer. */
export function enqueue<T>(list: Pending[], operation: Operation<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    list.push({ operation, resolve: resolve as Pending["resolve"], reject });
  });
}

import { StateError } from "./errors.ts";
import type { StateTransaction } from "./state-store.ts";

/** Gives `work` the transaction until it ends, not longer: what it forgot to wait for must not write into another one. */
export async function lend<T>(
  query: StateTransaction["query"],
  work: (tx: StateTransaction) => T | Promise<T>,
): Promise<T> {
  let hasEnded = false;
  const tx: StateTransaction = {
    async query(sql, parameters = []) {
      if (hasEnded) throw new StateError("the transaction of this step has ended: wait for all that it does");
      return query(sql, parameters);
    },
  };
  try {
    return await work(tx);
  } finally {
    hasEnded = true;
  }
}

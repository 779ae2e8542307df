import { setTimeout as sleep } from "node:timers/promises";

/** Asks again until there is an answer, for at most ten seconds. */
export async function eventually<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const answer = await ask().catch((error: unknown) => {
      if (performance.now() > deadlineMs) throw error;
      return undefined;
    });
    if (answer !== undefined) return answer;
    if (performance.now() > deadlineMs) throw new Error("there is no answer after ten seconds");
    await sleep(20);
  }
}

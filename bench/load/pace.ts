import { nowUs } from "./clock.ts";
import type { Publisher } from "./publisher.ts";

// A timer of Node's has a grain of 1–2 ms, which would be most of the latency measured. Sleeping inside the loop for
// a tenth of that costs some per cent of a core and makes a confirm look at most this much later than it came.
const NAP_MS = 0.1;

/** Lets each publisher send what is due, until `stopped`. Due times start now and are never moved (open loop). */
export function pace(publishers: Publisher[], ratePerSecond: number, stopped: () => boolean): void {
  const startUs = nowUs();
  const rateEach = ratePerSecond / publishers.length;
  const never = new Int32Array(new SharedArrayBuffer(4));
  const turn = (): void => {
    if (stopped()) return;
    const at = nowUs();
    for (const publisher of publishers) publisher.publishDue(startUs, at, rateEach);
    Atomics.wait(never, 0, 0, NAP_MS);
    setImmediate(turn);
  };
  turn();
}

/** Time, handed in as an argument so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Calls `callback` once after `delayMs`; does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
  /** Calls `callback` every `intervalMs`; does not keep the process alive. */
  every(intervalMs: number, callback: () => void): Timer;
}

export interface Timer {
  /** Stops the timer. Cancelling twice is fine. */
  cancel(): void;
}

/** Some 25 days. */
const longestTimeoutMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout;
    const wait = (leftMs: number): void => {
      // Node takes longer ones for 1 ms.
      const ms = Math.min(leftMs, longestTimeoutMs);
      timer = setTimeout(() => (leftMs > ms ? wait(leftMs - ms) : callback()), ms).unref();
    };
    wait(delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  every(intervalMs, callback) {
    const timer = setInterval(callback, intervalMs).unref();
    return { cancel: () => clearInterval(timer) };
  },
};

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

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs).unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(intervalMs, callback) {
    const timer = setInterval(callback, intervalMs).unref();
    return { cancel: () => clearInterval(timer) };
  },
};

const signals = ["SIGTERM", "SIGINT"] as const;
/** Of all workers of the process: the signal must not end it before the last of them has drained. */
const closers = new Set<() => Promise<void>>();

/**
 * Calls `close` at SIGTERM and SIGINT, then lets the signal do what it does: it ends the process, unless somebody else listens.
 * A second signal does not wait. Call what this returns when that is no longer wanted.
 */
export function closeOnSignals(close: () => Promise<void>): () => void {
  if (closers.size === 0) for (const signal of signals) process.on(signal, closeAll);
  closers.add(close);
  return () => {
    closers.delete(close);
    if (closers.size === 0) stopListening();
  };
}

function closeAll(signal: NodeJS.Signals): void {
  stopListening();
  void Promise.allSettled([...closers].map((close) => close())).then(() => process.kill(process.pid, signal));
}

function stopListening(): void {
  for (const signal of signals) process.off(signal, closeAll);
}

/** Who waits for a task to change. */
export class Waiters {
  private readonly byId = new Map<string, Set<() => void>>();

  get isEmpty(): boolean {
    return this.byId.size === 0;
  }

  /** Resolves at the next {@link wake} of the task, or after `timeoutMs`. */
  wait(id: string, timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.byId.get(id) ?? new Set();
    this.byId.set(id, waiting);
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      if (waiting.size === 0 && this.byId.get(id) === waiting) this.byId.delete(id);
      resolve();
    };
    const timer = setTimeout(done, timeoutMs);
    waiting.add(done);
    return promise;
  }

  wake(id: string): void {
    // Those that are woken leave the set; whoever waits anew comes to another one.
    const waiting = this.byId.get(id);
    if (waiting === undefined) return;
    this.byId.delete(id);
    for (const done of waiting) done();
  }

  wakeAll(): void {
    for (const id of this.byId.keys()) this.wake(id);
  }
}

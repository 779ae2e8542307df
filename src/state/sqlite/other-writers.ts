const shortestMs = 5;
const longestMs = 200;

/** Notices when another connection, perhaps of another process, has written to the file. SQLite can only be asked. */
export class OtherWriters {
  private readonly version: () => number;
  private timer: NodeJS.Timeout | undefined;

  constructor(version: () => number) {
    this.version = version;
  }

  watch(onWrite: () => void): void {
    this.stop();
    let known = this.version();
    let delayMs = shortestMs;
    const look = (): void => {
      const current = this.version();
      delayMs = current === known ? Math.min(delayMs * 1.5, longestMs) : shortestMs;
      this.timer = setTimeout(look, delayMs);
      if (current === known) return;
      known = current;
      onWrite();
    };
    this.timer = setTimeout(look, delayMs);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

import type { Clock, Timer } from "../base/index.ts";

/** Deltas are written together, so that a long answer is tens of entries and not thousands. */
const everyMs = 100;

/** Writes text as it comes, a part at a time, in order. What is left when it closes is not written: the reply has it all. */
export class DeltaWriter {
  private readonly clock: Clock;
  private readonly write: (text: string) => Promise<void>;
  private text = "";
  private timer: Timer | undefined;
  private writing: Promise<void> = Promise.resolve();
  private failure: unknown;

  constructor(clock: Clock, write: (text: string) => Promise<void>) {
    this.clock = clock;
    this.write = write;
  }

  add(delta: string): void {
    this.text += delta;
    this.timer ??= this.clock.after(everyMs, () => this.flush());
  }

  /** @throws what writing has thrown */
  async close(): Promise<void> {
    this.timer?.cancel();
    await this.writing;
    if (this.failure !== undefined) throw this.failure;
  }

  private flush(): void {
    const { text } = this;
    this.text = "";
    this.timer = undefined;
    this.writing = this.writing
      .then(() => this.write(text))
      .catch((error: unknown) => {
        this.failure ??= error;
      });
  }
}

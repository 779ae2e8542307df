import type { Clock, Timer } from "../base/index.ts";
import type { Conversation } from "./conversation.ts";
import type { ConversationLog } from "./conversation-log.ts";

/** Most turns are over before that, and need not look. */
const afterMs = 1_000;
const lookAgainMs = 5_000;

/** Notices when a run ends while a turn of it is at work: somebody has cancelled it, or its time is over. */
export class EndWatch {
  /** Aborted then, and when the turn's own signal is. */
  readonly signal: AbortSignal;
  private readonly ended = new AbortController();
  private readonly timers: Timer[] = [];
  private isStopped = false;

  constructor(conversation: Conversation, log: ConversationLog, clock: Clock, signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.ended.signal]);
    const { id, length, limits } = conversation;
    this.timers.push(clock.after(afterMs, () => void this.watch(id, length, log)));
    const { deadlineMs } = limits;
    if (deadlineMs !== undefined)
      this.timers.push(clock.after(Math.max(0, deadlineMs - clock.nowMs()), () => this.ended.abort()));
  }

  /** The run has ended; what the turn has found does not count. */
  get hasEnded(): boolean {
    return this.ended.signal.aborted;
  }

  /** Rejects when the run ends, or the turn is lost here, whether or not who is at work looks at its signal. */
  race<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    const ended = new Promise<never>((_, reject) => {
      const abort = (): void => reject(signal.reason as Error);
      if (signal.aborted) abort();
      signal.addEventListener("abort", abort, { once: true });
    });
    // Who comes second has nobody to tell.
    work.catch(() => {});
    return Promise.race([work, ended]);
  }

  stop(): void {
    this.isStopped = true;
    for (const timer of this.timers) timer.cancel();
  }

  private async watch(id: string, seen: number, log: ConversationLog): Promise<void> {
    let last = seen;
    while (!this.isStopped && !this.hasEnded) {
      const changed = log.changed(id, lookAgainMs);
      // A state that cannot be read says so where it is needed.
      const entries = await log.entries(id, last).catch(() => []);
      last = entries.at(-1)?.sequence ?? last;
      if (entries.some(({ kind }) => kind === "done")) this.ended.abort();
      else await changed.catch(() => {});
    }
  }
}

/** Hot path of priority queues. Benchmark: priority in bench/. */
import { rankOf, ReadyMessages, type ReadyOrder } from "./ready-messages.ts";

/**
 * Ready messages by priority, which is their rank: the highest first, those of one priority in their order.
 * https://www.rabbitmq.com/docs/priority
 */
export class PriorityMessages implements ReadyOrder {
  /** By priority; made when the first message of that priority comes. */
  private readonly levels: (ReadyMessages | undefined)[] = [];
  /** No higher one has messages. */
  private highest = 0;
  count = 0;
  handle = 0;
  flags = 0;
  sequence = 0;
  timeMs = 0;

  push(handle: number, flags: number, sequence: number, timeMs: number): void {
    this.level(flags).push(handle, flags, sequence, timeMs);
    this.count++;
  }

  putBack(handle: number, flags: number, sequence: number, timeMs: number): void {
    this.level(flags).putBack(handle, flags, sequence, timeMs);
    this.count++;
  }

  shift(): void {
    const first = this.first();
    first.shift();
    this.count--;
    this.handle = first.handle;
    this.flags = first.flags;
    this.sequence = first.sequence;
    this.timeMs = first.timeMs;
  }

  headTimeMs(): number {
    return this.count === 0 ? 0 : this.first().headTimeMs();
  }

  forEach(visit: (handle: number, flags: number, sequence: number) => void): void {
    for (const level of this.levels) level?.forEach(visit);
  }

  private level(flags: number): ReadyMessages {
    const priority = rankOf(flags);
    if (priority > this.highest) this.highest = priority;
    return (this.levels[priority] ??= new ReadyMessages());
  }

  /** The highest level that has messages; there must be one. */
  private first(): ReadyMessages {
    for (;;) {
      const level = this.levels[this.highest];
      if (level !== undefined && level.count > 0) return level;
      this.highest--;
    }
  }
}

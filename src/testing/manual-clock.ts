import type { Clock, Timer } from "../base/index.ts";

interface Alarm {
  dueMs: number;
  readonly intervalMs: number | undefined;
  readonly callback: () => void;
}

/** A clock that stands still until {@link advance} moves it. It may begin where another one was. */
export class ManualClock implements Clock {
  private elapsedMs: number;
  private readonly alarms = new Set<Alarm>();

  constructor(startMs = 0) {
    this.elapsedMs = startMs;
  }

  nowMs(): number {
    return this.elapsedMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.set({ dueMs: this.elapsedMs + delayMs, intervalMs: undefined, callback });
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.set({ dueMs: this.elapsedMs + intervalMs, intervalMs, callback });
  }

  /** How many timers wait. */
  get pending(): number {
    return this.alarms.size;
  }

  /** Lets that much time pass; timers run in the order in which they are due. */
  advance(durationMs: number): void {
    const end = this.elapsedMs + durationMs;
    for (let alarm = this.nextDue(end); alarm; alarm = this.nextDue(end)) {
      this.elapsedMs = alarm.dueMs;
      if (alarm.intervalMs === undefined) this.alarms.delete(alarm);
      else alarm.dueMs += alarm.intervalMs;
      alarm.callback();
    }
    this.elapsedMs = end;
  }

  private set(alarm: Alarm): Timer {
    this.alarms.add(alarm);
    return { cancel: () => void this.alarms.delete(alarm) };
  }

  private nextDue(end: number): Alarm | undefined {
    let next: Alarm | undefined;
    for (const alarm of this.alarms) {
      if (alarm.dueMs <= end && (!next || alarm.dueMs < next.dueMs)) next = alarm;
    }
    return next;
  }
}

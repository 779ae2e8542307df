/** What must be true of messages that the broker itself moves from queue to queue, whatever its disk does. */
import type { SurvivingMessage } from "../../../src/broker/storage/index.ts";

export interface Task {
  readonly id: string;
  /** Where it was published to. */
  readonly source: string;
  readonly priority: number;
  /** When it must leave the delayed exchange, or expires in the queue `mortal`; 0 for neither. */
  readonly timeMs: number;
  isConfirmed: boolean;
  isSettled: boolean;
  /** Came back to the queue `limited` so often, and so often before the last commit that somebody waited for. */
  returns: number;
  durableReturns: number;
}

/** A task as it was found in a queue, or in the delayed exchange `later`. */
export interface FoundTask {
  readonly id: string;
  readonly where: string;
  readonly message: SurvivingMessage;
}

export const retryMs = 50;
export const mortalMs = 100;
export const mostDelayMs = 300;
export const mostPriority = 3;
export const deliveryLimit = 2;

export class Ledger {
  readonly findings: string[] = [];
  readonly tasks: Map<string, Task> = new Map();
  private nextId = 1;

  add(source: string, priority: number, timeMs: number): Task {
    const id = `task-${this.nextId++}`;
    const task = {
      id,
      source,
      priority,
      timeMs,
      isConfirmed: false,
      isSettled: false,
      returns: 0,
      durableReturns: 0,
    };
    this.tasks.set(id, task);
    return task;
  }

  /** Compares what a start has found with what there must be, and forgets what is not there. */
  judge(found: readonly FoundTask[], nowMs: number): void {
    const places = new Map<string, string[]>();
    for (const one of found) {
      this.judgeOne(one, nowMs);
      places.set(one.id, [...(places.get(one.id) ?? []), one.where]);
    }
    for (const task of this.tasks.values()) {
      const where = places.get(task.id) ?? [];
      if (where.length > 1) this.findings.push(`${task.id} is in several queues: ${where.join(" ")}`);
      if (where.length === 0 && task.isConfirmed && !task.isSettled) this.findings.push(`${task.id} is lost`);
      if (where.length === 0) this.tasks.delete(task.id);
    }
  }

  private judgeOne({ id, where, message }: FoundTask, nowMs: number): void {
    const task = this.tasks.get(id);
    if (!task)
      return void this.findings.push(`${id} in ${where} was never published, or is settled for good`);
    const { timeMs, note, deliveries } = message;
    const says = `${id} in ${where}`;
    const isFromFlaky = task.source === "flaky";
    if (where === "later" && isFromFlaky && !(timeMs > 0 && timeMs <= nowMs + mostDelayMs))
      this.findings.push(`${says} is due at ${timeMs}, and it is ${nowMs}`);
    if (where === "later" && !isFromFlaky && timeMs !== task.timeMs)
      this.findings.push(`${says} is due at ${timeMs}, not ${task.timeMs}`);
    if (where === "mortal" && timeMs !== task.timeMs)
      this.findings.push(`${says} expires at ${timeMs}, not ${task.timeMs}`);
    if (where === "retry" && !(timeMs > 0 && timeMs <= nowMs + retryMs))
      this.findings.push(`${says} expires at ${timeMs}, and it is ${nowMs}`);
    if (where === "work" && note !== Math.min(task.priority, mostPriority))
      this.findings.push(`${says} has priority ${note}, not ${task.priority}`);
    // A settlement that did not reach the disk is undone.
    task.isSettled = false;
    if (where !== "limited") return;
    if (deliveries < task.durableReturns || deliveries > task.returns)
      this.findings.push(
        `${says} came back ${deliveries} times, not ${task.durableReturns} to ${task.returns}`,
      );
    task.returns = deliveries;
    task.durableReturns = deliveries;
  }
}

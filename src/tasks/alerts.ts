import type { Clock, Logger } from "../base/index.ts";
import { readLetter, type DeadLetter } from "./dead-letters.ts";
import type { KnownQueues, QueueDefinition } from "./queue.ts";
import type { Transport } from "./transport.ts";

/** A reason (`expired`, `failed`, …), `*` for all, or whatever a letter must be like. */
export type AlertPattern = string | RegExp | ((letter: DeadLetter) => boolean);

export interface AlertOptions {
  /** More letters than this within the window. Default 0: each one. */
  readonly over?: number;
  /** Milliseconds. Default 60 000. */
  readonly window?: number;
}

export interface Alert {
  readonly pattern: AlertPattern;
  /** Letters in the window. */
  readonly count: number;
  /** The one that was too much. */
  readonly letter: DeadLetter;
}

interface Rule {
  readonly pattern: AlertPattern;
  readonly over: number;
  readonly windowMs: number;
  readonly notify: (alert: Alert) => void;
  /** When the letters of the window came. */
  times: number[];
}

/** Tells of tasks that die, as they die. It gets copies: the letters stay in their queue. */
export class Alerts {
  private readonly transport: Transport;
  private readonly queues: KnownQueues;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly rules: Rule[] = [];
  private readonly watched = new Map<string, Promise<void>>();

  constructor(parts: { transport: Transport; queues: KnownQueues; clock: Clock; log: Logger }) {
    this.transport = parts.transport;
    this.queues = parts.queues;
    this.clock = parts.clock;
    this.log = parts.log;
  }

  /**
   * Calls `notify`, by default with a line in the log, for letters that match. Resolves when the dead letters of all queues
   * that this bus knows are watched. `rejected` stands for everything that a worker has given up.
   */
  async on(
    pattern: AlertPattern,
    options: AlertOptions = {},
    notify: (alert: Alert) => void = this.logged,
  ): Promise<void> {
    const { over = 0, window = 60_000 } = options;
    this.rules.push({ pattern, over, windowMs: window, notify, times: [] });
    await this.watchAll();
  }

  /** Also those queues that the bus has met since. */
  async watchAll(): Promise<void> {
    if (this.rules.length === 0) return;
    await Promise.all(this.queues.all.map((queue) => this.watch(queue)));
  }

  private watch(queue: QueueDefinition): Promise<void> {
    const known = this.watched.get(queue.name);
    if (known) return known;
    const watching = this.beginWatching(queue);
    this.watched.set(queue.name, watching);
    watching.catch(() => this.watched.delete(queue.name));
    return watching;
  }

  private async beginWatching(queue: QueueDefinition): Promise<void> {
    await this.transport.declare(queue);
    await this.transport.watchDeadLetters(queue, (message) =>
      this.look(readLetter(message, this.transport.deathsOf(message), queue.name)),
    );
  }

  private look(letter: DeadLetter): void {
    const nowMs = this.clock.nowMs();
    for (const rule of this.rules) {
      if (!matches(rule.pattern, letter)) continue;
      rule.times = [...rule.times.filter((time) => time > nowMs - rule.windowMs), nowMs];
      const count = rule.times.length;
      if (count <= rule.over) continue;
      // The next alert is for as many again.
      if (rule.over > 0) rule.times = [];
      this.call(rule, { pattern: rule.pattern, count, letter });
    }
  }

  private call(rule: Rule, alert: Alert): void {
    try {
      rule.notify(alert);
    } catch (error) {
      this.log.error({ error: (error as Error).message }, "an alert's function has thrown");
    }
  }

  private readonly logged = ({ count, letter }: Alert): void => {
    const { taskId, type, reason, queue, attempts } = letter;
    this.log.warn({ taskId, taskType: type, reason, queue, attempts, count }, "dead letter");
  };
}

function matches(pattern: AlertPattern, letter: DeadLetter): boolean {
  if (typeof pattern === "function") return pattern(letter);
  if (pattern instanceof RegExp) return pattern.test(letter.reason);
  return pattern === "*" || pattern === letter.reason || letter.deaths[0]?.reason === pattern;
}

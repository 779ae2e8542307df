/** Hot path: `next` is asked for each message. Benchmark: T16, P1K in bench/. */

/** What a queue delivers to. */
export interface TurnTaker {
  /** Higher ones are served first, as long as they have credit. https://www.rabbitmq.com/docs/consumer-priority */
  readonly priority: number;
  /** Set here: this consumer had no credit when it was asked, and is not asked again before {@link ConsumerTurns.resume}. */
  parked: boolean;
  /** Whether another message may be sent to it now. */
  hasCredit(): boolean;
  /** Called when it is found without credit. */
  park(): void;
}

/** Consumers of one priority that may have credit, in the order of their turns. */
interface Level<T> {
  readonly priority: number;
  readonly active: T[];
  turn: number;
  /** Also those without credit, and those that wait to be activated. */
  members: number;
}

/** Whose turn it is among a queue's consumers: the highest priority first, round robin among equals. */
export class ConsumerTurns<T extends TurnTaker> {
  readonly all: Set<T> = new Set();
  /** Highest first. Mostly there is one. */
  private levels: Level<T>[] = [];
  /** The first of them. Read by itself, it keeps `next` small enough to be inlined. */
  private top: Level<T> = emptyLevel(0);

  /** The next consumer with credit. Those without are parked until they ask to be resumed. */
  next(): T | null {
    const { top } = this;
    const { active } = top;
    if (active.length === 1 && active[0].hasCredit()) {
      top.turn = 1;
      return active[0];
    }
    return this.takeTurn();
  }

  private takeTurn(): T | null {
    for (const level of this.levels) {
      const { active } = level;
      while (active.length > 0) {
        if (level.turn >= active.length) level.turn = 0;
        const consumer = active[level.turn];
        if (consumer.hasCredit()) {
          level.turn++;
          return consumer;
        }
        active.splice(level.turn, 1);
        consumer.parked = true;
        consumer.park();
      }
    }
    return null;
  }

  /** The consumer that {@link next} has just named was given nothing: it is its turn still. */
  giveBack(consumer: T): void {
    this.level(consumer.priority).turn--;
  }

  /** It takes part from now on, unless it `waits` for {@link activate}. */
  add(consumer: T, waits: boolean): void {
    this.all.add(consumer);
    this.level(consumer.priority).members++;
    if (!waits) this.activate(consumer);
  }

  activate(consumer: T): void {
    consumer.parked = false;
    this.level(consumer.priority).active.push(consumer);
  }

  /** False when it was not here. */
  remove(consumer: T): boolean {
    if (!this.all.delete(consumer)) return false;
    const level = this.level(consumer.priority);
    const at = level.active.indexOf(consumer);
    if (at >= 0) {
      level.active.splice(at, 1);
      if (at < level.turn) level.turn--;
    }
    // Clients may use very many priorities, one after the other.
    if (--level.members === 0) this.setLevels(this.levels.filter((other) => other !== level));
    return true;
  }

  /** A parked consumer has credit again; it takes its turn behind the others. False when it was not parked. */
  resume(consumer: T): boolean {
    if (!consumer.parked || !this.all.has(consumer)) return false;
    this.activate(consumer);
    return true;
  }

  clear(): T[] {
    const consumers = [...this.all];
    this.all.clear();
    this.setLevels([]);
    return consumers;
  }

  private level(priority: number): Level<T> {
    const found = this.levels.find((level) => level.priority === priority);
    if (found) return found;
    const level = emptyLevel<T>(priority);
    this.setLevels([...this.levels, level].toSorted((a, b) => b.priority - a.priority));
    return level;
  }

  private setLevels(levels: Level<T>[]): void {
    this.levels = levels;
    this.top = levels[0] ?? emptyLevel(0);
  }
}

function emptyLevel<T>(priority: number): Level<T> {
  return { priority, active: [], turn: 0, members: 0 };
}

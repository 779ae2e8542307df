import type { Clock, Timer } from "../base/index.ts";
import type { Broker } from "../broker/index.ts";
import {
  channelCounters,
  connectionCounters,
  exchangeCounters,
  queueCounters,
  vhostTotals,
  type Counters,
} from "./counters.ts";

/** RabbitMQ's `collect_statistics_interval`. */
const intervalMs = 5_000;

/** The counters of one thing at two times; the older one is what rates are counted from. */
interface Samples {
  older: Sample;
  newer: Sample;
}

interface Sample {
  atMs: number;
  counters: Counters;
}

/** Counters and, as `name_details`, their rates. */
export type Detailed = Record<string, number | { readonly rate: number }>;

/** Sums counters and rates by their names. */
export function summed(all: readonly Detailed[]): Detailed {
  const sums: Detailed = {};
  for (const detailed of all) {
    for (const [name, value] of Object.entries(detailed)) {
      const sum = sums[name];
      if (typeof value === "number") sums[name] = (typeof sum === "number" ? sum : 0) + value;
      else sums[name] = { rate: (typeof sum === "object" ? sum.rate : 0) + value.rate };
    }
  }
  return sums;
}

/**
 * How fast things go: the broker counts, and here its counters are read every few seconds. A rate is what has come since the
 * sample before the last, so that it is that of the last five to ten seconds.
 */
export class Rates {
  private readonly broker: Broker;
  private readonly clock: Clock;
  private readonly timer: Timer;
  private readonly samples = new WeakMap<object, Samples>();
  /** What had no sample then had not counted anything. */
  private olderMs: number;
  private newerMs: number;

  constructor(broker: Broker, clock: Clock) {
    this.broker = broker;
    this.clock = clock;
    this.olderMs = clock.nowMs();
    this.newerMs = this.olderMs;
    this.sample();
    this.timer = clock.every(intervalMs, () => this.sample());
  }

  stop(): void {
    this.timer.cancel();
  }

  /** The counters with the rate of each beside it, as `name_details`. */
  of(source: object, counters: Counters): Detailed {
    const older = this.samples.get(source)?.older ?? { atMs: this.olderMs, counters: {} };
    const seconds = (this.clock.nowMs() - older.atMs) / 1_000;
    const detailed: Detailed = {};
    for (const [name, count] of Object.entries(counters)) {
      const grown = count - (older.counters[name] ?? 0);
      detailed[name] = count;
      detailed[`${name}_details`] = { rate: seconds > 0 ? grown / seconds : 0 };
    }
    return detailed;
  }

  private sample(): void {
    const { inspection } = this.broker;
    this.olderMs = this.newerMs;
    this.newerMs = this.clock.nowMs();
    this.take(inspection.churn, { ...inspection.churn });
    for (const vhost of inspection.vhosts) {
      this.take(vhost, vhostTotals(vhost, inspection.connections));
      this.take(vhost.defaultTraffic, exchangeCounters(vhost.defaultTraffic));
      for (const { traffic } of vhost.allExchanges) this.take(traffic, exchangeCounters(traffic));
      for (const queue of vhost.allQueues) this.take(queue, queueCounters(queue));
    }
    for (const connection of inspection.connections) {
      this.take(connection, connectionCounters(connection));
      for (const channel of connection.allChannels) this.take(channel, channelCounters(channel));
    }
  }

  private take(source: object, counters: Counters): void {
    const sample = { atMs: this.newerMs, counters };
    const before = this.samples.get(source);
    if (before) {
      before.older = before.newer;
      before.newer = sample;
      return;
    }
    if (Object.values(counters).every((count) => count === 0)) return;
    // Counted since the sample before, or since the start.
    const isFirst = this.olderMs === this.newerMs;
    const older = isFirst ? sample : { atMs: this.olderMs, counters: {} };
    this.samples.set(source, { older, newer: sample });
  }
}

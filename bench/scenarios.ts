import type { LoadPlan, Role } from "./load/plan.ts";
import type { Measurement } from "./measure.ts";

export interface Scenario {
  name: string;
  about: string;
  plan: Omit<LoadPlan, "port">;
  /** Messages put into the queues before the measured run. */
  backlog?: number;
  /** Takes so long that one round must do. */
  once?: boolean;
  /** Runs only when it is named. */
  extra?: boolean;
  metrics: Metric[];
}

interface Metric {
  /** Follows the scenario's name in the table; empty where there is one metric only. */
  label: string;
  unit: "messages/s" | "ms";
  of(measurement: Measurement): number | undefined;
}

export interface Pace {
  warmUpMs: number;
  durationMs: number;
  drainMessages: number;
  kindMessages: number;
}

export const fullPace: Pace = {
  warmUpMs: 1000,
  durationMs: 2000,
  drainMessages: 500_000,
  kindMessages: 1_000_000,
};
export const quickPace: Pace = {
  warmUpMs: 500,
  durationMs: 1000,
  drainMessages: 50_000,
  kindMessages: 100_000,
};

const delivered: Metric = { label: "", unit: "messages/s", of: (measured) => measured.deliveredPerSecond };
const published: Metric = { label: "", unit: "messages/s", of: (measured) => measured.publishedPerSecond };

const filledAndDrained: Metric[] = [
  { label: "published", unit: "messages/s", of: (measured) => measured.backlogPublishedPerSecond },
  { label: "consumed", unit: "messages/s", of: (measured) => measured.deliveredPerSecond },
];

const latencies: Metric[] = [
  { label: "confirm p50", unit: "ms", of: (measured) => measured.confirmLatency?.p50Ms },
  { label: "confirm p99", unit: "ms", of: (measured) => measured.confirmLatency?.p99Ms },
  { label: "end to end p50", unit: "ms", of: (measured) => measured.endToEndLatency?.p50Ms },
  { label: "end to end p99", unit: "ms", of: (measured) => measured.endToEndLatency?.p99Ms },
];

/** The scenarios in the order they run. T is transient, P is persistent; the number is the body's size. */
export function scenarios(pace: Pace): Scenario[] {
  const { warmUpMs, durationMs, drainMessages, kindMessages } = pace;
  const window = { warmUpMs, durationMs };
  const transient: Scenario["plan"] = {
    queues: queueNames(1),
    roles: ["consumer", "publisher"],
    bodyBytes: 16,
    persistent: false,
    durable: false,
    confirmWindow: 0,
    autoAck: true,
    prefetch: 0,
    ackEvery: 0,
    ratePerSecond: 0,
    length: window,
  };
  const durable: Scenario["plan"] = {
    ...transient,
    bodyBytes: 1024,
    persistent: true,
    durable: true,
    confirmWindow: 1000,
    autoAck: false,
    prefetch: 200,
    ackEvery: 50,
  };
  return [
    { name: "T16", about: "16 B transient, auto-ack", plan: transient, metrics: [delivered] },
    {
      name: "T16x10",
      about: "the same over 10 queues",
      plan: { ...transient, queues: queueNames(10) },
      metrics: [delivered],
    },
    {
      name: "T1K",
      about: "1 KiB transient, auto-ack",
      plan: { ...transient, bodyBytes: 1024 },
      metrics: [delivered],
    },
    {
      name: "P1K",
      about: "1 KiB durable, confirm window 1000, prefetch 200, ack every 50",
      plan: durable,
      metrics: [delivered],
    },
    {
      name: "P1Kx10",
      about: "the same over 10 queues",
      plan: { ...durable, queues: queueNames(10) },
      metrics: [delivered],
    },
    {
      name: "publish-only",
      about: "1 KiB durable, confirm window 1000, into a growing backlog",
      plan: { ...durable, roles: ["publisher"] },
      metrics: [published],
    },
    {
      name: "latency",
      about: "1 KiB durable at 2000/s, counted from the time a message was due",
      plan: { ...durable, ratePerSecond: 2000 },
      metrics: latencies,
    },
    {
      name: "drain",
      about: `consume a backlog of ${drainMessages} × 1 KiB durable, prefetch 200, ack every 50`,
      plan: { ...durable, roles: ["consumer"], length: { messages: drainMessages } },
      backlog: drainMessages,
      once: true,
      metrics: [delivered],
    },
    ...(["plain", "priority", "ttl", "delayed"] as const).map((kind) => ({
      name: `1M-${kind}`,
      about: `publish ${kindMessages} × 1 KiB durable into a ${kind} queue, then consume them as in drain`,
      plan: { ...durable, kind, roles: ["consumer"] as Role[], length: { messages: kindMessages } },
      backlog: kindMessages,
      once: true,
      extra: true,
      metrics: filledAndDrained,
    })),
  ];
}

function queueNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `bench-${i}`);
}

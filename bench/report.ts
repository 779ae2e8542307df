import type { ContestantName } from "./contestants.ts";
import type { MachineFacts } from "./machine.ts";
import type { Measurement } from "./measure.ts";
import type { Scenario } from "./scenarios.ts";

/** Everything a benchmark found; what the JSON file holds. */
export interface Report {
  machine: MachineFacts;
  warrenInMemory: boolean;
  brokers: BrokerReport[];
  scenarios: ScenarioReport[];
}

export interface BrokerReport {
  name: ContestantName;
  version: string;
  startMs: number[];
  idleRssBytes: number[];
}

export interface ScenarioReport {
  name: string;
  about: string;
  rows: Row[];
  runs: Run[];
}

export interface Run {
  broker: ContestantName;
  round: number;
  /** Absent when the run failed. */
  measurement?: Measurement;
  failure?: string;
}

/** One line of the table; the values are medians over the rounds. */
export interface Row {
  label: string;
  unit: string;
  warren: number | undefined;
  rabbitmq: number | undefined;
  /** Warren / RabbitMQ. */
  ratio: number | undefined;
}

export function scenarioReport(scenario: Scenario, runs: Run[]): ScenarioReport {
  const rows = scenario.metrics.map((metric) => {
    const median = (broker: ContestantName): number | undefined =>
      medianOf(runs, broker, (each) => metric.of(each));
    return row(`${scenario.name} ${metric.label}`.trim(), metric.unit, median("warren"), median("rabbitmq"));
  });
  return { name: scenario.name, about: scenario.about, rows, runs };
}

/** Start and idle memory, as rows like the others. */
export function brokerRows(brokers: BrokerReport[]): Row[] {
  const median = (name: ContestantName, of: (broker: BrokerReport) => number[]): number | undefined => {
    const broker = brokers.find((each) => each.name === name);
    return broker && medianValue(of(broker));
  };
  const both = (label: string, unit: string, of: (broker: BrokerReport) => number[]): Row =>
    row(label, unit, median("warren", of), median("rabbitmq", of));
  return [
    both("start to listening", "ms", (broker) => broker.startMs),
    both("idle RSS", "MiB", (broker) => broker.idleRssBytes.map((bytes) => bytes / 2 ** 20)),
  ];
}

/** The median of one reading over a broker's runs that did not fail. */
export function medianOf(
  runs: Run[],
  broker: ContestantName,
  reading: (measurement: Measurement) => number | undefined,
): number | undefined {
  const values = runs
    .filter((run) => run.broker === broker)
    .map((run) => run.measurement && reading(run.measurement))
    .filter((value) => value !== undefined);
  return medianValue(values);
}

function row(label: string, unit: string, warren: number | undefined, rabbitmq: number | undefined): Row {
  return { label, unit, warren, rabbitmq, ratio: warren && rabbitmq ? warren / rabbitmq : undefined };
}

export function medianValue(values: number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

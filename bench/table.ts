import { brokerRows, medianOf, type Report, type Row, type ScenarioReport } from "./report.ts";

const HEADINGS = ["scenario", "warren", "rabbitmq", "ratio", "cores W / R", "RSS MiB W / R", "generator"];
const GENERATOR_LIMIT = 0.85;

/** The report for a terminal: facts, an aligned table, and what to know when reading it. */
export function formatReport(report: Report): string {
  const lines = [
    HEADINGS,
    ...report.scenarios.flatMap((scenario) => scenario.rows.map((row, i) => scenarioCells(scenario, row, i))),
    ...brokerRows(report.brokers).map((row) => [...valueCells(row), "", "", ""]),
  ];
  return [...facts(report), "", ...align(lines), "", ...notes(report)].join("\n");
}

function facts({ machine, brokers, warrenInMemory }: Report): string[] {
  const memoryGib = Math.round(machine.memoryBytes / 2 ** 30);
  const names = brokers.map(({ name, version }) => `${name} ${version}`).join(", ");
  return [
    `${machine.date}  ${machine.cores} cores, ${machine.cpuModel}, ${memoryGib} GiB, ${machine.platform}`,
    `Node ${machine.node}, ${names}${warrenInMemory ? " (Warren in memory: nothing is synced to disk)" : ""}`,
  ];
}

function scenarioCells({ runs }: ScenarioReport, row: Row, index: number): string[] {
  if (index > 0) return [...valueCells(row), "", "", ""];
  const pair = (of: Parameters<typeof medianOf>[2], digits: number): string =>
    (["warren", "rabbitmq"] as const).map((broker) => fixed(medianOf(runs, broker, of), digits)).join(" / ");
  const generator = Math.max(...runs.map((run) => run.measurement?.generatorCore ?? 0));
  return [
    ...valueCells(row),
    pair((measured) => measured.brokerCores, 2),
    pair((measured) => measured.brokerRssBytes && measured.brokerRssBytes / 2 ** 20, 0),
    `${Math.round(generator * 100)}%${generator > GENERATOR_LIMIT ? " (!)" : ""}`,
  ];
}

function valueCells(row: Row): string[] {
  const ratio = row.ratio === undefined ? "–" : `${short(row.ratio)}×`;
  return [row.label, quantity(row.warren, row.unit), quantity(row.rabbitmq, row.unit), ratio];
}

function quantity(value: number | undefined, unit: string): string {
  if (value === undefined) return "–";
  if (unit !== "messages/s") return `${short(value)} ${unit}`;
  return value >= 1e6 ? `${short(value / 1e6)} M/s` : `${short(value / 1e3)} k/s`;
}

function notes({ scenarios, machine }: Report): string[] {
  const limited = scenarios.some(({ runs }) =>
    runs.some((run) => (run.measurement?.generatorCore ?? 0) > GENERATOR_LIMIT),
  );
  const failures = scenarios.flatMap(({ name, runs }) =>
    runs
      .filter((run) => run.failure !== undefined)
      .map((run) => `Failed: ${name} on ${run.broker}, round ${run.round}: ${run.failure}`),
  );
  return [
    "Medians over the rounds, messages per second. cores: CPU time of the broker; generator: its busiest process, share of a core.",
    ...(limited
      ? ["(!) the generator was near its own limit: the broker may do more than the row says."]
      : []),
    ...(machine.dataInMemory ? ["The brokers' data was on tmpfs: syncing to disk cost nothing."] : []),
    ...failures,
  ];
}

/** Three significant digits where that is enough, none after the point from 100 on. */
function short(number: number): string {
  return number >= 100 ? number.toFixed(0) : number.toPrecision(3);
}

function fixed(number: number | undefined, digits: number): string {
  return number === undefined ? "–" : number.toFixed(digits);
}

/** First column to the left, the others to the right. */
function align(lines: string[][]): string[] {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((cells) => cells[column].length)));
  return lines.map((cells) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("   ")
      .trimEnd(),
  );
}

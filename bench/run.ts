// The benchmark: Warren beside RabbitMQ on this machine, scenario by scenario in alternation. See docs/benchmarks.md.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startContestant, unavailable, type Contestant, type ContestantName } from "./contestants.ts";
import { machineFacts } from "./machine.ts";
import { measure, quiet } from "./measure.ts";
import { scenarioReport, type BrokerReport, type Report, type Run } from "./report.ts";
import { fullPace, quickPace, scenarios, type Scenario } from "./scenarios.ts";
import { formatReport } from "./table.ts";

const LATEST_RESULTS = fileURLToPath(new URL("results/latest.json", import.meta.url));

const HELP = `npm run bench -- [options]
  --scenario NAME   only this one; may be repeated. 1M-plain, 1M-priority, 1M-ttl and 1M-delayed run only when named
  --rounds N        3
  --quick           one short round and a smaller backlog
  --only BROKER     warren or rabbitmq
  --memory          Warren without a disk
  --budget SECONDS  240: rounds after the first leave out what no longer fits
  --json FILE       where the figures go, bench/results/latest.json`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    scenario: { type: "string", multiple: true },
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    memory: { type: "boolean", default: false },
    budget: { type: "string", default: "240" },
    json: { type: "string", default: LATEST_RESULTS },
  },
});

if (values.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const chosen = chooseScenarios();
  const names = chooseContestants();
  // So that the brokers, our children, are ended too.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

  const report = await benchmark(chosen, names, Number(values.rounds ?? (values.quick ? 1 : 3)));
  console.log(`\n${formatReport(report)}`);
  mkdirSync(dirname(values.json), { recursive: true });
  writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
}

function chooseScenarios(): Scenario[] {
  const all = scenarios(values.quick ? quickPace : fullPace);
  const unknown = values.scenario?.find((name) => !all.some((scenario) => scenario.name === name));
  if (unknown)
    throw new Error(`no scenario '${unknown}'; there are ${all.map(({ name }) => name).join(", ")}`);
  return all.filter(({ name, extra }) => values.scenario?.includes(name) ?? !extra);
}

function chooseContestants(): ContestantName[] {
  const names = (["warren", "rabbitmq"] as const).filter((name) => (values.only ?? name) === name);
  if (names.length === 0) throw new Error(`--only takes warren or rabbitmq, not '${values.only}'`);
  return names.filter((name) => {
    const reason = unavailable(name);
    if (reason && (name === "warren" || values.only)) throw new Error(`${name} is ${reason}`);
    if (reason) console.log(`${name} is ${reason}: Warren runs alone.`);
    return !reason;
  });
}

async function benchmark(chosen: Scenario[], names: ContestantName[], rounds: number): Promise<Report> {
  const brokers = new Map<ContestantName, BrokerReport>();
  const runs = new Map<Scenario, Run[]>(chosen.map((scenario) => [scenario, []]));
  const tookMs = new Map<Scenario, number>();
  const budgetMs = Number(values.budget) * 1000;

  for (let round = 1; round <= rounds; round += 1) {
    const due = chosen.filter((scenario) => round === 1 || (!scenario.once && fits(scenario)));
    if (due.length === 0) break;
    const contestants: Contestant[] = [];
    try {
      for (const name of names) contestants.push(await startContestant(name, { inMemory: values.memory }));
      for (const contestant of contestants) noteStart(brokers, contestant);
      for (const scenario of due) {
        if (round > 1 && !fits(scenario)) continue;
        const beginMs = performance.now();
        for (const contestant of contestants)
          runs.get(scenario)!.push(await run(scenario, contestant, round));
        tookMs.set(scenario, performance.now() - beginMs);
        await quiet(contestants);
      }
    } finally {
      await Promise.all(contestants.map((contestant) => contestant.stop()));
    }
  }
  return {
    machine: machineFacts(),
    warrenInMemory: values.memory,
    brokers: [...brokers.values()],
    scenarios: chosen.map((scenario) => scenarioReport(scenario, runs.get(scenario)!)),
  };

  function fits(scenario: Scenario): boolean {
    return performance.now() + (tookMs.get(scenario) ?? 0) <= budgetMs;
  }
}

/** A run that fails (the broker closed a connection, refused, hung) is a finding too: it is noted and the rest goes on. */
async function run(scenario: Scenario, contestant: Contestant, round: number): Promise<Run> {
  const broker = contestant.name;
  try {
    const measurement = await measure(scenario, contestant);
    const [metric] = scenario.metrics;
    console.log(
      `round ${round}  ${scenario.name}  ${broker}  ${metric.of(measurement)?.toPrecision(3)} ${metric.unit}`,
    );
    return { broker, round, measurement };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    console.log(`round ${round}  ${scenario.name}  ${broker}  failed: ${failure}`);
    return { broker, round, failure };
  }
}

function noteStart(brokers: Map<ContestantName, BrokerReport>, contestant: Contestant): void {
  const { name, version, startMs, idleRssBytes } = contestant;
  const report = brokers.get(name) ?? { name, version, startMs: [], idleRssBytes: [] };
  report.startMs.push(startMs);
  if (idleRssBytes !== undefined) report.idleRssBytes.push(idleRssBytes);
  brokers.set(name, report);
}

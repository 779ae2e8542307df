// Is this version slower than an earlier one? Builds the earlier one and runs both in alternation. See docs/benchmarks.md.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startContestant } from "./contestants.ts";
import { measure } from "./measure.ts";
import { medianValue } from "./report.ts";
import { fullPace, scenarios, type Scenario } from "./scenarios.ts";

const HELP = `node bench/compare.ts --before COMMIT [options]     (npm run build first)
  --scenario NAME   T16; may be repeated
  --pairs N         5
  --memory          both without a disk
  --in-process      messages per second of CPU time, generator and broker in one process: for small differences`;

const root = fileURLToPath(new URL("..", import.meta.url));

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    before: { type: "string" },
    scenario: { type: "string", multiple: true, default: ["T16"] },
    pairs: { type: "string", default: "5" },
    memory: { type: "boolean", default: false },
    "in-process": { type: "boolean", default: false },
  },
});

if (values.help || values.before === undefined) console.log(HELP);
else await compare(values.before);

async function compare(commit: string): Promise<void> {
  const earlier = buildEarlier(commit);
  try {
    for (const name of values.scenario) {
      const scenario = scenarios(fullPace).find((known) => known.name === name);
      if (!scenario) throw new Error(`no scenario '${name}'`);
      await comparePairs(scenario, earlier.program);
    }
  } finally {
    earlier.remove();
  }
}

async function comparePairs(scenario: Scenario, earlierProgram: string): Promise<void> {
  const before: number[] = [];
  const now: number[] = [];
  for (let pair = 1; pair <= Number(values.pairs); pair += 1) {
    // Every other pair begins with the other one, so that neither always runs on a machine that the first has warmed.
    const order = [earlierProgram, undefined];
    for (const program of pair % 2 === 0 ? order.toReversed() : order) {
      (program ? before : now).push(await measureOnce(scenario, program));
    }
    console.log(
      `${scenario.name}  pair ${pair}  before ${format(before.at(-1)!)}  now ${format(now.at(-1)!)}`,
    );
  }
  const ratio = medianValue(now)! / medianValue(before)!;
  const unit = values["in-process"] ? "messages per CPU second" : scenario.metrics[0].unit;
  console.log(
    `${scenario.name}  medians: before ${format(medianValue(before)!)}, now ${format(medianValue(now)!)} ${unit}, now ÷ before ${ratio.toFixed(3)}`,
  );
}

async function measureOnce(scenario: Scenario, program: string | undefined): Promise<number> {
  if (values["in-process"]) return measureInProcess(scenario, program ?? join(root, "dist/cli/main.js"));
  const contestant = await startContestant("warren", { inMemory: values.memory, program });
  try {
    return scenario.metrics[0].of(await measure(scenario, contestant)) ?? Number.NaN;
  } finally {
    await contestant.stop();
  }
}

function measureInProcess(scenario: Scenario, program: string): number {
  const script = fileURLToPath(new URL("in-process.ts", import.meta.url));
  const build = dirname(dirname(program));
  return Number(execFileSync(process.execPath, [script, build, scenario.name], { encoding: "utf8" }));
}

/** Checks the commit out beside this one and builds it with this one's tools. */
function buildEarlier(commit: string): { program: string; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), "warren-before-"));
  const git = (...args: string[]): void => void execFileSync("git", args, { cwd: root, stdio: "pipe" });
  const remove = (): void => {
    git("worktree", "remove", "--force", directory);
    rmSync(directory, { recursive: true, force: true });
  };
  git("worktree", "add", "--detach", directory, commit);
  try {
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
    execFileSync("tsc", ["-p", "tsconfig.build.json"], { cwd: directory, stdio: "inherit" });
  } catch (error) {
    remove();
    throw error;
  }
  return { program: join(directory, "dist/cli/main.js"), remove };
}

function format(value: number): string {
  return value.toPrecision(4);
}

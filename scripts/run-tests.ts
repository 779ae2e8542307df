/**
 * `npm test`: types, lint, format, unused code, the package's shape, then all tests but the long ones of test/durability and
 * test/full; arguments go to Vitest, and with any only Vitest runs. The last line says `N passed, N failed`, where each check
 * counts like a test.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const checks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ["types", "tsc", "--noEmit"],
  ["lint", "oxlint", "--type-aware", "--deny-warnings"],
  ["format", "oxfmt", "--check"],
  ["unused code", "knip"],
  ["package", "publint", "--strict"],
];

interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
}

const vitestArguments = process.argv.slice(2);
const failedChecks = vitestArguments.length > 0 ? [] : checks.filter((check) => !succeeds(check));
const checksRun = vitestArguments.length > 0 ? 0 : checks.length;
const allButLongOnes = ["--exclude", "test/durability/**", "--exclude", "test/full/**"];
const tests = runVitest(vitestArguments.length > 0 ? vitestArguments : allButLongOnes);

for (const [name] of failedChecks) console.log(`failed: ${name}`);
const passed = tests.passed + checksRun - failedChecks.length;
const failed = tests.failed + failedChecks.length;
console.log(`${passed} passed, ${failed} failed${tests.skipped > 0 ? `, ${tests.skipped} skipped` : ""}`);
process.exitCode = failed > 0 ? 1 : 0;

function succeeds([name, command, ...args]: readonly [string, string, ...string[]]): boolean {
  console.log(`> ${name}: ${command} ${args.join(" ")}`);
  return spawnSync(command, args, { stdio: "inherit" }).status === 0;
}

function runVitest(args: readonly string[]): Outcome {
  const directory = mkdtempSync(join(tmpdir(), "warren-tests-"));
  const report = join(directory, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const { status } = spawnSync("vitest", ["run", ...reporters, ...args], { stdio: "inherit" });
    return readReport(report, status === 0);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function readReport(file: string, vitestSucceeded: boolean): Outcome {
  let report: Record<string, number>;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as Record<string, number>;
  } catch {
    // The run ended before it could report anything: a set-up failed, and said why above.
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const failedTests = report["numFailedTests"];
  return {
    passed: report["numPassedTests"],
    // A suite that cannot be loaded, or an error outside any test, fails no test but the run.
    failed: failedTests === 0 && !vitestSucceeded ? 1 : failedTests,
    skipped: report["numPendingTests"] + report["numTodoTests"],
  };
}

import { Command } from "commander";
import { checkDataDirectory, repairDataDirectory, type DataDirectoryReport } from "../broker/index.ts";

/** `warren check-data`: explains a data directory, and repairs it. */
export function addCheckDataCommand(program: Command): void {
  program
    .command("check-data")
    .description("Say what a data directory holds and whether it is sound. No broker may be using it.")
    .argument("<directory>", "the data directory, as given to warren serve --data")
    .option("--repair", "if it is damaged, keep what can be read; the old files stay, called .broken", false)
    .option("--json", "print JSON", false)
    .addHelpText("after", "\nExit status: 0 sound (or repaired), 1 damaged or not to be read.")
    .action(async (directory: string, options: { repair: boolean; json: boolean }) => {
      try {
        await checkData(directory, options);
      } catch (error) {
        process.stderr.write(`${(error as Error).message}\n`);
        process.exitCode = 1;
      }
    });
}

async function checkData(directory: string, options: { repair: boolean; json: boolean }): Promise<void> {
  const report = await checkDataDirectory(directory);
  const isDamaged = report.damage.length > 0;
  const repaired = isDamaged && options.repair ? await repairDataDirectory(directory) : undefined;
  if (isDamaged && !repaired) process.exitCode = 1;
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ ...report, repaired }, undefined, 2)}\n`);
    return;
  }
  process.stdout.write(describe(directory, report));
  if (repaired) {
    const lost =
      repaired.incomplete > 0 ? `, lost ${repaired.incomplete} that could be read in part only` : "";
    process.stdout.write(
      `\nRepaired: kept ${repaired.messages} messages${lost}. Messages that were settled may be delivered again.\n` +
        `The old files are kept: ${repaired.kept.join(", ")}\n`,
    );
  } else if (isDamaged) {
    process.stdout.write(`\nTo go on with what can be read: warren check-data ${directory} --repair\n`);
  }
}

function describe(directory: string, report: DataDirectoryReport): string {
  const { exchanges, queues, bindings, messages, segments, lastCommit, damage, leftovers } = report;
  const inLog = segments.filter(({ isInLog }) => isInLog);
  const lines = [
    directory,
    `  ${exchanges} exchanges, ${queues} queues, ${bindings} bindings`,
    `  ${messages} messages in ${inLog.length} segments, up to commit ${lastCommit}; ${segments.length - inLog.length} free segments`,
    ...inLog.map(
      ({ file, generation, messages: live, usedBytes }) =>
        `    ${file}  segment ${generation} of the log, ${usedBytes} bytes used, ${live} messages`,
    ),
    report.wasStoppedInOrder
      ? "  stopped in order"
      : "  not stopped in order: all messages will count as redelivered",
    ...leftovers.map((leftover) => `  will be cut off at the next start: ${leftover}`),
    damage.length === 0 ? "Sound." : "DAMAGED:",
    ...damage.map((what) => `  ${what}`),
  ];
  return `${lines.join("\n")}\n`;
}

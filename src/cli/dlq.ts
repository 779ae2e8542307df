import type { Command } from "commander";
import type { Bus, DeadLetter, DeadLetters, LetterFilter } from "../tasks/index.ts";
import { addBusOptions, parseJson, wholeNumber, withBus, type BusFlags } from "./bus-options.ts";
import { formatTable, formatTime } from "./table.ts";

/** `warren dlq list|show|redrive|discard`: the dead letters of a queue of tasks. */
export function addDlqCommand(program: Command): void {
  const dlq = program.command("dlq").description("Dead letters: tasks that were given up.");
  const command = (name: string, description: string): Command =>
    addBusOptions(dlq.command(`${name} <queue>`))
      .description(description)
      .option("--dead-letter-queue <name>", "where they are, if not in <queue>.dead")
      .option("--reason <reason>", "expired, failed, fatal, invalid, …")
      .option("--type <type>", "of this type only")
      .option("--id <id>", "this task only")
      .option("--since <time>", "died at this time or later, as 2026-01-31T12:00 or milliseconds");

  command("list", "The letters, the oldest first.")
    .option("--limit <number>", "at most", wholeNumber, 100)
    .action(async (queue: string, flags: DlqFlags) => {
      await withBus(flags, async (bus) => {
        const letters = await lettersOf(bus, queue, flags).browse({ ...filterOf(flags), limit: flags.limit });
        if (flags.json) for (const letter of letters) console.log(JSON.stringify(letter));
        else console.log(formatLetters(letters));
      });
    });

  command("show", "Letters with all that is known of them.")
    .option("--limit <number>", "at most", wholeNumber, 1)
    .action(async (queue: string, flags: DlqFlags) => {
      await withBus(flags, async (bus) => {
        for (const letter of await lettersOf(bus, queue, flags).browse({
          ...filterOf(flags),
          limit: flags.limit,
        }))
          console.log(JSON.stringify(letter, null, flags.json ? 0 : 2));
      });
    });

  command("redrive", "Send letters to their queue again, as if they had never been tried.")
    .option("--limit <number>", "at most", wholeNumber)
    .option("--rate <number>", "letters per second at most", wholeNumber)
    .option("--set <json>", "an object whose fields replace those of each payload")
    .action(async (queue: string, flags: DlqFlags & { rate?: number; set?: string }) => {
      await withBus(flags, async (bus) => {
        const letters = lettersOf(bus, queue, flags);
        const bar = progressBar(await letters.count());
        const fields = flags.set === undefined ? undefined : parseFields(flags.set);
        const count = await letters.redrive({
          ...filterOf(flags),
          limit: flags.limit,
          rate: flags.rate,
          patch: fields && ((payload) => ({ ...(payload as object), ...fields })),
          onProgress: bar,
        });
        console.log(flags.json ? JSON.stringify({ redriven: count }) : `${count} sent again`);
      });
    });

  command("discard", "Remove letters for good.")
    .option("--limit <number>", "at most", wholeNumber)
    .option("--all", "also when no filter is given")
    .action(async (queue: string, flags: DlqFlags & { all?: boolean }) => {
      await withBus(flags, async (bus) => {
        const filter = filterOf(flags);
        if (
          !flags.all &&
          flags.limit === undefined &&
          filter.since === undefined &&
          Object.keys(filter.where!).length === 0
        )
          throw new Error(
            "this would discard all letters: say which (--reason, --type, --id, --since, --limit), or --all",
          );
        const count = await lettersOf(bus, queue, flags).discard({ ...filter, limit: flags.limit });
        console.log(flags.json ? JSON.stringify({ discarded: count }) : `${count} discarded`);
      });
    });
}

interface DlqFlags extends BusFlags {
  deadLetterQueue?: string;
  reason?: string;
  type?: string;
  id?: string;
  since?: string;
  limit?: number;
}

function lettersOf(bus: Bus, name: string, { deadLetterQueue }: DlqFlags): DeadLetters {
  if (deadLetterQueue === undefined) return bus.deadLetters(name);
  return bus.deadLetters({ name, queue: { name, deadLetter: { queue: deadLetterQueue } } });
}

function parseFields(text: string): object {
  const fields = parseJson(text, "--set");
  if (typeof fields === "object" && fields !== null && !Array.isArray(fields)) return fields;
  throw new Error(`--set takes a JSON object, such as '{"to":"me"}', and not ${text}`);
}

function filterOf({ reason, type, id, since }: DlqFlags): {
  where?: Exclude<LetterFilter["where"], Function>;
  since?: Date;
} {
  const where = {
    ...(reason !== undefined && { reason }),
    ...(type !== undefined && { type }),
    ...(id !== undefined && { taskId: id }),
  };
  return { where, since: since === undefined ? undefined : parseTime(since) };
}

function parseTime(text: string): Date {
  const time = new Date(/^\d+$/.test(text) ? Number(text) : text);
  if (Number.isNaN(time.getTime())) throw new Error(`'${text}' is no time; one is 2026-01-31T12:00`);
  return time;
}

function formatLetters(letters: readonly DeadLetter[]): string {
  return formatTable(
    ["id", "type", "reason", "queue", "attempts", "died", "last error"],
    letters.map(({ taskId, type, reason, queue, attempts, diedAtMs, errors }) => [
      taskId,
      type,
      reason,
      queue,
      attempts,
      formatTime(diedAtMs),
      errors.at(-1)?.message,
    ]),
  );
}

const barWidth = 30;

/** Drawn on a terminal only: a file of bars helps nobody. */
function progressBar(total: number): ((done: number) => void) | undefined {
  if (!process.stderr.isTTY || total === 0) return undefined;
  return (done) => {
    const filled = Math.round((Math.min(done, total) / total) * barWidth);
    process.stderr.write(`\r${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${done}/${total}`);
    if (done === total) process.stderr.write("\n");
  };
}

import { InvalidArgumentError, Option, type Command } from "commander";
import { createLogger } from "../base/index.ts";
import type { Bus, ConnectOptions } from "../tasks/index.ts";

/** What all commands about tasks take. */
export interface BusFlags {
  url: string;
  state?: string;
  queueType: "classic" | "quorum";
  json?: boolean;
}

export function addBusOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--url <url>", "amqp://…, amqps://… or embedded:DIR")
        .env("WARREN_URL")
        .default("amqp://guest:guest@localhost:5672"),
    )
    .addOption(
      new Option("--state <url>", "postgres://… or sqlite:FILE, as the workers have it").env("WARREN_STATE"),
    )
    .addOption(
      new Option("--queue-type <type>", "of the queues on a RabbitMQ")
        .choices(["classic", "quorum"])
        .env("WARREN_QUEUE_TYPE")
        .default("classic"),
    )
    .option("--json", "print JSON, one value a line");
}

/** For options: `--limit many` is refused, where `Number` would make NaN of it. */
export function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

/** JSON that somebody has typed. @throws Error that says where it came from and how to quote it */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(
      `${what} is no JSON: ${(error as Error).message}. Quote it for the shell: '{"to":"me"}'`,
      { cause: error },
    );
  }
}

/** Runs a command with a bus that is closed afterwards. What goes wrong is told as {@link tellingFailure} does. */
export async function withBus(
  flags: BusFlags,
  action: (bus: Bus) => Promise<void>,
  options: ConnectOptions = {},
): Promise<void> {
  await tellingFailure(async () => {
    const { url, state, queueType } = flags;
    const logger = options.logger ?? (await createLogger("silent"));
    // Loaded only now: `warren serve` need not wait for it.
    const { connect } = await import("../tasks/index.ts");
    await using bus = await connect(url, { state, queueType, logger, ...options });
    await action(bus);
  });
}

/** What goes wrong is said in a line, with exit code 1. */
export async function tellingFailure(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

import { Option, type Command } from "commander";
import type { Job, QueueReport } from "../tasks/index.ts";
import { addBusOptions, parseJson, wholeNumber, withBus, type BusFlags } from "./bus-options.ts";
import { formatDuration, formatTable, formatTime } from "./table.ts";

/** `warren tasks send|status|result|cancel|list`. */
export function addTasksCommand(program: Command): void {
  const tasks = program.command("tasks").description("Send tasks and look at them.");

  addBusOptions(tasks.command("send <type> [payload]"))
    .description("Send a task, its payload as JSON, and print its id when the broker has confirmed it.")
    .option("--queue <name>", "the queue that carries it", "tasks")
    .option("--priority <number>", "the highest first", wholeNumber)
    .option("--delay <ms>", "not before so many milliseconds", wholeNumber)
    .option("--ttl <ms>", "how long it may wait for a worker", wholeNumber)
    .option("--id <id>", "instead of a random one")
    .option("--wait", "wait for its result, and print that too")
    .action(async (type: string, payload: string | undefined, flags: SendFlags) => {
      await withBus(flags, async (bus) => {
        const { defineTask } = await import("../tasks/index.ts");
        const task = defineTask(type, { queue: flags.queue, ttl: flags.ttl });
        const input = payload === undefined ? {} : parseJson(payload, "the payload");
        const { priority, delay, id, wait = false } = flags;
        const job = await bus.send(task, input, { priority, delay, id, result: wait });
        console.log(flags.json ? JSON.stringify({ id: job.id }) : job.id);
        if (wait) await printResult(job);
      });
    });

  addBusOptions(tasks.command("status [queues...]"))
    .description("How queues of tasks are.")
    .action(async (queues: string[], flags: BusFlags) => {
      await withBus(flags, async (bus) => {
        print(flags, await bus.status(queues.length > 0 ? queues : ["tasks"]), formatReports);
      });
    });

  addBusOptions(tasks.command("result <id>"))
    .description("Wait for a task's result and print it as JSON.")
    .option("--timeout <ms>", "how long to wait", wholeNumber)
    .action(async (id: string, flags: BusFlags & { timeout?: number }) => {
      await withBus(flags, async (bus) => {
        const job = bus.job(id);
        try {
          await printResult(job, flags.timeout);
        } catch (error) {
          if ((error as Error).name !== "TimeoutError") throw error;
          const { phase } = await job.state();
          const known =
            phase === "queued" ? "no worker has begun it, or there is no such task" : `it is ${phase}`;
          throw new Error(`no result of ${id} after ${flags.timeout} ms: ${known}`, { cause: error });
        }
      });
    });

  addBusOptions(tasks.command("cancel <id>"))
    .description("Cancel a task: it does not begin, or its handler is told.")
    .action(async (id: string, flags: BusFlags) => {
      await withBus(flags, async (bus) => {
        if (!(await bus.job(id).cancel())) throw new Error(`task ${id} had ended before`);
        console.log(flags.json ? JSON.stringify({ id, phase: "cancelled" }) : `${id} cancelled`);
      });
    });

  addBusOptions(tasks.command("list"))
    .description(
      "Tasks that workers have begun, the latest first. What waits is counted by `warren tasks status`.",
    )
    .addOption(
      new Option("--phase <phase>", "of this phase only").choices([
        "active",
        "retrying",
        "completed",
        "dead",
        "cancelled",
      ]),
    )
    .option("--type <type>", "of this type only")
    .option("--queue <name>", "of this queue only")
    .option("--limit <number>", "at most", wholeNumber, 50)
    .action(async (flags: BusFlags & ListFlags) => {
      await withBus(flags, async (bus) => {
        const { phase, type, queue, limit } = flags;
        print(flags, await bus.list({ phase, type, queue, limit }), (rows) =>
          formatTable(
            ["id", "type", "queue", "phase", "attempt", "started", "error"],
            rows.map((row) => [
              row.id,
              row.type,
              row.queue,
              row.phase,
              row.attempt,
              formatTime(row.startedAtMs),
              row.failure?.message,
            ]),
          ),
        );
      });
    });
}

interface SendFlags extends BusFlags {
  queue: string;
  priority?: number;
  delay?: number;
  ttl?: number;
  id?: string;
  wait?: boolean;
}

interface ListFlags {
  phase?: "active" | "retrying" | "completed" | "dead" | "cancelled";
  type?: string;
  queue?: string;
  limit: number;
}

/** What a handler has not returned is null: `undefined` is no JSON. */
async function printResult(job: Job<unknown>, timeout?: number): Promise<void> {
  console.log(JSON.stringify((await job.result({ timeout })) ?? null));
}

function formatReports(reports: QueueReport[]): string {
  return formatTable(
    ["queue", "ready", "unacked", "consumers", "done/s", "oldest", "dead"],
    reports.map(({ queue, ready, unacked, consumers, ratePerSecond, oldestAgeMs, dead }) => [
      queue,
      ready,
      unacked,
      consumers,
      ratePerSecond?.toFixed(1),
      formatDuration(oldestAgeMs),
      dead,
    ]),
  );
}

function print<T>({ json }: BusFlags, rows: T[], format: (rows: T[]) => string): void {
  if (!json) console.log(format(rows));
  else for (const row of rows) console.log(JSON.stringify(row));
}

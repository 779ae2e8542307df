import type { Command } from "commander";
import { createLogger, type LogLevel } from "../base/index.ts";
import type { Bus, Worker } from "../tasks/index.ts";
import { loadDefault } from "./load-default.ts";
import { addBusOptions, tellingFailure, wholeNumber, withBus, type BusFlags } from "./bus-options.ts";

/** What the file given to `warren worker` exports as its default. */
type SetUp = (worker: Worker, bus: Bus) => unknown;

/** `warren worker ./handlers.ts`. */
export function addWorkerCommand(program: Command): void {
  addBusOptions(program.command("worker <file>"))
    .description("Run the handlers of a file: `export default (worker) => worker.on(task, handler)`.")
    .option("--concurrency <number>", "tasks at a time", wholeNumber, 10)
    .option("--drain-timeout <ms>", "how long handlers may go on after SIGTERM", wholeNumber, 30_000)
    .option("--log-level <level>", "debug, info, warn, error, silent", "info")
    .action(async (file: string, flags: WorkerFlags) => {
      await tellingFailure(async () => {
        // A file that is none is said before anything is connected to.
        const setUp = await loadDefault<SetUp>(file, "(worker) => worker.on(task, handler)");
        const logger = await createLogger(flags.logLevel);
        await withBus(flags, (bus) => run(bus, setUp, flags), { logger });
      });
    });
}

interface WorkerFlags extends BusFlags {
  concurrency: number;
  drainTimeout: number;
  logLevel: LogLevel;
}

async function run(bus: Bus, setUp: SetUp, { concurrency, drainTimeout }: WorkerFlags): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.resolve());
  await using worker = bus.worker({ concurrency, drainTimeout, stopOnSignals: false });
  await setUp(worker, bus);
  await worker.start();
  process.stderr.write(`working on ${worker.tasks.join(", ")}; Ctrl+C finishes what has begun, then stops\n`);
  await stopped.promise;
}

/** Programs that send or do tasks, as processes of their own: test/tasks/programs. */
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { SenderSettings, WorkerSettings } from "../tasks/programs/work.ts";
import { spawnProgram, type Program } from "./program.ts";

/** A process with workers; killed when the test ends, if it still runs. */
export function startWorkers(settings: WorkerSettings): Program {
  return startTaskProgram(new URL("../tasks/programs/worker.ts", import.meta.url), settings);
}

/** A process that sends; killed when the test ends, if it still runs. */
export function startSender(settings: SenderSettings): Program {
  return startTaskProgram(new URL("../tasks/programs/sender.ts", import.meta.url), settings);
}

/** Runs a program with its settings as JSON; killed when the test ends, if it still runs. */
export function startTaskProgram(url: URL, settings: object): Program {
  const file = fileURLToPath(url);
  const program = spawnProgram(undefined, {
    name: basename(file),
    command: process.execPath,
    args: [file, JSON.stringify(settings)],
    // Half of the time that a process takes to start is compiling.
    environment: { NODE_COMPILE_CACHE: join(tmpdir(), "warren-test-compile-cache") },
  });
  onTestFinished(() => program.kill());
  return program;
}

/** The command `warren`, as people and scripts run it. */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const program: string = join(import.meta.dirname, "../../dist/cli/main.js");

export const environment: Readonly<Record<string, string | undefined>> = {
  PATH: process.env["PATH"],
  // Half of the time that a command takes is compiling.
  NODE_COMPILE_CACHE: join(tmpdir(), "warren-test-compile-cache"),
};

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs it to its end; `input` is what it is told on standard input. */
export function runCommand(
  args: readonly string[],
  where: Readonly<Record<string, string>>,
  input?: string,
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const child = execFile(
    process.execPath,
    [program, ...args],
    { env: { ...environment, ...where } },
    (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  if (input !== undefined) child.stdin!.end(input);
  return promise;
}

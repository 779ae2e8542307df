/** Processes that open the same data directory. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { EmbeddedRole } from "../../../src/tasks/embedded/index.ts";

interface Told {
  readonly role?: EmbeddedRole;
  readonly error?: string;
  readonly fields?: object;
  readonly blocked?: boolean;
}

/** A process that takes part; see participant-program.ts. */
export interface Participant {
  readonly pid: number;
  /** What it is since it has said so last. */
  readonly role: EmbeddedRole;
  /** What it has logged as errors. */
  readonly errors: readonly Told[];
  /** Resolves when it says that it is this, after a role that it has now: a role that it gains anew. */
  becomes(role: EmbeddedRole): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when it has ended, with its exit code, or undefined when a signal ended it. */
  readonly ended: Promise<number | undefined>;
  /** Keeps its thread busy; resolves when that begins, with what resolves when it is over. */
  block(blockMs: number): Promise<{ over: Promise<void> }>;
}

/** Resolves when the process is serving or attached. It is killed when the test ends. */
export async function startParticipant(dataDir: string): Promise<Participant> {
  const program = fileURLToPath(import.meta.resolve("./participant-program.ts"));
  const child = fork(program, [dataDir], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // What these tests take is mostly the start of processes and threads, and half of that is compiling.
    env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "warren-test-compile-cache") },
  });
  const ended = once(child, "exit").then(([code]) => (code ?? undefined) as number | undefined);
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const errors: Told[] = [];
  let role: EmbeddedRole | undefined;
  child.on("message", (told: Told) => {
    if (told.error !== undefined) errors.push(told);
    if (told.role !== undefined) role = told.role;
  });
  const told = (isIt: (told: Told) => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (message: Told): void => {
        if (!isIt(message)) return;
        child.off("message", look);
        resolve();
      };
      child.on("message", look);
      void ended.then((code) => reject(new Error(`the process has ended with ${code}`)));
    });
  await told((message) => message.role !== undefined);
  return {
    pid: child.pid!,
    get role() {
      return role!;
    },
    errors,
    becomes: (wanted) => told((message) => message.role === wanted),
    signal: (signal) => void child.kill(signal),
    ended,
    async block(blockMs) {
      const begins = told((message) => message.blocked === true);
      const over = told((message) => message.blocked === false);
      child.send({ blockMs });
      await begins;
      return { over };
    },
  };
}

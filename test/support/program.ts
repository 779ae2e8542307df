/**
 * Runs one of the programs beside the interop tests as a process of its own. The programs say what
 * happens to them as lines of JSON: `{"event": "received", "body": "…"}`.
 */

import { spawn } from "node:child_process";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { BrokerAddress } from "./brokers.ts";
import { python } from "./peers.ts";

interface ProgramEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface Program {
  readonly pid: number | undefined;
  /** The program's next event of this name that was not taken before. */
  next(event: string): Promise<ProgramEvent>;
  /** The next `count` events of this name, in their order. */
  take(event: string, count: number): Promise<ProgramEvent[]>;
  /** Events of this name that came and were not taken. */
  untaken(event: string): ProgramEvent[];
  /** Writes a line to the program's standard input. */
  say(line: string): void;
  /** Resolves when the program has ended, with its exit code or the signal that has ended it. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Resolves when the program has ended well, with exit code 0. */
  finished(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Asks the program to end (SIGTERM) and waits until it has ended well. */
  stop(): Promise<void>;
  /** Ends the program as a crash would (SIGKILL), giving it no time to close its connection. */
  kill(): Promise<void>;
}

/** A program that is not simply a file for an interpreter. */
export interface ProgramOptions {
  /** What the errors call it. */
  name: string;
  command: string;
  args: readonly string[];
  environment?: Record<string, string>;
  /** In a process group of its own, so that what it has started itself is killed with it. */
  withChildren?: boolean;
}

interface Waiter {
  event: string;
  resolve: (event: ProgramEvent) => void;
  reject: (reason: Error) => void;
}

const eventTimeoutMs = 15_000;

const interpreters: Record<string, string> = { ".py": python, ".rb": "ruby", ".php": "php" };

/** The path of a file or folder in test/interop. */
export function interopPath(file: string): string {
  return fileURLToPath(new URL(`../interop/${file}`, import.meta.url));
}

/** Starts `test/interop/<file>`; it is killed when the test ends, if it still runs. */
export function startProgram(broker: BrokerAddress, file: string, ...args: string[]): Program {
  const command = interpreters[extname(file)];
  const program = spawnProgram(broker, { name: file, command, args: [interopPath(file), ...args] });
  onTestFinished(() => program.kill());
  return program;
}

/** Starts a program that whoever starts it must end. Without a broker it is told of one in another way, or needs none. */
export function spawnProgram(broker: BrokerAddress | undefined, options: ProgramOptions): Program {
  const { name: programName, command, args, environment, withChildren = false } = options;
  const child = spawn(command, args, {
    detached: withChildren,
    env: {
      PATH: process.env["PATH"],
      LANG: "C.UTF-8",
      ...(broker && {
        BROKER_HOST: broker.host,
        BROKER_PORT: String(broker.port),
        BROKER_VHOST: broker.vhost,
        BROKER_USERNAME: broker.username,
        BROKER_PASSWORD: broker.password,
        BROKER_URL: broker.url,
      }),
      PYTHONDONTWRITEBYTECODE: "1",
      ...environment,
    },
  });
  const untaken: ProgramEvent[] = [];
  const waiters: Waiter[] = [];
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A program that ended cannot read what it is told.
  child.stdin.on("error", () => {});

  child.on("error", (error) => (stderr += error.message));

  let hasEnded = false;
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => {
      hasEnded = true;
      resolve({ code, signal });
    });
  });
  const whyItEnded = async (): Promise<Error> => {
    const { code, signal } = await ended;
    return new Error(`${programName} ended with ${signal ?? `exit code ${code}`}. ${stderr}`);
  };

  createInterface({ input: child.stdout }).on("line", (line) => {
    // Some clients talk on standard output themselves.
    if (!line.startsWith("{")) {
      stderr += `${line}\n`;
      return;
    }
    const event: ProgramEvent = JSON.parse(line);
    const index = waiters.findIndex((waiter) => waiter.event === event.event);
    if (index === -1) untaken.push(event);
    else waiters.splice(index, 1)[0].resolve(event);
  });
  void whyItEnded().then((reason) => waiters.splice(0).forEach((waiter) => waiter.reject(reason)));

  const next = async (name: string): Promise<ProgramEvent> => {
    const index = untaken.findIndex((event) => event.event === name);
    if (index !== -1) return untaken.splice(index, 1)[0];
    if (hasEnded) throw await whyItEnded();

    const { promise, resolve, reject } = Promise.withResolvers<ProgramEvent>();
    waiters.push({ event: name, resolve, reject });
    const timer = setTimeout(() => {
      const others = untaken.map((event) => JSON.stringify(event)).join("\n");
      reject(
        new Error(`${programName} reported no "${name}" in ${eventTimeoutMs} ms, but\n${others}\n${stderr}`),
      );
    }, eventTimeoutMs);
    return promise.finally(() => clearTimeout(timer));
  };

  const program: Program = {
    pid: child.pid,
    next,
    async take(name, count) {
      const events: ProgramEvent[] = [];
      while (events.length < count) events.push(await next(name));
      return events;
    },
    untaken: (name) => untaken.filter((event) => event.event === name),
    say: (line) => void child.stdin.write(`${line}\n`),
    ended,
    signal: (signal) => void child.kill(signal),
    async finished() {
      const { code } = await ended;
      if (code !== 0) throw await whyItEnded();
    },
    async stop() {
      child.stdin.end();
      child.kill("SIGTERM");
      await program.finished();
    },
    async kill() {
      if (!hasEnded && withChildren && child.pid) process.kill(-child.pid, "SIGKILL");
      else child.kill("SIGKILL");
      await ended;
    },
  };
  return program;
}

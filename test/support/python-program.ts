/**
 * Runs one of the Python programs beside the interop tests as a process of its own. The programs say
 * what happens to them as lines of JSON: `{"event": "received", "body": "…"}`.
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import type { BrokerUnderTest } from "./brokers.ts";
import { python } from "./peers.ts";

interface ProgramEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface PythonProgram {
  /** The program's next event of this name that was not taken before. */
  next(event: string): Promise<ProgramEvent>;
  /** The next `count` events of this name, in their order. */
  take(event: string, count: number): Promise<ProgramEvent[]>;
  /** Events of this name that came and were not taken. */
  untaken(event: string): ProgramEvent[];
  /** Writes a line to the program's standard input. */
  say(line: string): void;
  /** Resolves when the program has ended well, with exit code 0. */
  finished(): Promise<void>;
  /** Asks the program to end (SIGTERM) and waits until it has ended well. */
  stop(): Promise<void>;
  /** Ends the program as a crash would (SIGKILL), giving it no time to close its connection. */
  kill(): Promise<void>;
}

interface Waiter {
  event: string;
  resolve: (event: ProgramEvent) => void;
  reject: (reason: Error) => void;
}

const eventTimeoutMs = 15_000;

/** Starts `test/interop/pika/<file>`; it is killed when the test ends, if it still runs. */
export function startProgram(broker: BrokerUnderTest, file: string, ...args: string[]): PythonProgram {
  const path = fileURLToPath(new URL(`../interop/pika/${file}`, import.meta.url));
  const child = spawn(python, [path, ...args], {
    env: {
      BROKER_HOST: broker.host,
      BROKER_PORT: String(broker.port),
      BROKER_VHOST: broker.vhost,
      BROKER_USERNAME: broker.username,
      BROKER_PASSWORD: broker.password,
      PYTHONDONTWRITEBYTECODE: "1",
    },
  });
  const untaken: ProgramEvent[] = [];
  const waiters: Waiter[] = [];
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A program that ended cannot read what it is told.
  child.stdin.on("error", () => {});

  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const whyItEnded = async (): Promise<Error> => {
    const { code, signal } = await ended;
    return new Error(`${file} ended with ${signal ?? `exit code ${code}`}. ${stderr}`);
  };

  createInterface({ input: child.stdout }).on("line", (line) => {
    const event: ProgramEvent = JSON.parse(line);
    const index = waiters.findIndex((waiter) => waiter.event === event.event);
    if (index === -1) untaken.push(event);
    else waiters.splice(index, 1)[0].resolve(event);
  });
  void whyItEnded().then((reason) => waiters.splice(0).forEach((waiter) => waiter.reject(reason)));

  const next = async (name: string): Promise<ProgramEvent> => {
    const index = untaken.findIndex((event) => event.event === name);
    if (index !== -1) return untaken.splice(index, 1)[0];
    if (child.exitCode !== null || child.signalCode !== null) throw await whyItEnded();

    const { promise, resolve, reject } = Promise.withResolvers<ProgramEvent>();
    waiters.push({ event: name, resolve, reject });
    const timer = setTimeout(() => {
      const others = untaken.map((event) => JSON.stringify(event)).join("\n");
      reject(new Error(`${file} reported no "${name}" in ${eventTimeoutMs} ms, but\n${others}\n${stderr}`));
    }, eventTimeoutMs);
    return promise.finally(() => clearTimeout(timer));
  };

  const program: PythonProgram = {
    next,
    async take(name, count) {
      const events: ProgramEvent[] = [];
      while (events.length < count) events.push(await next(name));
      return events;
    },
    untaken: (name) => untaken.filter((event) => event.event === name),
    say: (line) => void child.stdin.write(`${line}\n`),
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
      child.kill("SIGKILL");
      await ended;
    },
  };
  onTestFinished(() => program.kill());
  return program;
}

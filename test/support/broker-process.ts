import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { BrokerOptions, BrokerUsage } from "../../src/broker/index.ts";

/** A broker in another process, so that its memory and its death can be seen from outside. */
export interface BrokerProcess {
  readonly port: number;
  /** What it has logged as errors: each is a bug of the broker's. */
  readonly errors: readonly string[];
  /** Its standard error and how it ended; empty while it is well. */
  complaint(): string;
  usage(): Promise<BrokerUsage>;
  /** Memory that it has from the system, from /proc. */
  residentBytes(): number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Stops it in order, with SIGTERM. */
  stop(): Promise<void>;
}

interface Message {
  port?: number;
  usage?: BrokerUsage;
  error?: string;
}

/** Starts a broker that ends with the test. */
export async function startBrokerProcess(options: BrokerOptions = {}): Promise<BrokerProcess> {
  const broker = await forkBroker(options);
  onTestFinished(() => broker.kill());
  return broker;
}

/** Starts a broker that whoever starts it must end. */
export async function forkBroker(options: BrokerOptions = {}): Promise<BrokerProcess> {
  const program = fileURLToPath(import.meta.resolve("./broker-program.ts"));
  const child = fork(program, [JSON.stringify(options)], { silent: true });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  };
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const errors: string[] = [];
  const asked: ((usage: BrokerUsage) => void)[] = [];
  child.on("message", ({ usage, error }: Message) => {
    if (usage) asked.shift()?.(usage);
    if (error) errors.push(error);
  });
  const started = once(child, "message") as Promise<[Message]>;
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the broker did not start: exit ${code} ${stderr}`);
  });
  const [{ port }] = await Promise.race([started, ended]);
  ended.catch(() => {});
  return {
    port: port!,
    errors,
    complaint: () => (child.connected ? stderr : `${stderr}exit ${child.exitCode} ${child.signalCode}`),
    usage: () =>
      new Promise((resolve, reject) => {
        asked.push(resolve);
        child.send("usage", (error) => error && reject(error));
      }),
    residentBytes: () => {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
    },
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}

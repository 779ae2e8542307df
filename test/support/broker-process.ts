import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { BrokerUsage } from "../../src/broker/index.ts";

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
}

interface Message {
  port?: number;
  usage?: BrokerUsage;
  error?: string;
}

/** Starts a broker that ends with the test. */
export async function startBrokerProcess(): Promise<BrokerProcess> {
  const child = fork(fileURLToPath(import.meta.resolve("./broker-program.ts")), { silent: true });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const errors: string[] = [];
  const asked: ((usage: BrokerUsage) => void)[] = [];
  child.on("message", ({ usage, error }: Message) => {
    if (usage) asked.shift()?.(usage);
    if (error) errors.push(error);
  });
  const [{ port }] = (await once(child, "message")) as [Message];
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
  };
}

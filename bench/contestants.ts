import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { answersHandshake } from "../test/support/handshake.ts";
import { findRabbitmqServer } from "../test/support/peers.ts";
import { startRabbitmq } from "../test/support/rabbitmq.ts";
import { LoadConnection } from "./load/connection.ts";
import { processUsage } from "./process-usage.ts";

export type ContestantName = "warren" | "rabbitmq";

/** A broker of its own for the benchmark, as a process, on loopback. */
export interface Contestant {
  name: ContestantName;
  version: string;
  port: number;
  pid: number;
  /** From spawn until it answers an AMQP handshake. */
  startMs: number;
  idleRssBytes: number | undefined;
  stop(): Promise<void>;
}

export interface WarrenOptions {
  inMemory: boolean;
  /** Another build's `dist/cli/main.js`. */
  program?: string;
}

const WARREN_PROGRAM = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const HOST = "127.0.0.1";
const START_TIMEOUT_MS = 15_000;
const SETTLE_MS = 1000; // what a broker still does after its first answer is part of neither start nor idle memory

/** Why a broker cannot take part here; undefined when it can. */
export function unavailable(name: ContestantName): string | undefined {
  if (name === "warren")
    return existsSync(WARREN_PROGRAM) ? undefined : "not built: run `npm run build` first";
  return findRabbitmqServer() ? undefined : "not installed";
}

export async function startContestant(name: ContestantName, options: WarrenOptions): Promise<Contestant> {
  const beginMs = performance.now();
  const started = name === "warren" ? await startWarren(options) : await startRabbitmq();
  const startMs = performance.now() - beginMs;
  await sleep(SETTLE_MS);
  const { port, pid } = started;
  const idleRssBytes = processUsage(pid)?.rssBytes;
  return { name, version: await serverVersion(port), port, pid, startMs, idleRssBytes, stop: started.stop };
}

interface Started {
  port: number;
  pid: number;
  stop(): Promise<void>;
}

async function startWarren(options: WarrenOptions): Promise<Started> {
  const [port, httpPort] = await freePorts(2);
  const directory = mkdtempSync(join(tmpdir(), "warren-bench-"));
  const logFile = join(directory, "server.log");
  const log = openSync(logFile, "a");
  const flags = ["--port", String(port), "--http-port", String(httpPort), "--host", HOST];
  if (options.inMemory) flags.push("--memory");
  // In a directory of its own, since by default that is where the data goes.
  const child = spawn(process.execPath, [options.program ?? WARREN_PROGRAM, "serve", ...flags], {
    cwd: directory,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const discard = (): void => {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once("exit", discard); // for a benchmark that is interrupted
  const stop = async (): Promise<void> => {
    process.off("exit", discard);
    const ended = child.exitCode !== null || child.signalCode !== null;
    const exit = ended ? undefined : once(child, "exit");
    discard();
    await exit;
  };

  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!(await answersHandshake(HOST, port))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      const reason = `Warren did not start:\n${readFileSync(logFile, "utf8").slice(-2000)}`;
      await stop();
      throw new Error(reason);
    }
    await sleep(5);
  }
  return { port, pid: child.pid!, stop };
}

async function serverVersion(port: number): Promise<string> {
  const connection = await LoadConnection.open(port);
  connection.close();
  return connection.serverVersion;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, HOST));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map(portOf);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

/** A private Postgres: its own directory and port, on this machine only, and nothing left behind. */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { findOnPath, findPostgresProgram } from "./peers.ts";
import { findFreePorts } from "./ports.ts";

export interface RunningPostgres {
  /** With the user postgres, who needs no password. */
  readonly url: string;
  /** Stops the server at once, as a crash does, and starts it again with what is on disk. */
  crashAndRestart(): Promise<void>;
  /** Ends the server and removes its files. Stopping twice is fine. */
  stop(): Promise<void>;
}

const host = "127.0.0.1";
const startTimeoutMs = 60_000;
const pollIntervalMs = 50;

/**
 * Starts a Postgres and resolves once it answers.
 *
 * @throws Error with the server's log when it does not start.
 */
export async function startPostgres(): Promise<RunningPostgres> {
  const program = findPostgresProgram("postgres");
  const initdb = findPostgresProgram("initdb");
  if (!program || !initdb) {
    throw new Error("no Postgres on this machine: run `node scripts/setup-test-peers.ts`");
  }
  const [port] = await findFreePorts(1);
  const directory = mkdtempSync(join(tmpdir(), "warren-postgres-"));
  const data = join(directory, "data");
  const logFile = join(directory, "server.log");
  const url = `postgres://postgres@${host}:${port}/postgres`;
  const user = await unprivilegedUser();
  if (user) chownSync(directory, user.uid, user.gid);

  let server: ChildProcess | undefined;
  const kill = (signal: NodeJS.Signals): void => void server?.kill(signal);
  // SIGQUIT: at once, with all of its processes, as after a loss of power.
  const killAtExit = (): void => kill("SIGQUIT");
  process.once("exit", killAtExit);
  const end = async (): Promise<void> => {
    if (!server || !isRunning(server)) return;
    const exit = once(server, "exit");
    kill("SIGQUIT");
    await exit;
  };
  const start = async (): Promise<void> => {
    const [command, ...rest] = [...endWithParent(user), program, "-D", data, ...settings(directory, port)];
    const log = openSync(logFile, "a");
    server = spawn(command, rest, { cwd: directory, stdio: ["ignore", log, log] });
    closeSync(log);
    // A program that cannot be run says so here and has no pid; waitForStart reports it.
    server.on("error", (error) => appendFileSync(logFile, `${program}: ${error.message}\n`));
    await waitForStart(url, server, logFile);
  };
  const stop = async (): Promise<void> => {
    process.off("exit", killAtExit);
    await end();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };

  try {
    const arguments_ = ["-D", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"];
    await promisify(execFile)(initdb, [...arguments_, "--locale=C.UTF-8"], { cwd: directory, ...user });
    await start();
    return {
      url,
      async crashAndRestart() {
        await end();
        await start();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Postgres refuses to run as root; Debian's package makes a user for it. */
async function unprivilegedUser(): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = async (flag: string): Promise<number> =>
    Number((await promisify(execFile)("id", [flag, "postgres"])).stdout);
  return { uid: await idOf("-u"), gid: await idOf("-g") };
}

function settings(directory: string, port: number): string[] {
  const values = {
    listen_addresses: host,
    port: String(port),
    unix_socket_directories: directory,
    fsync: "on",
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/**
 * Where Linux can do it, the kernel ends the server even when the tests themselves are killed. Changing the user takes the
 * signal back (prctl(2)), so that setpriv has to do both, in that order.
 */
function endWithParent(user: User | undefined): string[] {
  const setpriv = process.platform === "linux" ? findOnPath("setpriv") : undefined;
  if (setpriv === undefined) {
    if (user) throw new Error("running Postgres as root needs setpriv, of the package util-linux");
    return [];
  }
  const change = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"] : [];
  return [setpriv, ...change, "--pdeathsig", "QUIT"];
}

async function waitForStart(url: string, server: ChildProcess, logFile: string): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (!(await answers(url))) {
    const hasEnded = !isRunning(server);
    if (hasEnded || Date.now() > deadline) {
      const what = hasEnded ? "ended too early" : `did not start in ${startTimeoutMs / 1000} s`;
      throw new Error(`Postgres ${what}. From its log:\n${readFileSync(logFile, "utf8")}`);
    }
    await delay(pollIntervalMs);
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

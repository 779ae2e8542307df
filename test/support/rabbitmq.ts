/**
 * A private RabbitMQ: its own directory, cookie, node name, ports and port mapper (epmd), so that it
 * neither meets nor disturbs another one on this machine, and leaves nothing behind.
 */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { answersHandshake } from "./handshake.ts";
import { findOnPath, findRabbitmqServer } from "./peers.ts";
import { findFreePorts } from "./ports.ts";

export interface RunningRabbitmq {
  /** With the user guest, who may connect from this machine only. */
  readonly url: string;
  readonly port: number;
  /** Where its management plugin answers; undefined without it. */
  readonly managementUrl: string | undefined;
  /** The process that does the work (`beam.smp`), for readings from /proc. */
  readonly pid: number;
  /** What a `rabbitmqctl` needs to find this server. */
  readonly environment: Readonly<Record<string, string>>;
  /** Stops the server in order and starts it again with what it has kept, on the same port. */
  restart(): Promise<void>;
  /** Runs `rabbitmqctl` with these arguments. */
  control(...arguments_: string[]): Promise<void>;
  /** Ends the server at once and removes its files. Stopping twice is fine. */
  stop(): Promise<void>;
}

export const host = "127.0.0.1";
const startTimeoutMs = 60_000;
const pollIntervalMs = 50;

/**
 * Starts a RabbitMQ, with its management plugin if that is asked for, and resolves once it answers an AMQP handshake.
 *
 * @throws Error with what the server's log complains of when it does not start.
 */
export async function startRabbitmq({
  withManagement = false,
}: { withManagement?: boolean } = {}): Promise<RunningRabbitmq> {
  const serverScript = findRabbitmqServer();
  const epmdProgram = findOnPath("epmd");
  if (!serverScript || !epmdProgram) {
    throw new Error("no RabbitMQ server on this machine: run `node scripts/setup-test-peers.ts`");
  }

  const [port, distributionPort, epmdPort, freePort] = await findFreePorts(4);
  const managementPort = withManagement ? freePort : undefined;
  const directory = mkdtempSync(join(tmpdir(), "warren-rabbitmq-"));
  const logFile = join(directory, "server.log");
  let processes: ChildProcess[] = [];

  // SIGKILL: the data is thrown away, so there is nothing to shut down in order.
  const killAll = (): void => processes.forEach((child) => child.kill("SIGKILL"));
  process.once("exit", killAll);
  const stop = async (): Promise<void> => {
    process.off("exit", killAll);
    const exits = processes.filter(isRunning).map((child) => once(child, "exit"));
    killAll();
    await Promise.all(exits);
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };

  try {
    const environment = serverEnvironment(directory, { port, distributionPort, epmdPort, managementPort });
    const start = (program: string, arguments_: string[]): ChildProcess => {
      const [command, ...rest] = [...endWithParent(), program, ...arguments_];
      const log = openSync(logFile, "a");
      const child = spawn(command, rest, { env: environment, stdio: ["ignore", log, log] });
      closeSync(log);
      // A program that cannot be run says so here and has no pid; waitForStart reports it.
      child.on("error", (error) => appendFileSync(logFile, `${program}: ${error.message}\n`));
      processes.push(child);
      return child;
    };
    // In the foreground, as our child: left to itself the Erlang machine starts one that outlives it.
    const epmd = start(epmdProgram, ["-port", String(epmdPort), "-address", host]);
    let server = start(serverScript, []);
    await waitForStart(port, [epmd, server], logFile);
    const restart = async (): Promise<void> => {
      server.kill("SIGTERM");
      await once(server, "exit");
      processes = [epmd];
      server = start(serverScript, []);
      await waitForStart(port, [epmd, server], logFile);
    };
    const control = async (...arguments_: string[]): Promise<void> => {
      const script = join(dirname(serverScript), "rabbitmqctl");
      await promisify(execFile)(script, ["--quiet", ...arguments_], { env: environment });
    };
    return {
      url: `amqp://guest:guest@${host}:${port}`,
      port,
      managementUrl: managementPort === undefined ? undefined : `http://${host}:${managementPort}`,
      get pid() {
        return server.pid!;
      },
      environment,
      restart,
      control,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Where Linux can do it, the kernel ends the servers even when the tests themselves are killed. */
export function endWithParent(): string[] {
  const setpriv = process.platform === "linux" ? findOnPath("setpriv") : undefined;
  return setpriv ? [setpriv, "--pdeathsig", "KILL"] : [];
}

export interface Ports {
  port: number;
  distributionPort: number;
  epmdPort: number;
  /** Of the management plugin, which is enabled then. */
  managementPort?: number;
}

/** `home` is where the Erlang cookie is, or is made: nodes of a cluster have it in common. */
export function serverEnvironment(
  directory: string,
  ports: Ports,
  home: string = directory,
): Record<string, string> {
  const configFile = join(directory, "rabbitmq.conf");
  writeFileSync(
    configFile,
    [
      `listeners.tcp.default = ${host}:${ports.port}`,
      "loopback_users.guest = true",
      // A nearly full disk must not block the publishers of a test.
      "disk_free_limit.absolute = 1MB",
      ...(ports.managementPort === undefined ? [] : managementSettings(ports.managementPort)),
      "",
    ].join("\n"),
  );
  const pluginsFile = join(directory, "enabled_plugins");
  writeFileSync(pluginsFile, ports.managementPort === undefined ? "[].\n" : "[rabbitmq_management].\n");

  return {
    PATH: process.env["PATH"]!,
    LANG: "C.UTF-8",
    HOME: home,
    ERL_EPMD_PORT: String(ports.epmdPort),
    ERL_EPMD_ADDRESS: host,
    ERL_CRASH_DUMP_BYTES: "0",
    RABBITMQ_NODENAME: `warren-test-${process.pid}-${ports.port}@localhost`,
    RABBITMQ_DIST_PORT: String(ports.distributionPort),
    RABBITMQ_CONFIG_FILE: configFile,
    RABBITMQ_ADVANCED_CONFIG_FILE: join(directory, "none.config"),
    RABBITMQ_CONF_ENV_FILE: join(directory, "none-env.conf"),
    RABBITMQ_ENABLED_PLUGINS_FILE: pluginsFile,
    RABBITMQ_MNESIA_BASE: join(directory, "data"),
    RABBITMQ_GENERATED_CONFIG_DIR: join(directory, "generated"),
    RABBITMQ_LOG_BASE: join(directory, "log"),
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: join(directory, "pid"),
    // Makes the script become the server (exec) rather than wait for it, so the pid that we know is
    // the server's own.
    RABBITMQ_ALLOW_INPUT: "1",
    RABBITMQ_SERVER_START_ARGS: "-noinput +B i",
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
  };
}

/** What it tells is a statistics interval old. */
function managementSettings(port: number): string[] {
  return [
    `management.tcp.ip = ${host}`,
    `management.tcp.port = ${port}`,
    "collect_statistics_interval = 100",
    "management_agent.disable_metrics_collector = false",
  ];
}

export async function waitForStart(port: number, processes: ChildProcess[], logFile: string): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (!(await answersHandshake(host, port))) {
    const ended = processes.find((child) => !isRunning(child));
    if (ended) throw new Error(`${ended.spawnargs.join(" ")} ended too early. ${complaintsOf(logFile)}`);
    if (Date.now() > deadline) {
      throw new Error(`RabbitMQ did not start in ${startTimeoutMs / 1000} s. ${complaintsOf(logFile)}`);
    }
    await delay(pollIntervalMs);
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/** The first complaint in the log tells the reason; the crash reports that follow it are long. */
function complaintsOf(logFile: string): string {
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n");
  const first = lines.findIndex((line) => line.includes("[error]"));
  const excerpt = first === -1 ? lines.slice(-30) : lines.slice(first, first + 30);
  return `From its log:\n${excerpt.join("\n")}`;
}

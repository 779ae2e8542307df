/** A private cluster of RabbitMQ servers: like the one of rabbitmq.ts, with one cookie and one port mapper for all. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findOnPath, findRabbitmqServer } from "./peers.ts";
import { findFreePorts } from "./ports.ts";
import { endWithParent, host, serverEnvironment, waitForStart } from "./rabbitmq.ts";
import { rabbitmqctl } from "./rabbitmq-admin.ts";

export interface ClusterNode {
  /** As `rabbitmqctl` names it. */
  readonly name: string;
  readonly port: number;
  /** Runs `rabbitmqctl` on this node; what it prints. */
  control(...args: string[]): Promise<string>;
  /** kill -9. */
  kill(): Promise<void>;
  /** Resolves when it answers clients; it finds its cluster by itself. */
  start(): Promise<void>;
}

export interface RabbitmqCluster {
  readonly nodes: readonly ClusterNode[];
  /** Ends all servers at once and removes their files. Stopping twice is fine. */
  stop(): Promise<void>;
}

export async function startRabbitmqCluster(size: number): Promise<RabbitmqCluster> {
  const serverProgram = findRabbitmqServer();
  const epmdProgram = findOnPath("epmd");
  if (!serverProgram || !epmdProgram) {
    throw new Error("no RabbitMQ server on this machine: run `node scripts/setup-test-peers.ts`");
  }
  const home = mkdtempSync(join(tmpdir(), "warren-rabbitmq-cluster-"));
  // Servers that start at the same time would each make one.
  writeFileSync(join(home, ".erlang.cookie"), "warrentestcluster", { mode: 0o400 });
  const running = new Set<ChildProcess>();
  const killAll = (): void => running.forEach((child) => child.kill("SIGKILL"));
  process.once("exit", killAll);
  const stop = async (): Promise<void> => {
    process.off("exit", killAll);
    const exits = [...running].map((child) => once(child, "exit"));
    killAll();
    await Promise.all(exits);
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  };
  const run = (
    program: string,
    args: string[],
    env: Record<string, string>,
    logFile: string,
  ): ChildProcess => {
    const [command, ...rest] = [...endWithParent(), program, ...args];
    const log = openSync(logFile, "a");
    const child = spawn(command, rest, { env, stdio: ["ignore", log, log] });
    closeSync(log);
    // A program that cannot be run says so here and has no pid; waitForStart reports it.
    child.on("error", (error) => appendFileSync(logFile, `${program}: ${error.message}\n`));
    running.add(child);
    child.once("exit", () => running.delete(child));
    return child;
  };

  try {
    const [epmdPort, ...ports] = await findFreePorts(1 + 2 * size);
    const epmdLog = join(home, "epmd.log");
    const epmd = run(
      epmdProgram,
      ["-port", String(epmdPort), "-address", host],
      { PATH: process.env["PATH"]! },
      epmdLog,
    );
    const nodes = Array.from({ length: size }, (_, at): ClusterNode => {
      const directory = join(home, `node-${at + 1}`);
      mkdirSync(directory);
      const [port, distributionPort] = [ports[2 * at], ports[2 * at + 1]];
      const environment = serverEnvironment(directory, { port, distributionPort, epmdPort }, home);
      const logFile = join(directory, "server.log");
      let server: ChildProcess;
      return {
        name: environment["RABBITMQ_NODENAME"],
        port,
        control: (...args) => rabbitmqctl(environment, ...args),
        async kill() {
          server.kill("SIGKILL");
          await once(server, "exit");
        },
        async start() {
          server = run(serverProgram, [], environment, logFile);
          await waitForStart(port, [epmd, server], logFile);
        },
      };
    });
    await Promise.all(nodes.map((node) => node.start()));
    for (const node of nodes.slice(1)) {
      await node.control("stop_app");
      await node.control("join_cluster", nodes[0].name);
      await node.control("start_app");
    }
    return { nodes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

import { resolve } from "node:path";
import { Command, Option } from "commander";
import { createLogger, type Logger } from "../base/index.ts";
import { startBroker, type Broker } from "../broker/index.ts";
import type { Management } from "../management/index.ts";
import { startDemo, type Demo } from "./demo.ts";
import { resolveSettings, settings, type ServeSettings } from "./serve-settings.ts";

/** `warren serve`: a broker as a process of its own. */
export function addServeCommand(program: Command, version: string): void {
  const command = program
    .command("serve")
    .description("Run a broker that any RabbitMQ client can use.")
    .addOption(new Option("--config <file>", "settings as a JSON object").env("WARREN_CONFIG"));
  for (const { flag, environment, description, fallback } of settings) {
    const shown = fallback === undefined ? "" : `default: ${fallback}; `;
    command.option(flag, `${description} (${shown}env: ${environment.join(", ")})`);
  }
  command
    .option("--demo <file>", "run the agents of a file, too, as `npm start` does with examples/support-swarm")
    .option("--no-demo", "do not");
  command.action(async (flags: Record<string, string | boolean | undefined>) => {
    try {
      const { demo, config, ...given } = flags;
      const chosen = resolveSettings(given, process.env, config as string | undefined);
      await serve(chosen, version, typeof demo === "string" ? demo : undefined);
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
      process.exitCode = 1;
    }
  });
}

async function serve(chosen: ServeSettings, version: string, demoFile: string | undefined): Promise<void> {
  const logger = await createLogger(chosen.logLevel);
  const broker = await startBroker({
    port: chosen.port,
    host: chosen.host,
    socketPath: chosen.socket,
    user: chosen.user,
    password: chosen.password,
    dataDir: chosen.memory ? undefined : chosen.data,
    memoryLimitBytes: chosen.memoryLimit,
    diskFreeLimitBytes: chosen.diskFreeLimit,
    consumerTimeoutMs: chosen.consumerTimeout || Number.POSITIVE_INFINITY,
    compat: chosen.compat,
    logger,
    onStorageFailure: (error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(1);
    },
  });
  const management = await startHttp(chosen, broker, logger);
  const demo = demoFile === undefined ? undefined : startDemo(demoFile, broker, chosen, logger);
  stopOnSignal(broker, management, logger, demo);
  // To standard error, so that standard output stays a clean log.
  process.stderr.write(greetingOf(broker, management, chosen, version) + (demo?.greeting ?? ""));
}

/** The HTTP server is loaded after the broker listens: AMQP clients need not wait for it. */
async function startHttp(chosen: ServeSettings, broker: Broker, logger: Logger): Promise<Management> {
  const { startManagement } = await import("../management/index.ts");
  try {
    return await startManagement({ port: chosen.httpPort, host: chosen.host, broker, logger });
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

function greetingOf(broker: Broker, management: Management, chosen: ServeSettings, version: string): string {
  const isGuest = chosen.user === "guest" && chosen.password === "guest";
  const who = isGuest ? "from this machine only" : `user ${chosen.user}`;
  const url = isGuest ? broker.url : `amqp://${chosen.host}:${broker.port}`;
  return `
  Warren ${version} is ready

    AMQP    ${url}    (${who})${broker.socketPath === undefined ? "" : `\n    Socket  ${broker.socketPath}`}
    Health  ${management.url}/health
    API     ${management.url}/api    (RabbitMQ's, of its management plugin)
    Storage ${chosen.memory ? "memory: nothing survives a restart" : resolve(chosen.data)}

  Try next, in another terminal:
    python3 -m pip install pika, then any RabbitMQ tutorial as it is, or
    amqp-declare-queue -u ${url} -q hello && amqp-publish -u ${url} -r hello -b 'Hello!'
    amqp-get -u ${url} -q hello

  Ctrl+C stops the broker.

`;
}

/** Agents end before their broker. */
async function stopAll(broker: Broker, management: Management, demo: Demo | undefined): Promise<void> {
  await demo?.stop();
  await Promise.all([management.stop(), broker.stop()]);
}

/** Signals that come together are one: under npm, Ctrl+C reaches the broker from the terminal and once more from npm. */
const sameSignalMs = 1_000;

/** The first signal drains and stops; a later one does not wait. */
function stopOnSignal(broker: Broker, management: Management, logger: Logger, demo: Demo | undefined): void {
  let stoppingSinceMs: number | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    if (stoppingSinceMs !== undefined) {
      if (performance.now() - stoppingSinceMs > sameSignalMs) process.exit(1);
      return;
    }
    stoppingSinceMs = performance.now();
    logger.info({ signal }, "stopping");
    stopAll(broker, management, demo).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ error: String(error) }, "stopping failed");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

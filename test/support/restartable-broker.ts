/** Brokers that are restarted with what they have kept. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrokerName } from "./broker-selection.ts";
import { forkBroker } from "./broker-process.ts";
import { startRabbitmq } from "./rabbitmq.ts";

export interface RestartableBroker {
  /** Another after each restart. */
  readonly url: string;
  /** Stops the broker in order and starts it again. */
  restart(): Promise<void>;
  /** The same with kill -9, if that is possible. */
  killAndRestart?: () => Promise<void>;
  stop(): Promise<void>;
}

/** Starts a broker of the test's own, which whoever starts it must stop. */
export async function startRestartable(name: BrokerName): Promise<RestartableBroker> {
  return name === "warren" ? startRestartableWarren() : startRabbitmq();
}

async function startRestartableWarren(): Promise<RestartableBroker> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-data-"));
  let broker = await forkBroker({ dataDir });
  return {
    get url() {
      return `amqp://guest:guest@127.0.0.1:${broker.port}`;
    },
    async restart() {
      await broker.stop();
      broker = await forkBroker({ dataDir });
    },
    async killAndRestart() {
      await broker.kill();
      broker = await forkBroker({ dataDir });
    },
    async stop() {
      await broker.kill();
      rmSync(dataDir, { recursive: true });
    },
  };
}

/** Runs one suite against every backend of tasks. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, onTestFinished } from "vitest";
import { connect, type Bus, type ConnectOptions } from "../../src/tasks/index.ts";
import { defineQueue } from "../../src/tasks/queue.ts";
import { selectedBrokers } from "./broker-selection.ts";
import { forkBroker } from "./broker-process.ts";

const backendNames = [
  "embedded memory",
  "embedded durable",
  "warren serve",
  "rabbitmq classic",
  "rabbitmq quorum",
] as const;
export type BackendName = (typeof backendNames)[number];

export interface Backend {
  readonly name: BackendName;
  /**
   * A bus that is closed when the test ends. All buses of a test share what they are connected to, and unless `state` says
   * otherwise (`none`, or another URL) they share state; that of `embedded memory` is one bus only.
   */
  connect(options?: ConnectOptions): Promise<Bus>;
  /** What {@link connect} is given here, for processes of their own. */
  readonly target: string;
  readonly options: ConnectOptions;
  /** For AMQP clients; undefined where there is a unix socket only. */
  readonly url: string | undefined;
  /** A name that no other test uses. */
  queueName(purpose: string): string;
}

/** Puts a message into a queue of tasks as a program would that knows nothing of them. */
export async function publishRaw(
  bus: Bus,
  queue: string,
  body: unknown,
  headers: Record<string, unknown> = {},
): Promise<void> {
  const { transport } = bus["parts"];
  await transport.declare(defineQueue({ name: queue }));
  await transport.publish({
    queue,
    body,
    headers,
    messageId: undefined,
    contentType: undefined,
    priority: undefined,
    expirationMs: undefined,
    replyTo: undefined,
    correlationId: undefined,
    timestampMs: undefined,
  });
}

interface Started {
  readonly target: string;
  readonly options: ConnectOptions;
  stop(): Promise<void>;
}

export function describeEachBackend(
  title: string,
  suite: (backend: () => Backend, name: BackendName) => void,
  names: readonly BackendName[] = backendNames,
): void {
  const isSelected = (name: BackendName): boolean =>
    selectedBrokers.includes(name.startsWith("rabbitmq") ? "rabbitmq" : "warren");
  for (const name of names.filter(isSelected)) {
    describe(`${title} [${name}]`, () => {
      let started: Started;
      const directory = mkdtempSync(join(tmpdir(), "warren-tasks-"));
      beforeAll(async () => {
        started = await start(name, directory);
      });
      afterAll(async () => {
        await started.stop();
        rmSync(directory, { recursive: true, force: true });
      });
      suite(() => backendOf(name, started), name);
    });
  }
}

function backendOf(name: BackendName, { target, options }: Started): Backend {
  return {
    name,
    target,
    options,
    url: target.startsWith("amqp:") ? target : undefined,
    async connect({ state, ...more } = {}) {
      const stateOption = state === "none" ? { state: undefined } : state === undefined ? {} : { state };
      const bus = await connect(target, { ...options, ...stateOption, ...more });
      onTestFinished(() => bus.close());
      return bus;
    },
    queueName: (purpose) => `${purpose}-${randomUUID().slice(0, 8)}`,
  };
}

async function start(name: BackendName, directory: string): Promise<Started> {
  const state = `sqlite:${join(directory, "state.db")}`;
  switch (name) {
    case "embedded memory":
      return { target: "embedded::memory:", options: {}, stop: async () => {} };
    case "embedded durable":
      return { target: `embedded:${join(directory, "data")}`, options: {}, stop: async () => {} };
    case "warren serve": {
      const broker = await forkBroker({ port: 0, dataDir: join(directory, "data") });
      return {
        target: `amqp://guest:guest@127.0.0.1:${broker.port}`,
        options: { state },
        stop: () => broker.stop(),
      };
    }
    default: {
      const queueType = name === "rabbitmq quorum" ? "quorum" : "classic";
      return { target: inject("rabbitmqUrl")!, options: { state, queueType }, stop: async () => {} };
    }
  }
}

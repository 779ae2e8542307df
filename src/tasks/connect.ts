import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { silentLogger, systemClock, type Clock, type Logger } from "../base/index.ts";
import { openState, type StateStore } from "../state/index.ts";
import { Bus } from "./bus.ts";
import type { Capabilities } from "./capabilities.ts";
import { openEmbeddedBroker } from "./embedded/index.ts";
import { CapabilityError } from "./errors.ts";
import { connectAmqp } from "./transports/amqp/amqp-transport.ts";
import { parseAmqpUrl, type AmqpAddress } from "./transports/amqp/connection-options.ts";

/** A broker by its parts. What is left out is as on a RabbitMQ that was just installed. */
export interface BrokerLocation {
  /** Default `localhost`. */
  readonly host?: string;
  /** Default 5672. */
  readonly port?: number;
  /** Default `guest`. */
  readonly username?: string;
  /** Default `guest`. */
  readonly password?: string;
  /** Default `/`. */
  readonly vhost?: string;
}

export interface ConnectOptions {
  /**
   * Where results, attempts and steps are kept, for all processes alike: `postgres://…`, or `sqlite:FILE` where they are on one
   * machine. `embedded:` brings its own; without one on `amqp:` what needs it is refused.
   */
  readonly state?: string;
  /** What the program cannot do without: connecting fails if the backend does not have it. */
  readonly requires?: readonly (keyof Capabilities)[];
  /** Of the queues on a RabbitMQ. `quorum` is what a cluster wants. Default `classic`. */
  readonly queueType?: "classic" | "quorum";
  /** How long a confirm may take before `send` rejects, and connecting, in milliseconds. Default 30 000. */
  readonly confirmTimeout?: number;
  /** How long results and other outcomes are kept, in milliseconds. Default 7 days. */
  readonly retention?: number;
  /** What the broker's operator sees of this process. Default: host name and process id. */
  readonly name?: string;
  /** Where the bus logs. Default: nowhere. */
  readonly logger?: Logger;
  /** For tests: time, also of an embedded broker, which then runs in this thread. */
  readonly clock?: Clock;
  /** For tests: what jitter is drawn from, from 0 to 1. */
  readonly random?: () => number;
}

const dayMs = 86_400_000;

/**
 * Connects to where tasks wait: `embedded:./data` (a broker inside this process or another one of this machine), `embedded::memory:`,
 * `amqp://…` and `amqps://…` (`warren serve` or RabbitMQ; several hosts with commas between), or the parts of an address.
 *
 * @throws TypeError for a URL that is none; Error when nothing answers there; CapabilityError when what the options require is
 *   not to be had.
 */
export async function connect(
  target: string | BrokerLocation = {},
  options: ConnectOptions = {},
): Promise<Bus> {
  const { requires = [], retention = 7 * dayMs, logger: log = silentLogger, clock = systemClock } = options;
  const opened: (() => Promise<void>)[] = [];
  try {
    const broker = await locate(target, options);
    opened.unshift(broker.release);
    const stateUrl = options.state ?? broker.state;
    const state = stateUrl === undefined ? undefined : await openState(stateUrl);
    if (state) opened.unshift(() => state.close());
    const transport = await connectAmqp({
      address: broker.address,
      connectionName: options.name ?? `${hostname()} ${process.pid}`,
      queueType: options.queueType ?? "classic",
      confirmTimeoutMs: options.confirmTimeout ?? 30_000,
      isInMemory: broker.isInMemory,
      clock,
      logger: log,
    });
    opened.unshift(() => transport.close());
    const { random = Math.random } = options;
    const bus = new Bus({
      transport,
      state,
      clock,
      log,
      random,
      retentionMs: retention,
      release: broker.release,
    });
    assertCapable(bus.capabilities, requires, state);
    return bus;
  } catch (error) {
    for (const close of opened) await close().catch(() => {});
    throw error;
  }
}

interface LocatedBroker {
  readonly address: AmqpAddress;
  /** The state that belongs to it. */
  readonly state?: string;
  readonly isInMemory: boolean;
  readonly release: () => Promise<void>;
}

async function locate(target: string | BrokerLocation, options: ConnectOptions): Promise<LocatedBroker> {
  if (typeof target !== "string") return remote(addressOf(target));
  if (/^amqps?:/.test(target)) return remote(parseAmqpUrl(target));
  if (target.startsWith("embedded:")) return embedded(target.slice("embedded:".length), options);
  throw new TypeError(
    `'${target.replace(/\/\/.*@/, "//…@")}' is nothing to connect to. There are embedded:./data, embedded::memory:, amqp://host:5672 and amqps://host:5671.`,
  );
}

function remote(address: AmqpAddress): LocatedBroker {
  return { address, isInMemory: false, release: async () => {} };
}

function addressOf(location: BrokerLocation): AmqpAddress {
  const { host = "localhost", port = 5672, username = "guest", password = "guest", vhost = "/" } = location;
  return { hosts: [`${host.includes(":") ? `[${host}]` : host}:${port}`], username, password, vhost };
}

async function embedded(
  path: string,
  { logger = silentLogger, clock }: ConnectOptions,
): Promise<LocatedBroker> {
  if (path === "") throw new TypeError("embedded: needs a directory, as in embedded:./data, or :memory:");
  const dataDir = path === ":memory:" ? undefined : resolve(path);
  if (dataDir !== undefined) mkdirSync(dataDir, { recursive: true });
  const broker = await openEmbeddedBroker({ dataDir, logger, clock });
  return {
    address: {
      hosts: ["localhost:5672"],
      socketPath: broker.socketPath,
      username: "guest",
      password: "guest",
      vhost: "/",
    },
    state: dataDir === undefined ? "sqlite::memory:" : `sqlite:${join(dataDir, "tasks.db")}`,
    isInMemory: dataDir === undefined,
    release: () => broker.stop(),
  };
}

/** @throws CapabilityError that says what to do */
function assertCapable(
  capabilities: Capabilities,
  requires: readonly (keyof Capabilities)[],
  state: StateStore | undefined,
): void {
  const missing = requires.filter((name) => capabilities[name] === "none");
  if (missing.length === 0) return;
  const advice = state
    ? ""
    : ' State that all processes share may bring it: connect(url, { state: "postgres://…" }).';
  throw new CapabilityError(
    `this backend does not have: ${missing.join(", ")}.${advice} See docs/backends.md.`,
  );
}

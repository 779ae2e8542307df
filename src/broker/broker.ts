import { totalmem } from "node:os";
import { isIPv4 } from "node:net";
import { resolve as absolute } from "node:path";
import { EventLoopTurn, silentLogger, systemClock, type Clock, type Logger } from "../base/index.ts";
import { ReplyCode } from "../wire/index.ts";
import type { BrokerAdmin } from "./admin.ts";
import { Administration } from "./administration.ts";
import {
  AccessRules,
  Logins,
  LoginThrottle,
  Permissions,
  Users,
  type Credentials,
  type Origin,
} from "./auth/index.ts";
import { LocalClient, type ClientActions } from "./local-client.ts";
import type { BrokerInspection } from "./inspection.ts";
import { Inspector } from "./inspector.ts";
import { BufferPool } from "./connection/buffer-pool.ts";
import { Connection, type ConnectionContext } from "./connection/connection.ts";
import { createReadResources, readBufferBytes } from "./connection/socket-reader.ts";
import { Alarms } from "./alarms.ts";
import { openBrokerStorage } from "./broker-storage.ts";
import { Listeners } from "./listeners.ts";
import { OpenConnections } from "./open-connections.ts";
import { PublishGate } from "./publish-gate.ts";
import type { Compatibility } from "./queue-arguments.ts";
import type { DelayedMessage } from "./delayed-messages.ts";
import type { Disk } from "./storage/index.ts";
import { Churn } from "./traffic.ts";
import { assertSocketPath } from "./unix-socket.ts";
import { VirtualHost } from "./virtual-host.ts";
import { VirtualHosts } from "./virtual-hosts.ts";

/** How {@link startBroker} starts. Everything has a default. */
export interface BrokerOptions {
  /** TCP port; 0 takes any free one, false none: then clients come by `socketPath` only. Default 5672. */
  port?: number | false;
  /** Address to listen on. Default 127.0.0.1: only this machine can connect. */
  host?: string;
  /**
   * A unix socket to listen on, too: a path of at most 107 bytes (103 on macOS). Its file is this user's alone (mode 0600), and
   * whoever may open it counts as a client on this machine. What a broker that died has left there is replaced; the file is
   * removed at the stop. Not on Windows.
   */
  socketPath?: string;
  /**
   * A user who can always log in with this password, is an administrator and has all permissions in the virtual host `/`,
   * whatever the data directory says. Without one there is guest with the password guest, who may connect from this machine
   * only, until there is another user. With `port: false` guest and guest may be given as well: the socket's file is the guard.
   */
  user?: string;
  password?: string;
  /**
   * Directory for durable exchanges, queues and bindings, and for persistent messages in durable queues; made when it does
   * not exist. Without one everything is kept in memory and ends with the broker.
   */
  dataDir?: string;
  /**
   * Memory that messages may take before publishers have to wait, in bytes. Bodies of persistent messages are on disk and
   * count little. Default 40 % of the machine's memory (or of the container's).
   */
  memoryLimitBytes?: number;
  /** Publishers wait while the data directory's disk has less free than this, in bytes. Default 50 000 000, as RabbitMQ. */
  diskFreeLimitBytes?: number;
  /**
   * Called when the data directory can no longer be written or trusted. The broker confirms nothing from then on and has
   * closed its connections. Default: the error is thrown where nothing catches it, which ends the process.
   */
  onStorageFailure?: (error: Error) => void;
  /** Largest message body, in bytes. Default 134 217 728 (128 MiB), as RabbitMQ 3.10. */
  maxMessageBytes?: number;
  /** Largest frame offered to clients, in bytes, at least 4096. Default 131 072. */
  frameMax?: number;
  /** Most channels of a connection offered to clients. Default 2047. */
  channelMax?: number;
  /** Heartbeat interval offered to clients, in seconds; 0 switches heartbeats off. Default 60. */
  heartbeatSeconds?: number;
  /**
   * How long a delivery may wait for its acknowledgement before its channel is closed and it goes to another consumer, in
   * milliseconds; infinity for ever. Default 1 800 000 (30 minutes), as RabbitMQ's `consumer_timeout`. Looked at so often that it
   * comes at most a tenth, or a minute, too late.
   */
  consumerTimeoutMs?: number;
  /**
   * Which RabbitMQ's rules hold where its versions differ: "3" is 3.10, "4" is 4.3, which refuses queues that are neither
   * durable nor exclusive and a prefetch for whole channels, and counts only `basic.reject` towards a delivery limit. Default "3".
   */
  compat?: "3" | "4";
  /** How long a client may take to log in, in milliseconds. Default 10 000. */
  handshakeTimeoutMs?: number;
  /**
   * Delay logins after repeated failures, by user and address. Default true. Behind a proxy that hides the clients' addresses
   * one client's mistakes would delay all: `false` there, and let the proxy see to it.
   */
  throttleLogins?: boolean;
  /** Where the broker logs. Default: nowhere. */
  logger?: Logger;
  /** For tests. */
  clock?: Clock;
  /** For tests: stands in for the directory `dataDir`. */
  disk?: Disk;
  /**
   * Read sockets through Node's static buffers, which is faster but rests on an undocumented option; `false` reads by
   * `data` events. Default true where Node supports it.
   */
  staticReads?: boolean;
}

/** A running broker. */
export interface Broker extends AsyncDisposable {
  /** The address it listens on, as it was given. With `port: false` nothing listens there. */
  readonly host: string;
  /** The TCP port; 0, which no port has, with `port: false`. */
  readonly port: number;
  /**
   * For clients on this machine, with user and password: `amqp://guest:guest@127.0.0.1:5672`. With `port: false` there is no
   * such URL, and this is `unix://` and the socket's path, which AMQP clients refuse instead of trying a default.
   */
  readonly url: string;
  /** The unix socket's path, absolute. */
  readonly socketPath: string | undefined;
  /** Users, permissions, virtual hosts and limits. */
  readonly admin: BrokerAdmin;
  /** What is in it and what it does, to look at. */
  readonly inspection: BrokerInspection;
  /** Whether these credentials are right, for a client there. Wrong ones are answered later and later, as over AMQP. */
  login(credentials: Credentials, origin: Origin, signal?: AbortSignal): Promise<boolean>;
  /**
   * Does in a virtual host what an AMQP client of this user could do. It is not asked whether there is such a user.
   * @throws RangeError when there is no such virtual host.
   */
  as(user: string, vhost: string): ClientActions;
  /**
   * Stops: takes no new connections, tells clients 320 CONNECTION_FORCED, and closes what has not closed after
   * `timeoutMs` (default 5 000). Stopping twice is fine. Rejects when the data directory could not be written to the end.
   */
  stop(timeoutMs?: number): Promise<void>;
  /** What the broker holds in memory. */
  usage(): BrokerUsage;
  /**
   * Messages that an exchange of type `x-delayed-message` holds until they are due, the next to be due first.
   * @throws RangeError when there is no such exchange.
   */
  delayedMessages(exchange: string, vhost?: string): DelayedMessage[];
  /**
   * Takes the messages with this message-id out of a delayed exchange before they are due. Resolves with how many there
   * were, when that is durable. @throws RangeError when there is no such exchange.
   */
  cancelDelayed(exchange: string, messageId: string, vhost?: string): Promise<number>;
}

export interface BrokerUsage {
  readonly connections: number;
  readonly queues: number;
  /** Messages stored, ready or unacknowledged; one in several queues counts once. */
  readonly messages: number;
  /** Of these, messages that delayed exchanges hold until they are due. */
  readonly delayedMessages: number;
  /** Bytes of memory that the stored messages pin. */
  readonly messageMemoryBytes: number;
  /** Bytes written to clients that they have not taken yet. */
  readonly unsentBytes: number;
  /** What is short, so that publishers wait. */
  readonly alarms: readonly ("memory" | "disk")[];
  /** Size of the log's files, in bytes; 0 without a data directory. */
  readonly logBytes: number;
}

const defaults = {
  port: 5672 as number | false,
  socketPath: undefined as string | undefined,
  host: "127.0.0.1",
  user: "guest",
  password: "guest",
  maxMessageBytes: 128 << 20,
  frameMax: 131_072,
  channelMax: 2047,
  heartbeatSeconds: 60,
  handshakeTimeoutMs: 10_000,
  staticReads: true,
  throttleLogins: true,
  memoryLimitBytes: 0,
  diskFreeLimitBytes: 50_000_000,
  compat: "3" as Compatibility,
  consumerTimeoutMs: 1_800_000,
};

const outputBufferBytes = 128 << 10;

/**
 * Starts a broker inside this process. Any AMQP 0-9-1 client can connect to `broker.url`. With `dataDir` it goes on where
 * the last broker with that directory has stopped or died.
 *
 * @throws RangeError for an option out of its range; an error called StorageError when the data directory is damaged, of
 *   another version or in use by another broker (then its `code` is "in-use"); Error when the port or socket is taken or the
 *   address is not this machine's, or with guest/guest on another address than loopback.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const settings = { ...defaults, logger: silentLogger, clock: systemClock, ...defined(options) };
  assertSettings(settings);
  const connections = new OpenConnections();
  const socketPath = settings.socketPath === undefined ? undefined : absolute(settings.socketPath);
  const listeners = new Listeners((socket, peer) => {
    connections.all.add(new Connection(socket, peer, context));
  }, settings.logger);
  const failed = (error: Error): void => {
    settings.logger.error({ error: error.message }, "storage failed: the broker stops");
    void listeners.close();
    for (const connection of connections.all) connection.destroy();
    if (options.onStorageFailure) {
      options.onStorageFailure(error);
      return;
    }
    process.nextTick(() => {
      throw error;
    });
  };
  const turn = new EventLoopTurn();
  const storage = await openBrokerStorage({
    dataDir: options.dataDir,
    disk: options.disk,
    turn,
    clock: settings.clock,
    logger: settings.logger,
    onFailure: failed,
  });
  const { store, definitions, room } = storage;
  const gate = new PublishGate(room, settings.clock, settings.logger);
  const owner = ownerOf(options, settings);
  const services = {
    store,
    definitions,
    clock: settings.clock,
    turn,
    log: settings.logger,
    room,
    compatibility: settings.compat,
    churn: new Churn(),
  };
  const virtualHosts = new VirtualHosts(
    (name) => {
      const vhost = new VirtualHost(name, services);
      storage.restore(vhost);
      return vhost;
    },
    definitions,
    storage.stored,
  );
  storage.onRoomChanged(() => {
    gate.roomChanged();
    for (const vhost of virtualHosts.all) vhost.roomChanged();
  });
  const users = new Users(definitions, storage.stored, owner);
  const rules = new AccessRules(definitions, storage.stored, owner?.user);
  if (!owner && users.addGuestIfNew()) {
    rules.setPermission("guest", "/", { configure: ".*", write: ".*", read: ".*" });
  }
  const throttle = new LoginThrottle(settings.clock, settings.logger, settings.throttleLogins);
  const startedAtMs = settings.clock.nowMs();
  const loopbackUser = owner?.user === "guest" ? undefined : "guest";
  const logins = new Logins(users, throttle, settings.logger, loopbackUser);
  let onEnded: (() => void) | undefined;
  const context: ConnectionContext = {
    clock: settings.clock,
    log: settings.logger,
    users,
    rules,
    logins,
    store,
    definitions,
    gate,
    virtualHosts,
    connections,
    outputBuffers: new BufferPool(outputBufferBytes, 64),
    reading: createReadResources(turn, new BufferPool(readBufferBytes, 32)),
    staticReads: settings.staticReads,
    limits: settings,
    compatibility: settings.compat,
    churn: services.churn,
    connectionEnded(connection) {
      connections.all.delete(connection);
      onEnded?.();
    },
  };
  try {
    await listeners.listen({ port: settings.port, host: settings.host, socketPath });
  } catch (error) {
    for (const connection of connections.all) connection.destroy();
    await storage.abandon();
    throw error;
  }
  const { port } = listeners;
  const where = { ...(port > 0 ? { host: settings.host, port } : {}), socketPath };
  settings.logger.info(where, "broker listening");

  const unsentBytes = (): number => {
    let bytes = 0;
    for (const { output } of connections.all) bytes += output.unsentBytes;
    return bytes;
  };
  const memoryLimitBytes = settings.memoryLimitBytes || defaultMemoryLimit();
  const alarms = new Alarms(
    gate,
    { memoryBytes: memoryLimitBytes, diskFreeBytes: settings.diskFreeLimitBytes },
    {
      memoryBytes: () => store.usage().memoryBytes + unsentBytes(),
      freeDiskBytes: storage.freeDiskBytes,
      isDiskFull: () => storage.isDiskFull,
      spareDisk: (isShort) => {
        storage.isShortOfSpace = isShort;
      },
    },
    settings.clock,
  );

  const { consumerTimeoutMs } = settings;
  const overdue = Number.isFinite(consumerTimeoutMs)
    ? settings.clock.every(Math.min(60_000, Math.ceil(consumerTimeoutMs / 10)), () => {
        for (const connection of connections.all) connection.lookForOverdue(consumerTimeoutMs);
      })
    : undefined;
  const admin = new Administration({ users, rules, virtualHosts, connections, flush: () => storage.flush() });
  const inspection = new Inspector({
    virtualHosts,
    connections,
    users,
    rules,
    churn: services.churn,
    startedAtMs,
    memoryLimitBytes,
    diskFreeLimitBytes: settings.diskFreeLimitBytes,
    dataDir: options.dataDir,
    freeDiskBytes: storage.freeDiskBytes,
  });

  let stopped: Promise<void> | undefined;
  const stop = async (timeoutMs: number): Promise<void> => {
    const closed = listeners.close();
    alarms.stop();
    overdue?.cancel();
    gate.stop();
    throttle.stop();
    admin.stop();
    // What has been published until now is confirmed before its connections are closed.
    // If the storage has failed, that was told already, and the end of this says it again.
    await storage.flush().catch(() => {});
    for (const connection of connections.all)
      connection.close(ReplyCode.ConnectionForced, "broker is shutting down");
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of connections.all) connection.destroy();
      }, timeoutMs);
      onEnded = () => {
        if (connections.all.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      onEnded();
    });
    await closed;
    for (const vhost of virtualHosts.all) vhost.stop();
    await storage.close(virtualHosts.all);
    settings.logger.info(where, "broker stopped");
  };

  const vhostNamed = (name: string): VirtualHost => {
    const vhost = virtualHosts.get(name);
    if (vhost) return vhost;
    throw new RangeError(`there is no vhost '${name}'`);
  };
  const broker: Broker = {
    host: settings.host,
    port,
    url: settings.port === false ? `unix://${socketPath}` : amqpUrl(settings, port),
    socketPath,
    admin,
    inspection,
    login: (credentials, origin, signal) =>
      new Promise((resolve) => {
        const callOff = logins.attempt(credentials, origin, resolve);
        signal?.addEventListener("abort", callOff, { once: true });
      }),
    as: (user, name) =>
      new LocalClient({
        user,
        vhost: vhostNamed(name),
        permissions: new Permissions(rules, user, name),
        store,
        flush: () => storage.flush(),
        clock: settings.clock,
        gate,
      }),
    stop: (timeoutMs = 5_000) => (stopped ??= stop(timeoutMs)),
    usage: () => {
      const { messages, memoryBytes } = store.usage();
      return {
        connections: connections.all.size,
        queues: virtualHosts.all.reduce((count, { queueCount }) => count + queueCount, 0),
        messages,
        delayedMessages: virtualHosts.all.reduce((count, { delayedCount }) => count + delayedCount, 0),
        messageMemoryBytes: memoryBytes,
        unsentBytes: unsentBytes(),
        alarms: gate.raised,
        logBytes: storage.logBytes,
      };
    },
    delayedMessages: (exchange, name = "/") =>
      vhostNamed(name)
        .delayedIn(exchange)
        .list()
        .toSorted((a, b) => a.dueMs - b.dueMs),
    async cancelDelayed(exchange, messageId, name = "/") {
      const cancelled = vhostNamed(name).delayedIn(exchange).cancel(messageId);
      if (cancelled > 0) await storage.flush();
      return cancelled;
    },
    [Symbol.asyncDispose]: () => broker.stop(),
  };
  return broker;
}

/** Guest with the password guest is not asked for by name: its password protects nothing. Where a file does, it is. */
function ownerOf(options: BrokerOptions, { user, password, port }: typeof defaults): Credentials | undefined {
  const isGiven = options.user !== undefined || options.password !== undefined;
  const isPublic = user === "guest" && password === "guest" && port !== false;
  return isGiven && !isPublic ? { user, password } : undefined;
}

function assertSettings(settings: typeof defaults): void {
  const { port, socketPath, host, user, password } = settings;
  if (socketPath !== undefined) assertSocketPath(absolute(socketPath));
  if (port !== false) assertRange(settings, "port", 0, 65_535);
  else if (socketPath === undefined) throw new RangeError("port is false; then socketPath must be given");
  if (port !== false && user === "guest" && password === "guest" && !isLoopbackHost(host)) {
    throw new Error(
      `Refusing to listen on ${host} with the well-known user guest and password guest. ` +
        "Set another user and password, or listen on 127.0.0.1.",
    );
  }
  assertRange(settings, "frameMax", 4096, 131_072);
  assertRange(settings, "channelMax", 1, 65_535);
  assertRange(settings, "heartbeatSeconds", 0, 65_535);
  assertRange(settings, "handshakeTimeoutMs", 1, 2 ** 31 - 1);
  if (settings.consumerTimeoutMs !== Number.POSITIVE_INFINITY)
    assertRange(settings, "consumerTimeoutMs", 1, Number.MAX_SAFE_INTEGER);
  if (!["3", "4"].includes(settings.compat))
    throw new RangeError(`compat is ${settings.compat}; it must be "3" or "4"`);
  assertRange(settings, "maxMessageBytes", 0, 512 << 20);
  assertRange(settings, "memoryLimitBytes", 0, Number.MAX_SAFE_INTEGER);
  assertRange(settings, "diskFreeLimitBytes", 0, Number.MAX_SAFE_INTEGER);
}

function assertRange(
  settings: typeof defaults,
  name: keyof typeof defaults,
  least: number,
  most: number,
): void {
  const value = settings[name];
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) return;
  throw new RangeError(`${name} is ${value}; it must be a whole number from ${least} to ${most}`);
}

/** Of what this process may use: a container's limit, if there is one. */
function defaultMemoryLimit(): number {
  const constrained = process.constrainedMemory();
  const usable = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.floor(usable * 0.4);
}

function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function amqpUrl({ user, password, host }: typeof defaults, port: number): string {
  return `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${urlHost(host)}:${port}`;
}

function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

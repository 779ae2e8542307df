import type { Logger } from "../../../base/index.ts";
import type { ConnectionOptions } from "../../../client/index.ts";

/** Where a broker is that speaks AMQP 0-9-1, and how to log in. */
export interface AmqpAddress {
  /** `host:port`, tried in turn. */
  readonly hosts: readonly string[];
  /** A unix domain socket instead of the hosts. */
  readonly socketPath?: string;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  /** Node's TLS options; `true` takes their defaults. */
  readonly tls?: ConnectionOptions["tls"];
  /** What else the URL said: heartbeat, connection_timeout, channel_max. */
  readonly query?: URLSearchParams;
}

/** The client waits so long before it tries to connect again, growing from first to last. It never gives up. */
const retryFirstMs = 50;
const retryLastMs = 5_000;
/** A unix socket is on this machine: who serves it next is there in no time. */
const localRetryLastMs = 250;

export function connectionOptions(
  address: AmqpAddress,
  connectionName: string,
  logger: Logger,
): ConnectionOptions {
  const { socketPath, username, password, vhost, tls, query } = address;
  const given = (key: string, otherwise: number): number => Number(query?.get(key) ?? otherwise);
  return {
    places: placesOf(address),
    username,
    password,
    vhost,
    tls,
    connectionName,
    // On a unix socket the kernel says when the other end has gone.
    heartbeat: socketPath === undefined ? given("heartbeat", 60) : 0,
    connectionTimeoutMs: given("connection_timeout", 10_000),
    channelMax: given("channel_max", 2047),
    retryDelayMs: { first: retryFirstMs, last: socketPath === undefined ? retryLastMs : localRetryLastMs },
    logger,
  };
}

export function placesOf({ socketPath, hosts }: AmqpAddress): ConnectionOptions["places"] {
  if (socketPath !== undefined) return [{ socketPath }];
  const [first, ...others] = hosts.map((host) => ({ host }));
  return [first, ...others];
}

/**
 * `amqp://user:password@host:port,other:port/vhost?heartbeat=30`, or `amqps:`. What is left out is as for RabbitMQ's
 * clients: guest, guest, port 5672 (5671 with TLS), vhost `/`. https://www.rabbitmq.com/docs/uri-spec
 *
 * @throws TypeError when it is no such URL; the password is not repeated.
 */
export function parseAmqpUrl(url: string): AmqpAddress {
  const match = /^(amqps?):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(url);
  if (match === null) throw new TypeError("this is no AMQP URL; one is amqp://user:password@host:5672/vhost");
  const [, scheme, username = "guest", password = "guest", authority, vhost = "", query] = match;
  const isTls = scheme === "amqps";
  const port = isTls ? 5671 : 5672;
  const hosts = (authority === "" ? "localhost" : authority)
    .split(",")
    .map((host) => (/:\d+$/.test(host) ? host : `${host}:${port}`));
  return {
    hosts,
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    // As RabbitMQ's own clients mostly do it: no path and an empty one are both the default.
    vhost: vhost === "" ? "/" : decodeURIComponent(vhost),
    ...(isTls && { tls: true }),
    query: new URLSearchParams(query),
  };
}

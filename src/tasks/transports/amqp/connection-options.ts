import type { ConnectionOptions } from "rabbitmq-client";

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

/** The client waits so long before it tries to connect again, growing from low to high. It never gives up. */
const retryLowMs = 50;
const retryHighMs = 5_000;
/** A unix socket is on this machine: who serves it next is there in no time. */
const localRetryHighMs = 250;

export function connectionOptions(address: AmqpAddress, name: string): ConnectionOptions {
  const { hosts, socketPath, username, password, vhost, tls, query } = address;
  // The client takes no undefined for "not given".
  const given = (
    key: string,
    option: "heartbeat" | "connectionTimeout" | "maxChannels",
  ): ConnectionOptions => {
    const value = query?.get(key);
    return value == null ? {} : { [option]: Number(value) };
  };
  return {
    hosts: [...hosts],
    username,
    password,
    vhost,
    ...(tls !== undefined && { tls }),
    connectionName: name,
    // Many small frames, each waited for by somebody.
    noDelay: true,
    frameMax: 131_072,
    // On a unix socket the kernel says when the other end has gone.
    ...(socketPath === undefined ? given("heartbeat", "heartbeat") : { heartbeat: 0 }),
    ...given("connection_timeout", "connectionTimeout"),
    ...given("channel_max", "maxChannels"),
    retryLow: retryLowMs,
    retryHigh: socketPath === undefined ? retryHighMs : localRetryHighMs,
    // Node prefers the path to host and port, of which the client always gives some.
    ...(socketPath !== undefined && { socket: { path: socketPath } as never }),
  };
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

/** A TCP proxy on this machine that stands between a client and a broker, to break what is between them. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import type { BrokerUnderTest } from "./brokers.ts";
import { listenOnFreePort } from "./ports.ts";

export interface BreakableRoute {
  /** Where the client connects, with the broker's user and vhost. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Makes the broker itself close every connection, with 501 FRAME_ERROR. */
  provokeBroker(): void;
  /** Cuts every connection, with no word to either side. */
  cut(): void;
}

/** The two ways to lose a connection that a client must recover from. */
export const waysToBreak: readonly WayToBreak[] = [
  {
    way: "the broker closes its connection",
    breakIt: (route) => route.provokeBroker(),
    reason: /FRAME[-_]ERROR/,
  },
  {
    way: "the network cuts its connection",
    breakIt: (route) => route.cut(),
    reason: /close|reset|disconnect/i,
  },
];

interface WayToBreak {
  way: string;
  breakIt: (route: BreakableRoute) => void;
  /** What the client says about it. */
  reason: RegExp;
}

// An empty method frame whose last octet is not frame-end, 0xCE (AMQP 0-9-1 §4.2.3).
const malformedFrame = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/** Opens the route; it is closed when the test ends. */
export async function openBreakableRoute(broker: BrokerUnderTest): Promise<BreakableRoute> {
  const pairs = new Set<{ client: Socket; upstream: Socket }>();
  const server = createServer((client) => {
    const upstream = connect(broker.port, broker.host);
    const pair = { client, upstream };
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.setNoDelay().on("error", end).on("close", end);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  const cut = (): void => pairs.forEach(({ client }) => client.destroy());

  const port = await listenOnFreePort(server);
  onTestFinished(async () => {
    cut();
    await once(server.close(), "close");
  });

  const url = new URL(broker.url);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  return {
    url: url.href,
    host: "127.0.0.1",
    port,
    cut,
    provokeBroker: () => pairs.forEach(({ upstream }) => upstream.write(malformedFrame)),
  };
}

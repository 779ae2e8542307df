import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { systemClock, type Clock, type Logger } from "../base/index.ts";
import type { Broker } from "../broker/index.ts";
import type { ApiContext } from "./api-request.ts";
import { nodeFacts } from "./node-facts.ts";
import { Rates } from "./rates.ts";

export interface ManagementOptions {
  /** 0 takes any free port. RabbitMQ's management port is 15672. */
  readonly port: number;
  readonly host: string;
  readonly broker: Broker;
  readonly logger: Logger;
  /** How long a request's headers may take to come, in milliseconds. Default 10 000. */
  readonly headersTimeoutMs?: number;
  /** How long all of a request may take to come, in milliseconds. Default 60 000. */
  readonly requestTimeoutMs?: number;
  /** Connections at a time; further ones are answered 503. Default 1000. */
  readonly mostConnections?: number;
  /** For tests. */
  readonly clock?: Clock;
}

/** The HTTP side of a broker. */
export interface Management {
  readonly url: string;
  /** Stopping twice is fine. */
  stop(): Promise<void>;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * Starts the HTTP server. It answers `GET /health` with 200 while the broker takes connections, for probes and load
 * balancers, and with what the broker holds; `GET /metrics` for Prometheus; and RabbitMQ's management API at `/api`.
 *
 * The API's framework is loaded when its first request comes: at the start it would hold up the first AMQP clients, and
 * brokers that nobody asks need not have it in memory.
 *
 * @throws Error when the port is taken.
 */
export async function startManagement(options: ManagementOptions): Promise<Management> {
  const { host, broker, logger, clock = systemClock } = options;
  const server = createServer(timeouts(options));
  limitConnections(server, options.mostConnections ?? 1_000);
  try {
    server.listen({ port: options.port, host });
    await once(server, "listening");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new Error(
      `Cannot listen on ${host}:${options.port} for HTTP: another program listens there. ` +
        "Choose another port with --http-port.",
      { cause: error },
    );
  }
  const { port } = server.address() as AddressInfo;
  const node = nodeFacts({ address: broker.host, port: broker.port }, { address: host, port });
  const rates = new Rates(broker, clock);
  const context = { broker, node, rates };
  const api = lazily(context, logger);
  server.on("request", (request, response) => {
    const [pathname] = (request.url ?? "/").split("?", 1);
    if (pathname === "/health") health(request, response, broker);
    else if (pathname === "/metrics") void metrics(response, context, logger);
    else if (isApi(pathname)) api(request, response);
    else reply(response, 404, { error: "not_found", reason: `nothing at ${pathname}` });
  });
  logger.info({ host, port }, "http listening");
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async stop() {
      rates.stop();
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function isApi(pathname: string): boolean {
  return pathname === "/api" || pathname.startsWith("/api/") || pathname.startsWith("/metrics/");
}

/** Sums of the whole broker, for anybody, as from RabbitMQ. What has names is asked for with credentials. */
async function metrics(response: ServerResponse, context: ApiContext, logger: Logger): Promise<void> {
  try {
    const { brokerMetrics } = await import("./metrics.ts");
    const { exposition, expositionType } = await import("./exposition.ts");
    const text = exposition(await brokerMetrics(context));
    response.writeHead(200, { "content-type": expositionType }).end(text);
  } catch (error) {
    logger.error({ error: String(error) }, "metrics cannot be told");
    response.writeHead(500).end();
  }
}

/** Who is slow to say what it wants keeps a connection from others. */
function timeouts({ headersTimeoutMs = 10_000, requestTimeoutMs = 60_000 }: ManagementOptions): object {
  return {
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    // Who polls comes again on the same connection.
    keepAliveTimeout: 60_000,
    connectionsCheckingInterval: Math.min(1_000, headersTimeoutMs),
  };
}

const busy = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/** Connections that say nothing must not take what AMQP clients need. */
function limitConnections(server: Server, most: number): void {
  let open = 0;
  server.on("connection", (socket: Socket) => {
    open++;
    socket.once("close", () => open--);
    if (open > most) socket.end(busy, () => socket.destroy());
  });
}

/** Requests that come while the API is loaded wait for it. */
function lazily(context: ApiContext, logger: Logger): Handler {
  let loading: Promise<Handler> | undefined;
  let loaded: Handler | undefined;
  const load = async (): Promise<Handler> => {
    const { createApi } = await import("./api.ts");
    loaded = await createApi(context, logger);
    return loaded;
  };
  return (request, response) => {
    if (loaded) return loaded(request, response);
    loading ??= load();
    void loading.then(
      (handle) => handle(request, response),
      (error: unknown) => {
        logger.error({ error: String(error) }, "the management API cannot be loaded");
        response.destroy();
      },
    );
  };
}

function health(request: IncomingMessage, response: ServerResponse, broker: Broker): void {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return reply(response, 405, { error: "method_not_allowed", reason: "/health answers GET and HEAD" });
  }
  reply(response, 200, { status: "ok", ...broker.usage() });
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

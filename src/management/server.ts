import { fastify, type FastifyInstance } from "fastify";
import type { AddressInfo } from "node:net";
import type { Logger } from "../base/index.ts";
import type { Broker } from "../broker/index.ts";

export interface ManagementOptions {
  /** 0 takes any free port. RabbitMQ's management port is 15672. */
  readonly port: number;
  readonly host: string;
  readonly broker: Broker;
  readonly logger: Logger;
}

/** The HTTP side of a broker. */
export interface Management {
  readonly url: string;
  /** Stopping twice is fine. */
  stop(): Promise<void>;
}

/**
 * Starts the HTTP server.
 * @throws Error when the port is taken.
 */
export async function startManagement(options: ManagementOptions): Promise<Management> {
  const server = fastify({ forceCloseConnections: true });
  addHealth(server, options.broker);
  try {
    await server.listen({ port: options.port, host: options.host });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new Error(
      `Cannot listen on ${options.host}:${options.port} for HTTP: another program listens there. ` +
        "Choose another port with --http-port.",
      { cause: error },
    );
  }
  const { port } = server.server.address() as AddressInfo;
  options.logger.info({ host: options.host, port }, "http listening");
  return { url: `http://${options.host}:${port}`, stop: () => server.close() };
}

/** `GET /health`: 200 while the broker takes connections, for probes and load balancers. */
function addHealth(server: FastifyInstance, broker: Broker): void {
  server.get("/health", () => ({ status: "ok", ...broker.usage() }));
}

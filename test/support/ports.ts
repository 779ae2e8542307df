import { once } from "node:events";
import { createServer, type Server } from "node:net";

const host = "127.0.0.1";

/** Listens on a free port of this machine, for its own connections only. */
export async function listenOnFreePort(server: Server): Promise<number> {
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server listens on no port");
  return address.port;
}

/** Ports that were free just now, for a program that must be told its ports. */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map(listenOnFreePort));
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Logger } from "../base/index.ts";
import { tcpPeer, unixSocketPeer, type Peer } from "./connection/peer.ts";
import { listenOnUnixSocket, type UnixSocketFile } from "./unix-socket.ts";

/** Clients that may wait to be accepted: after a restart all come at once. */
const backlog = 1024;

export interface ListenOptions {
  /** false: no TCP. */
  readonly port: number | false;
  readonly host: string;
  readonly socketPath: string | undefined;
}

/** Where a broker takes connections: at a TCP port, a unix socket, or both. */
export class Listeners {
  /** The TCP port; 0 while there is none. */
  port = 0;
  private readonly accept: (socket: Socket, peer: Peer) => void;
  private readonly log: Logger;
  private readonly servers: Server[] = [];
  private socketFile: UnixSocketFile | undefined;
  private unixClients = 0;
  private closed: Promise<void> | undefined;

  constructor(accept: (socket: Socket, peer: Peer) => void, log: Logger) {
    this.accept = accept;
    this.log = log;
  }

  /** @throws Error that says where it cannot listen, and what to do. Nothing is left open then. */
  async listen({ port, host, socketPath }: ListenOptions): Promise<void> {
    try {
      if (socketPath !== undefined) await this.listenOnSocket(socketPath);
      if (port !== false) this.port = await listenOnTcp(this.server(tcpPeer), port, host);
      if (this.closed) throw new Error("the storage failed while the broker started");
    } catch (error) {
      await this.closeAll();
      throw error;
    }
    for (const server of this.servers) {
      server.on("error", (error) => this.log.error({ error: error.message }, "cannot accept a connection"));
    }
  }

  /** Takes no more connections and removes the socket's file. Twice is fine. */
  close(): Promise<void> {
    this.closed ??= this.closeAll();
    return this.closed;
  }

  private async listenOnSocket(path: string): Promise<void> {
    const server = this.server(() => unixSocketPeer(++this.unixClients));
    this.socketFile = await listenOnUnixSocket(server, path, backlog);
  }

  private server(peerOf: (socket: Socket) => Peer): Server {
    // Half-open: a client may send all it has, end, and read the replies then. The connection ends its side itself.
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      this.accept(socket, peerOf(socket));
    });
    this.servers.push(server);
    return server;
  }

  private async closeAll(): Promise<void> {
    const listening = this.servers.filter((server) => server.listening);
    const closed = listening.map((server) => once(server, "close"));
    for (const server of listening) server.close();
    // At once: before the data directory is given up, since the next broker on it may use the same path.
    this.socketFile?.remove();
    await Promise.all(closed);
  }
}

async function listenOnTcp(server: Server, port: number, host: string): Promise<number> {
  try {
    server.listen({ port, host, backlog });
    await once(server, "listening");
  } catch (error) {
    throw listenError(error as NodeJS.ErrnoException, port, host);
  }
  return (server.address() as AddressInfo).port;
}

function listenError(error: NodeJS.ErrnoException, port: number, host: string): Error {
  const hint: Record<string, string> = {
    EADDRINUSE: "another program listens there (a RabbitMQ?). Stop it, or choose another port.",
    EACCES: "this user may not listen there. Choose a port above 1023.",
    EADDRNOTAVAIL: "that is not an address of this machine.",
  };
  return new Error(`Cannot listen on ${host}:${port}: ${hint[error.code ?? ""] ?? error.message}`, {
    cause: error,
  });
}

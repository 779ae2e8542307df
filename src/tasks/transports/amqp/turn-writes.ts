import type { Connection } from "rabbitmq-client";

/** What we use of the socket that the client keeps to itself. */
interface CorkableSocket {
  cork(): void;
  uncork(): void;
  readonly destroyed: boolean;
}

/**
 * Gathers what a connection writes in one turn of the event loop into one write: the client makes one of each message and each
 * acknowledgement. Without this a sender spends most of its time in system calls (see docs/benchmarks.md, tasks). Where a
 * version of the client has no such socket, nothing changes.
 */
export class TurnWrites {
  private readonly connection: { readonly _socket?: CorkableSocket };
  private corked: CorkableSocket | undefined;

  constructor(connection: Connection) {
    this.connection = connection as never;
  }

  /** Call it before something is written. */
  gather(): void {
    const socket = this.connection._socket;
    if (this.corked !== undefined || typeof socket?.cork !== "function") return;
    this.corked = socket;
    socket.cork();
    setImmediate(() => {
      this.corked = undefined;
      socket.uncork();
    });
  }
}

import type { Connection } from "./connection/connection.ts";

/** The connections of a broker, and what the limits of users and virtual hosts count. */
export class OpenConnections {
  readonly all: Set<Connection> = new Set();

  /** All but those that are still logging in, or have said goodbye. */
  *open(): Generator<Connection> {
    for (const connection of this.all) if (connection.isOpen) yield connection;
  }

  *ofUser(user: string): Generator<Connection> {
    for (const connection of this.open()) if (connection.user === user) yield connection;
  }

  *ofVhost(name: string): Generator<Connection> {
    for (const connection of this.open()) if (connection.vhost.name === name) yield connection;
  }

  /** Channels that the user has open over all connections. */
  channelsOf(user: string): number {
    let channels = 0;
    for (const connection of this.ofUser(user)) channels += connection.channelCount;
    return channels;
  }
}

import type { Socket } from "node:net";
import type { Origin } from "../auth/index.ts";

/** Where a client is: for its login, and for the log. */
export interface Peer extends Origin {
  /** Tells it from others in the log. */
  readonly name: string;
  /** 0 for one that has none. */
  readonly port: number;
}

export function tcpPeer({ remoteAddress = "", remotePort = 0 }: Socket): Peer {
  const address = plainAddress(remoteAddress);
  return { name: `${address}:${remotePort}`, address, port: remotePort, isLoopback: isLoopback(address) };
}

/** The broker's `number`th client on its unix socket, which has no address. Whoever may open the file is on this machine. */
export function unixSocketPeer(number: number): Peer {
  return { name: `unix:${number}`, address: "unix", port: 0, isLoopback: true };
}

/** An IPv4 address as itself, where a socket for both kinds shows it as one of IPv6. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, "");
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

import type { Socket } from "node:net";
import type { Origin } from "../auth/index.ts";

/** Where a client is: for its login, and for the log. */
export interface Peer extends Origin {
  /** Tells it from others in the log. */
  readonly name: string;
}

export function tcpPeer({ remoteAddress = "", remotePort }: Socket): Peer {
  return {
    name: `${remoteAddress}:${remotePort}`,
    address: remoteAddress,
    isLoopback: isLoopback(remoteAddress),
  };
}

/** The broker's `number`th client on its unix socket, which has no address. Whoever may open the file is on this machine. */
export function unixSocketPeer(number: number): Peer {
  return { name: `unix:${number}`, address: "unix", isLoopback: true };
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}

import { connect } from "node:net";

const timeoutMs = 2_000;
const methodFrame = 1;

/**
 * Whether an AMQP broker listens there: it must answer the protocol header with a method frame
 * (connection.start, AMQP 0-9-1 §2.2.4), not merely accept the TCP connection.
 */
export function answersHandshake(host: string, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout: timeoutMs });
  socket.once("connect", () => socket.write("AMQP\x00\x00\x09\x01", "latin1"));
  socket.once("data", (answer) => resolve(answer[0] === methodFrame));
  socket.once("timeout", () => resolve(false));
  socket.once("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  return promise.finally(() => socket.destroy());
}

import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { AmqpAddress } from "./connection-options.ts";

const protocolHeader = Buffer.from("AMQP\u0000\u0000\u0009\u0001", "latin1");
const answerTimeoutMs = 5_000;

/**
 * What the server calls itself in connection.start: `Warren`, `RabbitMQ`. The client does not tell, and what a broker
 * cannot do must be known before it is asked. Undefined when nobody answers.
 */
export async function serverProduct(address: AmqpAddress): Promise<string | undefined> {
  for (const host of address.socketPath === undefined ? address.hosts : [""]) {
    const product = await productAt(address, host).catch(() => undefined);
    if (product !== undefined) return product;
  }
  return undefined;
}

function productAt({ socketPath, tls }: AmqpAddress, host: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = open(socketPath, host, tls);
  let received = Buffer.alloc(0);
  socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error("no answer")));
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("closed")));
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    const product = findProduct(received);
    if (product === undefined) return;
    resolve(product);
    socket.destroy();
  });
  socket.write(protocolHeader);
  return promise;
}

function open(socketPath: string | undefined, host: string, tls: AmqpAddress["tls"]): Socket {
  if (socketPath !== undefined) return connect({ path: socketPath });
  const { hostname, port } = new URL(`amqp://${host}`);
  const where = { host: hostname, port: Number(port) };
  if (!tls) return connect(where);
  return connectTls({ servername: hostname, ...where, ...(tls === true ? {} : tls) });
}

/** A field of the server properties: key and value each after their length, between them an S for a long string. */
function findProduct(bytes: Buffer): string | undefined {
  const key = bytes.indexOf("\u0007productS", "latin1");
  if (key < 0 || bytes.length < key + 13) return undefined;
  const start = key + 13;
  const end = start + bytes.readUInt32BE(key + 9);
  return bytes.length < end ? undefined : bytes.toString("utf8", start, end);
}

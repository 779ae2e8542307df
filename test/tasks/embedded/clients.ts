/** Clients of an embedded broker. */
import { setTimeout as sleep } from "node:timers/promises";
import { Connection } from "rabbitmq-client";
import { onTestFinished } from "vitest";

/** A client that connects again by itself, and ends with the test. */
export function connectTo(socketPath: string): Connection {
  const connection = new Connection({
    socket: { path: socketPath } as never,
    retryLow: 50,
    retryHigh: 200,
    heartbeat: 0,
  });
  connection.on("error", () => {});
  onTestFinished(() => connection.unsafeDestroy());
  return connection;
}

/** Publishes numbers, one after the other, until it is stopped; a number that was not confirmed is published again. */
export interface NumberedPublisher {
  /** How many were confirmed: the numbers below it. */
  readonly confirmed: number;
  /** Resolves when so many more have been confirmed. */
  confirms(count: number): Promise<void>;
  stop(): Promise<void>;
}

export async function publishNumbers(socketPath: string, queue: string): Promise<NumberedPublisher> {
  const connection = connectTo(socketPath);
  await connection.queueDeclare({ queue, durable: true });
  const publisher = connection.createPublisher({ confirm: true });
  let confirmed = 0;
  const stopping = new AbortController();
  // A test that has failed does not stop it, and its connection is gone then.
  onTestFinished(() => stopping.abort());
  let awaited: { at: number; resolve: () => void } | undefined;
  const publishing = (async () => {
    while (!stopping.signal.aborted) {
      try {
        await publisher.send({ routingKey: queue, durable: true, mandatory: true }, String(confirmed));
      } catch {
        await sleep(10);
        continue;
      }
      confirmed++;
      if (awaited && confirmed >= awaited.at) awaited.resolve();
    }
    await publisher.close();
  })();
  return {
    get confirmed() {
      return confirmed;
    },
    confirms: (count) =>
      new Promise((resolve) => {
        awaited = { at: confirmed + count, resolve };
      }),
    async stop() {
      stopping.abort();
      await publishing;
    },
  };
}

/** Empties a queue; gives back the bodies in the order in which they stood there. */
export async function drain(socketPath: string, queue: string): Promise<string[]> {
  const connection = connectTo(socketPath);
  const bodies: string[] = [];
  for (;;) {
    const message = await connection.basicGet({ queue, noAck: true });
    if (!message) return bodies;
    bodies.push(String(message.body));
  }
}

/** The AMQP client of tasks, on both brokers and on sockets that misbehave. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import {
  Connection,
  fromTable,
  InterruptedError,
  RefusedError,
  toTable,
  type Channel,
  type ConnectionOptions,
  type Publication,
  type ReceivedMessage,
} from "../../src/client/index.ts";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { certificate, key } from "../support/tls-certificate.ts";

function optionsFor(url: string, more: Partial<ConnectionOptions> = {}): ConnectionOptions {
  const { host, username, password, pathname } = new URL(url);
  return {
    places: [{ host }],
    username,
    password,
    vhost: decodeURIComponent(pathname.slice(1)) || "/",
    connectionName: "client test",
    heartbeat: 60,
    channelMax: 2047,
    connectionTimeoutMs: 5_000,
    retryDelayMs: { first: 10, last: 100 },
    logger: silentLogger,
    ...more,
  };
}

async function opened(url: string, more: Partial<ConnectionOptions> = {}): Promise<Connection> {
  const connection = await Connection.open(optionsFor(url, more));
  onTestFinished(() => connection.close());
  return connection;
}

function to(routingKey: string, body: Uint8Array, more: Partial<Publication> = {}): Publication {
  return { exchange: "", routingKey, mandatory: true, properties: {}, body, ...more };
}

async function next(channel: Channel, queue: string): Promise<ReceivedMessage> {
  const { promise, resolve } = Promise.withResolvers<ReceivedMessage>();
  channel.onMessage = resolve;
  await channel.basicConsume(queue, { noAck: true });
  return promise;
}

describeEachBroker("our client", (broker) => {
  test("brings back what was sent: every property, and headers of every type", async () => {
    const channel = await (await opened(broker().url)).acquire();
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    const headers = {
      text: "ä€😀",
      long: "x".repeat(300),
      small: -7,
      large: 2 ** 40,
      larger: 2n ** 62n,
      fraction: 0.5,
      yes: true,
      at: new Date(1_700_000_000_000),
      bytes: Buffer.from([0, 255]),
      list: ["a", 1, ["b"]],
      nested: { deep: { er: null } },
    };
    const properties = {
      contentType: "text/x",
      contentEncoding: "none",
      headers: toTable(headers),
      deliveryMode: 2,
      priority: 3,
      correlationId: "c",
      replyTo: "r",
      expiration: "60000",
      messageId: "mé",
      timestamp: 1_700_000_000n,
      type: "t",
      appId: "a",
    };
    channel.basicPublish(to(queue, Buffer.from("body"), { properties }));
    const message = await next(channel, queue);
    expect({ ...message.properties, headers: undefined }).toEqual({ ...properties, headers: undefined });
    expect(fromTable(message.properties.headers!)).toEqual(headers);
    expect(message.body.toString()).toBe("body");
    expect(message).toMatchObject({ exchange: "", routingKey: queue, redelivered: false, deliveryTag: 1 });
  });

  test.each([0, 1, 131_063, 131_064, 131_065, 300_000, 5_000_000])("brings back %d bytes", async (size) => {
    const channel = await (await opened(broker().url)).acquire();
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    const body = Buffer.alloc(size, "0123456789");
    channel.basicPublish(to(queue, body));
    expect((await next(channel, queue)).body.equals(body)).toBe(true);
  });

  test("confirms are told in order, a return before its confirm", async () => {
    const channel = await (await opened(broker().url)).acquire();
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    await channel.confirmSelect();
    const told: string[] = [];
    let last = 0;
    channel.onReturn = ({ routingKey }) => told.push(`returned ${routingKey}`);
    channel.onConfirm = (tag, multiple, isAcked) => {
      told.push(`${isAcked ? "acked" : "nacked"} ${tag}`);
      last = multiple ? tag : Math.max(last, tag);
    };
    expect(channel.basicPublish(to("nowhere", Buffer.alloc(0)))).toBe(1);
    expect(channel.basicPublish(to(queue, Buffer.alloc(0)))).toBe(2);
    await expect.poll(() => last).toBe(2);
    expect(told[0]).toBe("returned nowhere");
    expect(told.filter((what) => what.startsWith("nacked"))).toEqual([]);
  });

  test("what is refused says so to whoever asked; others on the channel are interrupted", async () => {
    const connection = await opened(broker().url);
    const channel = await connection.acquire();
    const closed = Promise.withResolvers<Error | undefined>();
    channel.onClose = closed.resolve;
    const outcomes = await Promise.allSettled([
      channel.queueDeclare({ queue: "", exclusive: true }),
      channel.queueDeclare({ queue: broker().queueName("missing"), passive: true }),
      channel.basicQos(1),
    ]);
    const [first, refused, interrupted] = outcomes.map(
      (outcome) => outcome.status === "rejected" && (outcome.reason as Error),
    );
    expect(first).toBe(false);
    expect(refused).toBeInstanceOf(RefusedError);
    expect(refused).toMatchObject({ code: "NOT_FOUND" });
    expect((refused as Error).message).toMatch(/no queue '.*missing.*' in vhost '\/'/);
    expect(interrupted).toBeInstanceOf(InterruptedError);
    expect(await closed.promise).toBe(refused);
    expect(channel.active).toBe(false);
    await expect(channel.basicQos(1)).rejects.toThrow(InterruptedError);
    expect(() => channel.basicPublish(to("x", Buffer.alloc(0)))).toThrow(InterruptedError);
    // The connection is none the worse.
    await (await connection.acquire()).close();
  });

  test("a name that is too long is an error, and nothing of it is sent", async () => {
    const channel = await (await opened(broker().url)).acquire();
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    expect(() => channel.basicPublish(to("x".repeat(256), Buffer.from("lost")))).toThrow(RangeError);
    channel.basicPublish(to(queue, Buffer.from("kept")));
    expect((await next(channel, queue)).body.toString()).toBe("kept");
  });

  test("what is got and not settled is there again when the channel is closed", async () => {
    const connection = await opened(broker().url);
    const channel = await connection.acquire();
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    expect(await channel.basicGet(queue)).toBeUndefined();
    channel.basicPublish(to(queue, Buffer.from("again")));
    await expect.poll(async () => (await channel.basicGet(queue))?.body.toString()).toBe("again");
    await channel.close();
    await channel.close();
    const other = await connection.acquire();
    await expect.poll(async () => (await other.basicGet(queue))?.redelivered, { interval: 20 }).toBe(true);
  });

  test("a consumer whose queue is deleted is told", async () => {
    const connection = await opened(broker().url);
    const [channel, other] = [await connection.acquire(), await connection.acquire()];
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
    const cancelled = Promise.withResolvers<void>();
    channel.onCancel = cancelled.resolve;
    await channel.basicConsume(queue, { noAck: true });
    await other.queueDelete(queue);
    await cancelled.promise;
    expect(channel.active).toBe(true);
  });

  test("speaks TLS, to whom it can trust only", async () => {
    const { host, port } = broker();
    const server = createTlsServer({ cert: certificate, key }, (socket) => {
      const upstream = connect(port, host);
      socket.pipe(upstream).pipe(socket);
      socket.on("error", () => upstream.destroy());
      upstream.on("error", () => socket.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const places: ConnectionOptions["places"] = [
      { host: `localhost:${(server.address() as AddressInfo).port}` },
    ];
    const connection = await opened(broker().url, { places, tls: { ca: certificate } });
    const channel = await connection.acquire();
    expect((await channel.queueDeclare({ queue: "", exclusive: true })).messageCount).toBe(0);
    await expect(Connection.open(optionsFor(broker().url, { places, tls: true }))).rejects.toThrow(
      "self-signed certificate",
    );
  });

  test("a broker that sends no heartbeats for two intervals is taken for lost", async () => {
    vi.useFakeTimers({ toFake: ["setInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const connection = await opened(broker().url, { heartbeat: 1 });
    const channel = await connection.acquire();
    const closed = Promise.withResolvers<Error | undefined>();
    channel.onClose = closed.resolve;
    // One of them comes after the answer to the channel's opening.
    vi.advanceTimersByTime(2_000);
    expect(channel.active).toBe(true);
    vi.advanceTimersByTime(500);
    expect((await closed.promise)?.message).toMatch("no heartbeat");
  });

  test("a wrong password is refused with the broker's words", async () => {
    const refused = Connection.open(optionsFor(broker().url, { password: "wrong" }));
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(refused).rejects.toThrow(/ACCESS_REFUSED/);
  });

  test("the next place is tried when one does not answer", async () => {
    const { host } = new URL(broker().url);
    const connection = await opened(broker().url, { places: [{ host: "127.0.0.1:1" }, { host }] });
    expect(connection.product).toMatch(/Warren|RabbitMQ/);
  });

  test.each(waysToBreak)("when $way its channels are told, and the next is on the next", async (way) => {
    const route = await openBreakableRoute(broker());
    const connection = await opened(route.url);
    const channel = await connection.acquire();
    const closed = Promise.withResolvers<Error | undefined>();
    channel.onClose = closed.resolve;
    way.breakIt(route);
    expect((await closed.promise)?.message).toMatch(way.reason);
    const again = await connection.acquire();
    expect((await again.queueDeclare({ queue: "", exclusive: true })).messageCount).toBe(0);
    await connection.close();
    await expect(connection.acquire()).rejects.toThrow("the connection is closed");
  });
});

/** A server that says nothing of its own; what comes is given to `onData`. */
async function listening(onData: (socket: Socket, chunk: Buffer) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => onData(socket, chunk));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `amqp://guest:guest@127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("what answers and speaks no AMQP is an error", async () => {
  const url = await listening((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await expect(Connection.open(optionsFor(url))).rejects.toThrow(/a frame of \d+ bytes is longer/);
});

test("what answers nothing is waited for as long as was said", async () => {
  const url = await listening(() => {});
  await expect(Connection.open(optionsFor(url, { connectionTimeoutMs: 50 }))).rejects.toThrow(
    "no answer within 50 ms",
  );
});

import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { connect as connectAmqplib, type ChannelModel } from "amqplib";
import { Connection } from "rabbitmq-client";
import { describe, expect, onTestFinished, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { listenOnFreePort } from "../support/ports.ts";

async function started(options: BrokerOptions = {}): Promise<Broker> {
  const broker = await startBroker({
    port: false,
    socketPath: join(dataDirectory(), "broker.sock"),
    ...options,
  });
  onTestFinished(() => broker.stop(100));
  return broker;
}

/** amqplib's connection to a unix socket. */
function connectTo(path: string): Promise<ChannelModel> {
  return connectAmqplib({ protocol: "amqp" }, { path });
}

async function greets(path: string): Promise<void> {
  await (await connectTo(path)).close();
}

function client(path: string, options: object = {}): Connection {
  const connection = new Connection({ socket: { path } as never, ...options });
  connection.on("error", () => {});
  onTestFinished(() => connection.unsafeDestroy());
  return connection;
}

describe("a broker on a unix socket", () => {
  test.each([true, false])("serves clients as over TCP (staticReads: %s)", async (staticReads) => {
    const { socketPath } = await started({ staticReads });
    const connection = client(socketPath!);
    const sizes = [0, 10, 300_000, 3_000_000];
    const lengths: number[] = [];
    const consumer = connection.createConsumer(
      { queue: "q", queueOptions: { exclusive: true } },
      ({ body }) => void lengths.push((body as Buffer).length),
    );
    onTestFinished(() => consumer.close());
    await once(consumer, "ready");
    const publisher = connection.createPublisher({ confirm: true });
    for (const size of sizes) await publisher.send("q", Buffer.alloc(size, 7));
    await publisher.close();
    await expect.poll(() => lengths).toEqual(sizes);
  });

  test("takes clients over TCP as well, unless the port is false", async () => {
    const both = await started({ port: 0 });
    expect(both.url).toBe(`amqp://guest:guest@127.0.0.1:${both.port}`);
    await (await connectAmqplib(both.url)).close();
    await greets(both.socketPath!);

    const one = await started();
    expect(one).toMatchObject({ port: 0, url: `unix://${one.socketPath}` });
    await expect(async () => connectAmqplib(one.url)).rejects.toThrow("Expected amqp: or amqps:");
    await expect(startBroker({ port: false })).rejects.toThrow(RangeError);
    expect((await started({ port: 0, socketPath: undefined })).socketPath).toBeUndefined();
  });

  test("lets guest in, whatever accounts its directory has, when guest is asked for", async () => {
    const dataDir = dataDirectory();
    {
      await using broker = await startBroker({ port: 0, dataDir, user: "admin", password: "secret" });
      await broker.admin.addUser("worker", "secret too");
    }
    {
      await using broker = await startBroker({ port: false, socketPath: join(dataDir, "a.sock"), dataDir });
      await expect(greets(broker.socketPath!)).rejects.toThrow(/ACCESS_REFUSED|403/);
    }
    const socketPath = join(dataDir, "b.sock");
    await started({ dataDir, socketPath, user: "guest", password: "guest" });
    await greets(socketPath);
  });

  test("guest and guest are refused on another address all the same", async () => {
    const socketPath = join(dataDirectory(), "broker.sock");
    const options = { socketPath, host: "0.0.0.0", user: "guest", password: "guest" };
    await expect(startBroker({ port: 0, ...options })).rejects.toThrow("Refusing to listen on 0.0.0.0");
    await started(options);
  });

  test("names its clients in the log", async () => {
    const peers: unknown[] = [];
    const info = (fields: object, message: string): void => {
      if (message === "connection open") peers.push((fields as { peer: string }).peer);
    };
    const { socketPath } = await started({ logger: { ...silentLogger, info } });
    await greets(socketPath!);
    await greets(socketPath!);
    expect(peers).toEqual(["unix:1", "unix:2"]);
  });

  test("gives up a client that misses its heartbeats", async () => {
    const clock = new ManualClock();
    const broker = await started({ clock });
    await client(broker.socketPath!, { heartbeat: 10 }).onConnect();
    clock.advance(9_000);
    expect(broker.usage().connections).toBe(1);
    clock.advance(20_000);
    await expect.poll(() => broker.usage().connections).toBe(0);
  });
});

describe("the socket's file", () => {
  test("is made without a trace beside its directory", async () => {
    const parent = dataDirectory();
    const directory = join(parent, "endsInX");
    mkdirSync(directory);
    const before = new Date(0);
    utimesSync(parent, before, before);
    await started({ socketPath: join(directory, "broker.sock") });
    expect(statSync(parent).mtime).toEqual(before);
    expect(readdirSync(directory)).toEqual(["broker.sock"]);
  });

  test("is this user's alone, whatever the umask, and leaves nothing beside it", async () => {
    const before = process.umask(0);
    onTestFinished(() => void process.umask(before));
    const directory = dataDirectory();
    chmodSync(directory, 0o777);
    const broker = await started({ socketPath: join(directory, "broker.sock") });
    expect(lstatSync(broker.socketPath!).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(["broker.sock"]);
    await broker.stop();
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each(["with", "without"])("of a broker that died is replaced, %s a data directory", async (what) => {
    const directory = dataDirectory();
    const socketPath = join(directory, "broker.sock");
    const dataDir = what === "with" ? join(directory, "data") : undefined;
    const dead = await forkBroker({ socketPath, dataDir });
    await greets(socketPath);
    await dead.kill();
    expect(existsSync(socketPath)).toBe(true);
    await expect(greets(socketPath)).rejects.toThrow("ECONNREFUSED");
    await started({ socketPath, dataDir });
    await greets(socketPath);
  });

  test.each(["with", "without"])(
    "of a broker that lives is left to it, %s a data directory",
    async (what) => {
      const first = await started();
      const socketPath = first.socketPath!;
      const dataDir = what === "with" ? dataDirectory() : undefined;
      await expect(startBroker({ port: false, socketPath, dataDir })).rejects.toThrow(
        /Cannot listen on the unix socket .*another program listens there/,
      );
      await greets(socketPath);
      // What was refused has let go of its directory.
      if (dataDir !== undefined) await started({ dataDir });
    },
  );

  test("is not taken away from who has taken its place", async () => {
    const first = await started();
    const socketPath = first.socketPath!;
    const { ino } = statSync(socketPath);
    // Somebody else removes the file: the next broker cannot know of the first.
    unlinkSync(socketPath);
    await started({ socketPath });
    expect(statSync(socketPath).ino).not.toBe(ino);
    await first.stop();
    await greets(socketPath);
  });

  test("goes when the port is taken, and so does the claim on the data directory", async () => {
    const other = createServer();
    const port = await listenOnFreePort(other);
    onTestFinished(() => void other.close());
    const dataDir = dataDirectory();
    const socketPath = join(dataDir, "broker.sock");
    await expect(startBroker({ port, socketPath, dataDir })).rejects.toThrow("another program listens there");
    expect(existsSync(socketPath)).toBe(false);
    await started({ socketPath, dataDir });
  });

  test("may have a path as long as the kernel takes, and no longer", async () => {
    const longest = process.platform === "linux" ? 107 : 103;
    const directory = dataDirectory();
    const path = join(directory, "s".repeat(longest - Buffer.byteLength(directory) - 1));
    const { socketPath } = await started({ socketPath: path });
    expect(socketPath).toHaveLength(longest);
    await greets(path);
    await expect(startBroker({ port: false, socketPath: `${path}s` })).rejects.toThrow(
      `socketPath is ${longest + 1} bytes long; the system allows ${longest}`,
    );
    // Counted in bytes; and a short name gains nothing over the one that the socket is made under.
    const deep = join(directory, "ü".repeat((longest - Buffer.byteLength(directory) - 4) >> 1));
    mkdirSync(deep);
    await expect(startBroker({ port: false, socketPath: join(deep, "s") })).rejects.toThrow(RangeError);
  });

  test.each<[string, string, RegExp]>([
    ["a file that is no socket", "file", /no socket\. Choose another path/],
    ["a directory", ".", /no socket\. Choose another path/],
    ["a directory that is not there", "nowhere/broker.sock", /no such directory\. Make it first/],
  ])("is refused in the place of %s", async (_name, path, message) => {
    const directory = dataDirectory();
    writeFileSync(join(directory, "file"), "precious");
    const socketPath = join(directory, path);
    await expect(startBroker({ port: false, socketPath })).rejects.toThrow(message);
    expect(readdirSync(directory)).toEqual(["file"]);
  });

  test("may be named relative to the working directory", async () => {
    const directory = dataDirectory();
    const before = process.cwd();
    process.chdir(directory);
    onTestFinished(() => process.chdir(before));
    const { socketPath } = await started({ socketPath: "broker.sock" });
    expect(dirname(socketPath!)).toBe(process.cwd());
  });
});

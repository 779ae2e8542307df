import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { silentLogger, type Logger } from "../../src/base/index.ts";
import { checkDataDirectory, startBroker } from "../../src/broker/index.ts";
import {
  openEmbeddedBroker,
  type EmbeddedBroker,
  type EmbeddedRole,
} from "../../src/tasks/embedded/index.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { connectTo, drain } from "./embedded/clients.ts";

async function opened(dataDir: string | undefined, logger: Logger = silentLogger): Promise<EmbeddedBroker> {
  const broker = await openEmbeddedBroker({ dataDir, logger });
  onTestFinished(() => broker.stop().catch(() => {}));
  return broker;
}

/** Publishes to a durable queue; resolves when that is confirmed, by whichever broker it takes. */
async function publish(socketPath: string, body: string): Promise<void> {
  const queues = [{ queue: "work", durable: true }];
  const publisher = connectTo(socketPath).createPublisher({ confirm: true, maxAttempts: 100, queues });
  await publisher.send({ routingKey: "work", durable: true, mandatory: true }, body);
  await publisher.close();
}

describe("an embedded broker", () => {
  test("serves clients on a socket in its directory, and keeps what they were confirmed", async () => {
    const dataDir = dataDirectory();
    const broker = await opened(dataDir);
    expect(broker).toMatchObject({ isServing: true, socketPath: join(dataDir, "warren.sock") });
    expect(lstatSync(broker.socketPath).mode & 0o777).toBe(0o600);
    await publish(broker.socketPath, "kept");
    await broker.stop();
    await broker.stop();
    expect(existsSync(broker.socketPath)).toBe(false);
    const { wasStoppedInOrder, messages } = await checkDataDirectory(dataDir);
    expect([wasStoppedInOrder, messages]).toEqual([true, 1]);

    await using again = await opened(dataDir);
    expect(await drain(again.socketPath, "work")).toEqual(["kept"]);
  });

  test("is one for two that open its directory in one process, and goes on when the first stops", async () => {
    const dataDir = dataDirectory();
    const first = await opened(dataDir);
    const second = await opened(dataDir);
    expect([first.isServing, second.isServing]).toEqual([true, false]);
    const roles: EmbeddedRole[] = [];
    second.onChange((role) => roles.push(role));
    await publish(first.socketPath, "through the first");
    // One that is attached only lets go.
    await (await opened(dataDir)).stop();
    await first.stop();
    await publish(second.socketPath, "through the second");
    expect(await drain(second.socketPath, "work")).toEqual(["through the first", "through the second"]);
    expect([roles, second.isServing, first.isServing]).toEqual([["serving"], true, false]);
  });

  test("in memory is private, and leaves nothing", async () => {
    const [one, other] = await Promise.all([opened(undefined), opened(undefined)]);
    expect([one.isServing, other.isServing]).toEqual([true, true]);
    await publish(one.socketPath, "for one");
    await connectTo(other.socketPath).queueDeclare({ queue: "work", durable: true });
    expect(await drain(other.socketPath, "work")).toEqual([]);
    expect(statSync(dirname(one.socketPath)).mode & 0o777).toBe(0o700);
    await one.stop();
    expect(existsSync(dirname(one.socketPath))).toBe(false);
  });

  test("runs in this thread for a test with a clock", async () => {
    const clock = new ManualClock();
    await using broker = await openEmbeddedBroker({ dataDir: undefined, logger: silentLogger, clock });
    expect(broker.isServing).toBe(true);
    expect(clock.pending).toBeGreaterThan(0);
    await publish(broker.socketPath, "in this thread");
  });

  test("hands its log to the logger, at debug only when that wants it", async () => {
    const lines = await logOf({ ...silentLogger });
    expect(lines).toContain("info broker listening");
    expect(lines).not.toContain("debug method");
    const wantsDebug = { ...silentLogger, isLevelEnabled: (level: string) => level === "debug" };
    expect(await logOf(wantsDebug)).toContain("debug method");
  });
});

describe("the directory of an embedded broker", () => {
  test("that is damaged is refused, with what is wrong, and let go", async () => {
    const dataDir = dataDirectory();
    writeFileSync(join(dataDir, "segment-00001.log"), "not a segment");
    const opening = openEmbeddedBroker({ dataDir, logger: silentLogger });
    await expect(opening).rejects.toMatchObject({
      name: "StorageError",
      message: expect.stringContaining("segments of a log are there"),
    });
    rmSync(join(dataDir, "segment-00001.log"));
    await using broker = await openEmbeddedBroker({ dataDir, logger: silentLogger });
    expect(broker.isServing).toBe(true);
  });

  test("may have a path too long for a socket: that stands elsewhere, the same for all", async () => {
    const temporary = temporaryDirectory();
    const dataDir = join(dataDirectory(), "long".repeat(30));
    const first = await opened(dataDir);
    const link = join(dataDirectory(), "link");
    symlinkSync(dataDir, link);
    const second = await opened(link);
    expect([first.isServing, second.isServing]).toEqual([true, false]);
    expect(second.socketPath).toBe(first.socketPath);
    const directory = join(temporary, `warren-${userInfo().uid}`);
    expect(dirname(first.socketPath)).toBe(directory);
    expect(lstatSync(directory).mode & 0o777).toBe(0o700);
    await publish(second.socketPath, "from afar");
  });

  test.each<[string, (path: string) => void]>([
    ["open to others", (path) => mkdirSync(path, { mode: 0o755 })],
    ["a link", (path) => symlinkSync(dataDirectory(), path)],
  ])("is not used through a socket directory that is %s", async (_what, make) => {
    const temporary = temporaryDirectory();
    make(join(temporary, `warren-${userInfo().uid}`));
    const dataDir = join(dataDirectory(), "long".repeat(30));
    await expect(opened(dataDir)).rejects.toThrow("that nobody else may enter (mode 700), and is not");
  });

  test("that another process has is waited for, which the log says after ten seconds", async () => {
    const dataDir = dataDirectory();
    const holder = await startBroker({ port: 0, dataDir });
    const errors: unknown[] = [];
    const logger = { ...silentLogger, error: (fields: object) => errors.push(fields) };
    const clock = new ManualClock();
    const opening = openEmbeddedBroker({ dataDir, logger, clock });
    clock.advance(9_999);
    expect(errors).toEqual([]);
    clock.advance(1);
    const pid = process.platform === "linux" ? process.pid : undefined;
    expect(errors).toEqual([expect.objectContaining({ dataDir, pid })]);
    await holder.stop();
    await using broker = await opening;
    expect(broker.isServing).toBe(true);
    clock.advance(60_000);
    expect(errors).toHaveLength(1);
  });

  // The files are taken from under the broker's thread, which only Linux lets us find.
  test.runIf(process.platform === "linux")("that cannot be written any more is opened again", async () => {
    const dataDir = dataDirectory();
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (_fields: object, message: string) => errors.push(message) };
    const first = await opened(dataDir, logger);
    await publish(first.socketPath, "before");
    breakSegments(dataDir);
    await publish(first.socketPath, "after");
    expect(await drain(first.socketPath, "work")).toEqual(expect.arrayContaining(["before", "after"]));
    expect(errors).toEqual(
      expect.arrayContaining([
        "storage failed: the broker stops",
        "the embedded broker has failed: another one is started",
      ]),
    );
    await first.stop();
  });
});

/** What an embedded broker logs while a client comes and goes. */
async function logOf(logger: Logger): Promise<string[]> {
  const lines: string[] = [];
  for (const level of ["debug", "info", "warn", "error"] as const) {
    logger[level] = (_fields, message) => void lines.push(`${level} ${message}`);
  }
  const broker = await openEmbeddedBroker({ dataDir: undefined, logger });
  await publish(broker.socketPath, "logged");
  await broker.stop();
  return lines;
}

/** A directory for temporary files, for this test alone. */
function temporaryDirectory(): string {
  const before = process.env["TMPDIR"];
  const directory = dataDirectory();
  process.env["TMPDIR"] = directory;
  onTestFinished(() => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  });
  expect(tmpdir()).toBe(directory);
  return directory;
}

/** Puts a file that cannot be written in the place of each segment that this process has open. */
function breakSegments(dataDir: string): void {
  for (const fd of readdirSync("/proc/self/fd")) {
    const target = linkTarget(`/proc/self/fd/${fd}`);
    if (!target?.startsWith(`${dataDir}/segment-`)) continue;
    closeSync(Number(fd));
    // The system gives the lowest number that is free, which is this one unless a lower one is, too.
    const given: number[] = [];
    while (given.at(-1) !== Number(fd)) given.push(openSync("/dev/null", "r"));
    for (const other of given.slice(0, -1)) closeSync(other);
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

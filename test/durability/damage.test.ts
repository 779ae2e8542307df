import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBroker, type Logger } from "../../src/broker/index.ts";
import {
  batchHeaderBytes,
  decodeBatch,
  encodeBatchHeader,
  encodeFileHeader,
  fileHeaderBytes,
} from "../../src/broker/storage/log/format.ts";
import { defaultGeometry } from "../../src/broker/storage/log/geometry.ts";
import { silentLogger } from "../../src/base/index.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";

const program = join(import.meta.dirname, "../../dist/cli/main.js");
const definitionsFile = "definitions.log";

/** A batch in the data directory that the rows damage. */
interface FoundBatch {
  file: string;
  offset: number;
  bytes: number;
  commit: number;
  generation: number;
}

/** Broker directories that the rows copy: made once. */
interface Bases {
  root: string;
  /** Queue `q` with the messages 0 … 29, each in a commit of its own; then the broker was killed. */
  killed: string;
  /** The same, stopped in order. */
  stopped: string;
  /** 45 messages of 1 MiB, so that the log has three segments; killed. */
  long: string;
  /** As `killed`, but another directory. */
  other: string;
}

let bases: Bases;

beforeAll(async () => {
  const root = mkdtempSync(join(tmpdir(), "warren-damage-"));
  bases = {
    root,
    killed: join(root, "killed"),
    stopped: join(root, "stopped"),
    long: join(root, "long"),
    other: join(root, "other"),
  };
  await fill(bases.killed, 30, 100, "kill");
  await fill(bases.stopped, 30, 100, "stop");
  await fill(bases.long, 45, 1 << 20, "kill");
  await fill(bases.other, 3, 100, "kill");
}, 60_000);

afterAll(() => rmSync(bases.root, { recursive: true }));

async function fill(dataDir: string, count: number, bodyBytes: number, end: "kill" | "stop"): Promise<void> {
  const broker = await forkBroker({ dataDir });
  const connection = await connect(`amqp://guest:guest@127.0.0.1:${broker.port}`);
  connection.on("error", () => {});
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  await channel.assertQueue("q", { durable: true });
  for (let number = 0; number < count; number++) {
    channel.sendToQueue("q", bodyOf(number, bodyBytes), { persistent: true });
    await channel.waitForConfirms();
  }
  if (end === "stop") await connection.close();
  await broker[end]();
}

function bodyOf(number: number, bytes = 100): Buffer {
  const body = Buffer.alloc(bytes, number);
  body.writeUInt32BE(number);
  return body;
}

/** Where the last definition ends: behind it are zeroes. */
function definitionsEnd(directory: string): number {
  return readFileSync(join(directory, definitionsFile)).findLastIndex((octet) => octet !== 0) + 1;
}

function copyOf(base: string): string {
  const directory = dataDirectory();
  cpSync(base, directory, { recursive: true });
  return directory;
}

/** Starts a broker on the directory; returns the numbers that are in `q`, in order, and what it warned of. */
async function startOn(dataDir: string): Promise<{ numbers: number[]; warnings: string[] }> {
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (_fields, message) => warnings.push(message) };
  await using broker = await startBroker({ port: 0, dataDir, logger });
  const connection = await connect(broker.url);
  const channel = await connection.createChannel();
  await channel.assertQueue("q", { durable: true });
  const numbers: number[] = [];
  for (;;) {
    const message = await channel.get("q", { noAck: true });
    if (!message) break;
    const number = message.content.readUInt32BE();
    expect(message.content.equals(bodyOf(number, message.content.length))).toBe(true);
    numbers.push(number);
  }
  await connection.close();
  return { numbers, warnings };
}

async function checkData(...args: string[]): Promise<{ status: number; text: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, "check-data", ...args]);
    return { status: 0, text: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, text: stdout + stderr };
  }
}

function segmentFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => /^segment-\d+\.log$/.test(name))
    .toSorted();
}

function nonceOf(directory: string): bigint {
  return readFileSync(join(directory, definitionsFile)).readBigUInt64LE(8);
}

/** All batches of the log, in order of their commits. */
function batchesIn(directory: string): FoundBatch[] {
  const found: FoundBatch[] = [];
  const nonce = nonceOf(directory);
  const { chunkBytes } = defaultGeometry;
  for (const file of segmentFiles(directory)) {
    const content = new Uint8Array(readFileSync(join(directory, file)));
    for (let chunk = 0; chunk < content.length; chunk += chunkBytes) {
      const bytes = content.slice(chunk, chunk + chunkBytes);
      const view = new DataView(bytes.buffer);
      let at = chunk === 0 ? fileHeaderBytes : 0;
      for (;;) {
        const header = decodeBatch(bytes, view, at, nonce);
        if (!header) break;
        const length = batchHeaderBytes + header.payloadBytes;
        const { commit, generation } = header;
        found.push({ file, offset: chunk + at, bytes: length, commit, generation });
        at += length;
      }
    }
  }
  return found.toSorted((a, b) => a.commit - b.commit);
}

function change(directory: string, file: string, edit: (bytes: Buffer) => void): void {
  const path = join(directory, file);
  const bytes = readFileSync(path);
  edit(bytes);
  writeFileSync(path, bytes);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, number) => number);
const all = upTo(30);

/** Where the batch with message `number` stands: the last commits of the directory carry one message each. */
function messageBatch(directory: string, number: number, count = 30): FoundBatch {
  const body = bodyOf(number).toString("latin1");
  const batches = batchesIn(directory).filter(({ file, offset, bytes }) =>
    readFileSync(join(directory, file))
      .toString("latin1", offset, offset + bytes)
      .includes(body),
  );
  expect(batches.length, `message ${number} of ${count}`).toBe(1);
  return batches[0];
}

describe("a data directory that a crash has left", () => {
  test("as it is, has all that was confirmed", async () => {
    const directory = copyOf(bases.killed);
    const { status, text } = await checkData(directory);
    expect([status, text]).toEqual([0, expect.stringMatching(/30 messages in 1 segments[\s\S]*Sound/)]);
    expect((await startOn(directory)).numbers).toEqual(all);
  });

  test("torn last record: the commit is cut off, a copy kept, and the broker says so", async () => {
    const directory = copyOf(bases.killed);
    const last = messageBatch(directory, 29);
    change(directory, last.file, (bytes) =>
      bytes.fill(0, last.offset + last.bytes - 20, last.offset + last.bytes),
    );
    expect((await checkData(directory)).text).toMatch(/will be cut off at the next start: segment-\d+\.log/);
    const { numbers, warnings } = await startOn(directory);
    expect(numbers).toEqual(upTo(29));
    expect(warnings).toEqual([expect.stringContaining("cut off")]);
    expect(existsSync(join(directory, `${last.file}.broken`))).toBe(true);
  });

  test("torn last batch, its header missing: as if it had never been written", async () => {
    const directory = copyOf(bases.killed);
    const last = messageBatch(directory, 29);
    change(directory, last.file, (bytes) => bytes.fill(0, last.offset, last.offset + 512));
    expect((await startOn(directory)).numbers).toEqual(upTo(29));
  });

  test("a part of the next commit, of which another part is missing: cut off, and never taken for a later one", async () => {
    const directory = copyOf(bases.killed);
    const last = batchesIn(directory).at(-1)!;
    forgeBatch(directory, { ...last, offset: (1 << 18) * 3, commit: last.commit + 1, part: 1 });
    expect((await startOn(directory)).warnings).toEqual([expect.stringContaining("cut off")]);
    expect((await checkData(directory)).text).not.toContain("will be cut off");
  });

  test("a stale batch in a recycled segment: ignored", async () => {
    const directory = copyOf(bases.long);
    const [first] = batchesIn(directory);
    const free = segmentFiles(directory).find(
      (file) => !batchesIn(directory).some((batch) => batch.file === file),
    )!;
    forgeBatch(directory, {
      ...first,
      file: free,
      offset: fileHeaderBytes,
      generation: 0.5,
      commit: 1,
      part: 0,
    });
    expect((await startOn(directory)).numbers).toEqual(upTo(45));
  });

  test("a stale batch right behind the tail, with a later commit's number: not read, and not taken for damage", async () => {
    for (const ahead of [1, 5]) {
      const directory = copyOf(bases.killed);
      const last = batchesIn(directory).at(-1)!;
      const { file, offset, bytes } = messageBatch(directory, 29);
      change(directory, file, (content) => {
        // The batch of message 29 again, as an older generation of the file would have had it, as another message.
        const stale = new Uint8Array(content.subarray(offset, offset + bytes));
        const view = new DataView(stale.buffer);
        const header = decodeBatch(stale, view, 0, nonceOf(directory))!;
        view.setUint32(batchHeaderBytes + 12, 1000, true);
        const older = { ...header, generation: last.generation - 1, commit: last.commit + ahead };
        encodeBatchHeader(stale, view, 0, older, nonceOf(directory));
        content.set(stale, last.offset + last.bytes);
      });
      expect((await startOn(directory)).numbers).toEqual(all);
    }
  });

  test("a segment file that was being made: removed", async () => {
    const directory = copyOf(bases.killed);
    writeFileSync(join(directory, "segment-00099.log"), new Uint8Array(100_000));
    expect((await startOn(directory)).numbers).toEqual(all);
    expect(existsSync(join(directory, "segment-00099.log"))).toBe(false);
  });

  test("a definition that was being written: cut off, a copy kept", async () => {
    const directory = copyOf(bases.killed);
    const size = statSync(join(directory, definitionsFile)).size;
    const end = definitionsEnd(directory);
    change(directory, definitionsFile, (bytes) => bytes.fill(7, end, end + 40));
    const { numbers, warnings } = await startOn(directory);
    expect(numbers).toEqual(all);
    expect(warnings).toEqual([expect.stringContaining("definition")]);
    expect(statSync(join(directory, `${definitionsFile}.broken`)).size).toBe(40);
    expect(statSync(join(directory, definitionsFile)).size).toBeGreaterThanOrEqual(size);
  });

  test("an empty directory is a new one", async () => {
    expect((await startOn(dataDirectory())).numbers).toEqual([]);
  });
});

/** Each is refused by a message that says where, and by check-data; `kept` is what --repair saves. */
const damages: {
  what: string;
  base: keyof Omit<Bases, "root">;
  damage: (directory: string) => void;
  refusal: RegExp;
  kept?: number[];
}[] = [
  {
    what: "a flipped bit in the middle",
    base: "killed",
    damage: (directory) => {
      const { file, offset } = messageBatch(directory, 10);
      change(directory, file, (bytes) => (bytes[offset + 150] ^= 4));
    },
    refusal:
      /segment-\d+\.log is damaged at byte \d+: commit \d+ of the log should follow and cannot be read, but commit \d+ can/,
    kept: all.filter((number) => number !== 10),
  },
  {
    what: "a wrong length in the middle",
    base: "killed",
    damage: (directory) => {
      const { file, offset } = messageBatch(directory, 10);
      change(directory, file, (bytes) => bytes.writeUInt32LE(0xffff_ffff, offset + 4));
    },
    refusal: /commit \d+ of the log should follow and cannot be read/,
    kept: all.filter((number) => number !== 10),
  },
  {
    what: "the first batch of the log",
    base: "long",
    damage: (directory) => {
      const [{ file, offset }] = batchesIn(directory);
      change(directory, file, (bytes) => (bytes[offset + 20] ^= 1));
    },
    refusal: /segment-\d+\.log is damaged at byte 64/,
    kept: upTo(45).slice(1),
  },
  {
    what: "a torn last commit, and no checkpoint, though the broker was stopped in order",
    base: "stopped",
    damage: (directory) => {
      const last = batchesIn(directory).at(-1)!;
      change(directory, last.file, (bytes) => (bytes[last.offset + 70] ^= 1));
      rmSync(join(directory, "checkpoint"));
    },
    refusal: /the log ends with commit \d+, but had \d+ when the broker was stopped/,
    kept: upTo(29),
  },
  {
    what: "a missing segment in the middle",
    base: "long",
    damage: (directory) => removeSegment(directory, 1),
    refusal: /should follow and cannot be read/,
  },
  {
    what: "a missing first segment",
    base: "long",
    damage: (directory) => removeSegment(directory, 0),
    refusal: /which starts with segment \d+; that one is missing/,
  },
  {
    what: "a missing last segment though the broker was stopped in order",
    base: "stopped",
    damage: (directory) => removeSegment(directory, 0),
    refusal: /the log ends with commit 0, but had \d+/,
    kept: [],
  },
  {
    what: "a segment that was cut short",
    base: "long",
    damage: (directory) => truncateSync(join(directory, batchesIn(directory)[0].file), 5 << 20),
    refusal: /should follow and cannot be read/,
  },
  {
    what: "definitions that were cut short",
    base: "killed",
    damage: (directory) => truncateSync(join(directory, definitionsFile), definitionsEnd(directory) - 10),
    refusal: /definitions\.log is damaged at byte \d+: the log has seen \d+ entries, but only \d+ are left/,
    kept: [],
  },
  {
    what: "a flipped bit in the middle of the definitions",
    base: "killed",
    damage: (directory) => change(directory, definitionsFile, (bytes) => (bytes[60] ^= 1)),
    refusal: /definitions\.log is damaged at byte 32: unreadable, but there is more at byte \d+/,
    kept: all,
  },
];

/** What cannot be repaired: it takes another Warren, or the right files. */
const refusals: typeof damages = [
  {
    what: "a segment of another format version",
    base: "killed",
    damage: (directory) => {
      const header = Buffer.from(encodeFileHeader(nonceOf(directory), defaultGeometry));
      header.writeUInt32LE(9, 4);
      header.writeUInt32LE(crc32(header.subarray(0, 24)), 24);
      change(directory, batchesIn(directory)[0].file, (bytes) => header.copy(bytes));
    },
    refusal: /has format version 9; this Warren reads version 1/,
  },
  {
    what: "definitions of another format version",
    base: "killed",
    damage: (directory) =>
      change(directory, definitionsFile, (bytes) => {
        bytes.writeUInt32LE(9, 4);
        bytes.writeUInt32LE(crc32(bytes.subarray(0, 16)), 16);
      }),
    refusal: /definitions\.log has format version 9/,
  },
  {
    what: "a segment of another data directory",
    base: "killed",
    damage: (directory) => {
      const { file } = batchesIn(bases.other)[0];
      cpSync(join(bases.other, file), join(directory, "segment-00050.log"));
    },
    refusal: /segment-00050\.log is damaged at byte 16: this segment is another data directory's/,
  },
  {
    what: "a damaged start of a segment",
    base: "killed",
    damage: (directory) => change(directory, batchesIn(directory)[0].file, (bytes) => (bytes[9] ^= 1)),
    refusal: /is damaged at byte 0: this is not the start of a segment/,
  },
  {
    what: "missing definitions",
    base: "killed",
    damage: (directory) => rmSync(join(directory, definitionsFile)),
    refusal: /definitions\.log/,
  },
];

describe("a data directory that was stopped in order", () => {
  test("starts from its checkpoint, and without one, or with a damaged one, from the log", async () => {
    expect((await startOn(copyOf(bases.stopped))).numbers).toEqual(all);
    const without = copyOf(bases.stopped);
    rmSync(join(without, "checkpoint"));
    expect((await startOn(without)).numbers).toEqual(all);
    const damaged = copyOf(bases.stopped);
    change(damaged, "checkpoint", (bytes) => (bytes[100] ^= 1));
    expect((await startOn(damaged)).numbers).toEqual(all);
  });

  test("a flipped bit: found when the message is read, which ends the broker, and refused from then on", async () => {
    const directory = copyOf(bases.stopped);
    const { file, offset } = messageBatch(directory, 10);
    change(directory, file, (bytes) => (bytes[offset + 150] ^= 4));
    const failures: string[] = [];
    const broker = await startBroker({
      port: 0,
      dataDir: directory,
      onStorageFailure: (error) => failures.push(error.message),
    });
    const connection = await connect(broker.url);
    connection.on("error", () => {});
    const closed = new Promise((resolve) => connection.on("close", resolve));
    const channel = await connection.createChannel();
    channel.on("error", () => {});
    await expect(channel.get("q")).rejects.toThrow(/closed|ended/i);
    await closed;
    expect(failures).toEqual([expect.stringMatching(/is damaged at byte \d+: what was written there/)]);
    await expect(broker.stop()).rejects.toThrow("is damaged");
    await expect(startBroker({ port: 0, dataDir: directory })).rejects.toThrow("cannot be read");
    expect((await checkData(directory)).status).toBe(1);
  });
});

describe("a damaged data directory", () => {
  test.each([...damages, ...refusals])(
    "$what: refused, and nothing is changed",
    async ({ base, damage, refusal }) => {
      const directory = copyOf(bases[base]);
      damage(directory);
      const before = contents(directory);
      await expect(startBroker({ port: 0, dataDir: directory })).rejects.toThrow(refusal);
      const { status, text } = await checkData(directory);
      expect([status, text]).toEqual([1, expect.stringMatching(refusal)]);
      expect(contents(directory)).toEqual(before);
    },
  );

  test.each(damages)("$what: repaired, with the old files put aside", async ({ base, damage, kept }) => {
    const directory = copyOf(bases[base]);
    damage(directory);
    const files = [...segmentFiles(directory), definitionsFile];
    const { status, text } = await checkData(directory, "--repair");
    expect([status, text]).toEqual([0, expect.stringContaining("Repaired")]);
    for (const file of files) expect(existsSync(join(directory, `${file}.broken`))).toBe(true);
    const { numbers } = await startOn(directory);
    if (kept) expect(numbers).toEqual(kept);
    else expect(numbers.length).toBeGreaterThan(10);
    expect((await checkData(directory)).text).toContain("Sound");
  });

  test("a repair that was interrupted while it exchanged the files: refused, and finished by the next", async () => {
    const directory = copyOf(bases.killed);
    const { file, offset } = messageBatch(directory, 10);
    change(directory, file, (bytes) => (bytes[offset + 150] ^= 4));
    const before = copyOf(directory);
    expect((await checkData(directory, "--repair")).status).toBe(0);
    // As it was when the old definitions were aside, and nothing else was in its place.
    const work = join(before, "repair");
    mkdirSync(work);
    for (const name of [...segmentFiles(directory), definitionsFile])
      cpSync(join(directory, name), join(work, name));
    const aside = [...segmentFiles(before), definitionsFile].map((from) => ({ from, to: `${from}.broken` }));
    const report = { messages: 29, incomplete: 0, kept: aside.map(({ to }) => to) };
    writeFileSync(join(work, "plan.json"), JSON.stringify({ report, aside }));
    renameSync(join(before, definitionsFile), join(before, `${definitionsFile}.broken`));
    await expect(startBroker({ port: 0, dataDir: before })).rejects.toThrow("was interrupted");
    expect((await checkData(before)).status).toBe(1);
    expect((await checkData(before, "--repair")).text).toContain("Repaired: kept 29 messages");
    expect((await startOn(before)).numbers).toEqual(all.filter((number) => number !== 10));
  });

  test("check-data refuses a directory that a broker is using, and one that does not exist", async () => {
    const directory = dataDirectory();
    await using _broker = await startBroker({ port: 0, dataDir: directory });
    expect(await checkData(directory)).toEqual({
      status: 1,
      text: expect.stringContaining("used by another broker"),
    });
    await expect(startBroker({ port: 0, dataDir: directory })).rejects.toThrow("used by another broker");
    expect((await checkData("/nowhere/at/all")).text).toContain("There is no directory");
  });
});

function removeSegment(directory: string, index: number): void {
  const inOrder = batchesIn(directory).toSorted((a, b) => a.generation - b.generation);
  const files = [...new Set(inOrder.map(({ file }) => file))];
  rmSync(join(directory, files[index]));
}

/** Writes a whole, empty batch. */
function forgeBatch(directory: string, at: FoundBatch & { part: number }): void {
  const bytes = new Uint8Array(batchHeaderBytes);
  const { generation, commit, part } = at;
  const header = {
    payloadBytes: 0,
    generation: Math.floor(generation),
    commit,
    part,
    isLast: true,
    logStart: 0,
    definitions: 0,
  };
  encodeBatchHeader(bytes, new DataView(bytes.buffer), 0, header, nonceOf(directory));
  change(directory, at.file, (content) => content.set(bytes, at.offset));
}

function contents(directory: string): Record<string, number> {
  return Object.fromEntries(
    readdirSync(directory)
      .filter((name) => name !== "lock")
      .map((name) => [name, crc32(readFileSync(join(directory, name)))]),
  );
}

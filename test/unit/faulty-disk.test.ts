import { describe, expect, it } from "vitest";
import type { DiskFile } from "../../src/broker/storage/disk.ts";
import { FaultyDisk } from "../support/faulty-disk.ts";
import { Random } from "../support/random.ts";

const sectorBytes = 512;

describe("operations", () => {
  it("keep what they are told, over pages and holes", async () => {
    const file = await newDisk(1).open("a");
    const long = filled(200_000, 7);
    expect(await file.write(long, 60_000)).toBe(200_000);
    expect(await file.size()).toBe(260_000);
    const into = new Uint8Array(70_000);
    expect(await file.read(into, 50_000)).toBe(70_000);
    expect(into.subarray(0, 10_000)).toEqual(filled(10_000, 0));
    expect(into.subarray(10_000)).toEqual(filled(60_000, 7));
    expect(file.readNow(into, 259_999)).toBe(1);
    expect(await file.read(into, 260_000)).toBe(0);
  });

  it("forget what a truncation cut off", async () => {
    const file = await newDisk(1).open("a");
    await file.write(filled(200_000, 7), 0);
    await file.truncate(70_000);
    await file.truncate(150_000);
    const into = new Uint8Array(150_000);
    expect(await file.read(into, 0)).toBe(150_000);
    expect(into.subarray(0, 70_000)).toEqual(filled(70_000, 7));
    expect(into.subarray(70_000)).toEqual(filled(80_000, 0));
  });

  it("that are under way together return in any order", async () => {
    const orders = await outcomes(100, async (disk) => {
      const file = await disk.open("a");
      const order: number[] = [];
      await Promise.all([0, 1, 2].map((n) => file.write(text("x"), n).then(() => order.push(n))));
      return order.join("");
    });
    expect([...orders].toSorted()).toEqual(["012", "021", "102", "120", "201", "210"]);
  });

  it("may read a buffer as late as when they return", async () => {
    const contents = await outcomes(50, async (disk) => {
      const file = await disk.open("a");
      const buffer = Buffer.from("first");
      const written = file.write(buffer, 0);
      buffer.write("other");
      await written;
      return contentOf(disk, "a");
    });
    expect(contents).toEqual(new Set(["first", "other"]));
  });

  it("take one or two turns of the event loop", async () => {
    const file = await newDisk(1).open("a");
    let turns = 0;
    let counting = true;
    const count = (): void => {
      turns++;
      if (counting) setImmediate(count);
    };
    setImmediate(count);
    for (let n = 0; n < 100; n++) await Promise.all([file.write(text("x"), n), file.sync()]);
    counting = false;
    expect(turns).toBeLessThan(200);
  });

  it("happen the same way for the same seed", async () => {
    const life = async (seed: number): Promise<string> => {
      const disk = newDisk(seed, { shortWrites: 0.3 });
      const file = await disk.open("a");
      const log: string[] = [];
      for (let round = 0; round < 20; round++) {
        const writes = [1, 2, 3].map(async (n) => {
          log.push(`${n}:${await file.write(filled(3000, n), round * 1000)}`);
        });
        await Promise.all([...writes, file.sync()]);
      }
      void file.write(filled(50_000, 9), 5000);
      const after = disk.crash();
      return [...log, ...after.names().map((name) => contentOf(after, name))].join(" ");
    };
    expect(await life(5)).toBe(await life(5));
    expect(await life(5)).not.toBe(await life(6));
  });

  it("count what was written and synced", async () => {
    const disk = newDisk(1);
    const file = await disk.open("a");
    await file.write(filled(10, 1), 0);
    await file.write(filled(20, 1), 0);
    await file.sync();
    expect(disk.counters("a")).toEqual({ writes: 2, syncs: 1, bytesWritten: 30 });
  });

  it("end with the handle", async () => {
    const disk = newDisk(1);
    const file = await disk.open("a");
    const order: string[] = [];
    await Promise.all([
      file.write(text("x"), 0).then(() => order.push("write")),
      file.close().then(() => order.push("close")),
      file.sync().catch((error: NodeJS.ErrnoException) => order.push(error.code!)),
      file.close(),
    ]);
    expect(order.toSorted()).toEqual(["EBADF", "close", "write"]);
    expect(order.indexOf("close")).toBeGreaterThan(order.indexOf("write"));
    expect(() => file.readNow(new Uint8Array(1), 0)).toThrow("EBADF");
    expect(disk.openFiles()).toEqual([]);
  });
});

describe("a crash", () => {
  it("keeps, loses or tears a write that no sync covered", async () => {
    const fates = await outcomes(600, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.truncate(3 * sectorBytes);
      await file.sync();
      await file.write(filled(3 * sectorBytes, "x"), 0);
      return sectorsOf(disk.crash(), "a");
    });
    expect([...fates].toSorted()).toEqual(["000", "00x", "0x0", "0xx", "x00", "x0x", "xx0", "xxx"]);
  });

  it("tears at sectors of the disk and nowhere else", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const disk = newDisk(seed);
      const file = await createdFile(disk, "a");
      await file.truncate(2000);
      await file.sync();
      await file.write(filled(1000, 1), 100);
      const bytes = disk.crash().bytes("a");
      for (const [from, to] of [
        [100, 512],
        [512, 1024],
        [1024, 1100],
      ]) {
        expect(new Set(bytes.subarray(from, to)).size).toBe(1);
      }
      expect(bytes.subarray(0, 100)).toEqual(filled(100, 0));
      expect(bytes.subarray(1100)).toEqual(filled(900, 0));
    }
  });

  it("mixes writes over each other sector by sector", async () => {
    const mixes = await outcomes(600, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(filled(2 * sectorBytes, "o"), 0);
      await file.sync();
      await file.write(filled(2 * sectorBytes, "x"), 0);
      await file.write(filled(2 * sectorBytes, "y"), 0);
      return sectorsOf(disk.crash(), "a");
    });
    expect([...mixes].toSorted()).toEqual(["oo", "ox", "oy", "xo", "xx", "xy", "yo", "yx", "yy"]);
  });

  it("keeps the second of two writes without the first", async () => {
    const kept = await outcomes(200, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(text("a"), 0);
      await file.write(text("b"), 1);
      return contentOf(disk.crash(), "a").replaceAll("\0", "-");
    });
    expect(kept).toEqual(new Set(["", "-", "a", "a-", "-b", "ab", "--"]));
  });

  it("may leave the first of two writes over the second", async () => {
    const kept = await outcomes(200, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(text("aa"), 0);
      await file.write(text("bb"), 1);
      return contentOf(disk.crash(), "a");
    });
    expect(kept).toContain("abb");
    expect(kept).toContain("aab");
  });

  it("of many writes may keep all and may lose all", async () => {
    const kept = await outcomes(200, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.truncate(100 * sectorBytes);
      await file.sync();
      for (let n = 0; n < 100; n++) await file.write(text("x"), n * sectorBytes);
      return sectorsOf(disk.crash(), "a");
    });
    expect(kept).toContain("x".repeat(100));
    expect(kept).toContain("0".repeat(100));
    expect(kept.size).toBeGreaterThan(30);
  });

  it("leaves a file that grew with any size between, and zeros where the data is lost", async () => {
    const sizes = new Set<number>();
    for (let seed = 0; seed < 300; seed++) {
      const disk = newDisk(seed);
      const file = await createdFile(disk, "a");
      await file.write(filled(100, 1), 0);
      await file.sync();
      await file.write(filled(2000, 1), 100);
      const bytes = disk.crash().bytes("a");
      sizes.add(bytes.length);
      expect(bytes.subarray(0, 100)).toEqual(filled(100, 1));
    }
    expect(Math.min(...sizes)).toBe(100);
    expect(Math.max(...sizes)).toBe(2100);
    expect(sizes.size).toBeGreaterThan(30);
  });

  it("never takes what a sync covered", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const disk = newDisk(seed);
      const file = await createdFile(disk, "a");
      await file.write(text("old"), 0);
      await file.write(text("new"), 0);
      await file.sync();
      const inFlight = file.write(filled(5000, 1), 3);
      if (seed % 2 === 0) await inFlight;
      expect(contentOf(disk.crash(), "a").slice(0, 3)).toBe("new");
    }
  });

  it("may take a write that was under way when the sync was called", async () => {
    const kept = await outcomes(100, async (disk) => {
      const file = await createdFile(disk, "a");
      await Promise.all([file.write(text("x"), 0), file.sync()]);
      expect(disk.isDurable("a", 0, text("x"))).toBe(false);
      expect(disk.durableImage("a")).toEqual(new Uint8Array(0));
      return contentOf(disk.crash(), "a");
    });
    expect(kept).toContain("");
    expect(kept).toContain("x");
  });

  it("may find a write done that had not returned", async () => {
    const kept = await outcomes(100, async (disk) => {
      const file = await createdFile(disk, "a");
      void file.write(text("x"), 0);
      return contentOf(disk.crash(), "a");
    });
    expect(kept).toContain("");
    expect(kept).toContain("x");
  });

  it("may undo a truncation that no sync covered", async () => {
    const kept = await outcomes(300, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(text("abcd"), 0);
      await file.sync();
      await file.truncate(1);
      await file.write(text("x"), 1);
      return contentOf(disk.crash(), "a").replaceAll("\0", "-");
    });
    expect(kept).toEqual(new Set(["abcd", "axcd", "a", "a-", "ax"]));
  });

  it("keeps a first few of the changes to the directory that no sync covered", async () => {
    const kept = await outcomes(200, async (disk) => {
      await disk.open("a");
      await disk.sync();
      await disk.open("b");
      await disk.rename("a", "c");
      await disk.remove("b");
      return disk.crash().names().toSorted().join("");
    });
    expect([...kept].toSorted()).toEqual(["a", "ab", "bc", "c"]);
  });

  it("takes a file whose name was not synced, however often its content was", async () => {
    const kept = await outcomes(100, async (disk) => {
      const file = await disk.open("a");
      await file.write(text("x"), 0);
      await file.sync();
      expect(disk.durableNames()).toEqual([]);
      expect(disk.durableImage("a")).toBeUndefined();
      const after = disk.crash();
      return after.names().map((name) => contentOf(after, name))[0] ?? "gone";
    });
    expect(kept).toEqual(new Set(["gone", "x"]));
  });

  it("shows a file renamed into place without its content", async () => {
    const kept = await outcomes(100, async (disk) => {
      const old = await createdFile(disk, "a");
      await old.write(text("old"), 0);
      await old.sync();
      const file = await disk.open("b");
      await file.write(text("new"), 0);
      await disk.rename("b", "a");
      await disk.sync();
      return contentOf(disk.crash(), "a");
    });
    expect(kept).toContain("");
    expect(kept).toContain("new");
    expect(kept).not.toContain("old");
  });

  it("silences the disk it happened to", async () => {
    const disk = newDisk(1);
    const file = await disk.open("a");
    let returned = 0;
    const heard = (): void => void returned++;
    file.sync().then(heard, heard);
    const after = disk.crash();
    file.write(text("x"), 0).then(heard, heard);
    disk.list().then(heard, heard);
    for (let turn = 0; turn < 10; turn++) await after.list();
    expect(returned).toBe(0);
    expect(() => file.readNow(new Uint8Array(1), 0)).toThrow("crashed");
  });

  it("can be had again with another outcome", async () => {
    const disk = newDisk(1);
    const file = await createdFile(disk, "a");
    await file.write(text("x"), 0);
    const kept = new Set<string>();
    for (let n = 0; n < 50; n++) kept.add(contentOf(disk.crash(), "a"));
    expect(kept).toContain("");
    expect(kept).toContain("x");
  });

  it("can follow a crash", async () => {
    for (let seed = 0; seed < 50; seed++) {
      let disk = newDisk(seed);
      for (let life = 0; life < 5; life++) {
        const file = await createdFile(disk, "a");
        await file.write(filled(1000, life), life * 1000);
        await file.sync();
        void file.write(filled(100_000, 99), (life + 1) * 1000);
        disk = disk.crash();
        for (let n = 0; n <= life; n++) {
          expect(disk.isDurable("a", n * 1000, filled(1000, n))).toBe(true);
        }
      }
    }
  });
});

describe("isDurable", () => {
  it("holds for what every crash leaves", async () => {
    let checked = 0;
    for (let seed = 0; seed < 300; seed++) {
      const random = new Random(seed);
      const disk = new FaultyDisk(random);
      let file = await createdFile(disk, "a");
      for (let step = 0; step < 12; step++) {
        const position = random.below(4000);
        const what = random.below(6);
        let asked: Promise<unknown>;
        if (what < 3) asked = file.write(filled(1 + random.below(1500), 1 + random.below(3)), position);
        else if (what === 3) asked = file.truncate(position);
        else if (what === 4) asked = file.sync();
        else
          asked = random.chance(0.2)
            ? disk.remove("a").then(async () => (file = await disk.open("a")))
            : disk.sync();
        asked.catch(() => {});
        if (random.chance(0.7)) await asked;
        else await disk.list();
      }
      const content = disk.durableImage("a") ?? new Uint8Array(0);
      const sure: [number, Uint8Array][] = [];
      for (let at = 0; at < content.length; at += 100) {
        const part = content.slice(at, at + 100);
        if (disk.isDurable("a", at, part)) sure.push([at, part]);
      }
      for (let crash = 0; crash < 10; crash++) {
        const after = disk.crash();
        for (const [at, part] of sure) expect(after.isDurable("a", at, part)).toBe(true);
        checked += sure.length;
      }
    }
    expect(checked).toBeGreaterThan(1000);
  });

  it("does not hold where an unsynced write or a removal may come over it", async () => {
    const disk = newDisk(1);
    const file = await createdFile(disk, "a");
    await file.write(text("abc"), 0);
    await file.sync();
    expect(disk.isDurable("a", 0, text("abc"))).toBe(true);
    expect(disk.isDurable("a", 0, text("abd"))).toBe(false);
    await file.write(text("d"), 2);
    expect(disk.isDurable("a", 0, text("ab"))).toBe(true);
    expect(disk.isDurable("a", 0, text("abc"))).toBe(false);
    expect(disk.isDurable("a", 0, text("abd"))).toBe(false);
    await file.sync();
    expect(disk.isDurable("a", 0, text("abd"))).toBe(true);
    await disk.remove("a");
    expect(disk.isDurable("a", 0, text("abd"))).toBe(false);
  });
});

describe("a killed process", () => {
  it("leaves what returned, synced or not", async () => {
    for (let seed = 0; seed < 50; seed++) {
      const disk = newDisk(seed);
      const file = await disk.open("a");
      await file.write(text("kept"), 0);
      await disk.rename("a", "b");
      const after = disk.kill();
      expect(after.names()).toEqual(["b"]);
      expect(contentOf(after, "b")).toBe("kept");
      expect(after.durableNames()).toEqual([]);
    }
  });

  it("leaves all, a first part or nothing of a write under way", async () => {
    const kept = await outcomes(200, async (disk) => {
      const file = await disk.open("a");
      void file.write(text("abc"), 0);
      return contentOf(disk.kill(), "a");
    });
    expect([...kept].toSorted()).toEqual(["", "a", "ab", "abc"]);
  });

  it("leaves it to the next one to sync what it wrote", async () => {
    const kept = await outcomes(100, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(text("x"), 0);
      const next = disk.kill();
      const unsynced = contentOf(next.crash(), "a");
      const again = disk.kill();
      await (await again.open("a")).sync();
      expect(contentOf(again.crash(), "a")).toBe("x");
      return unsynced;
    });
    expect(kept).toEqual(new Set(["", "\0", "x"]));
  });
});

describe("faults", () => {
  it("fail what they name, after so many, so many times", async () => {
    const disk = newDisk(1);
    const [a, b] = [await disk.open("a"), await disk.open("b")];
    disk.fail({ operation: "write", file: /a/, code: "EIO", after: 1, times: 2 });
    const codes = [];
    for (const file of [a, b, a, b, a, a]) codes.push(await codeOf(file.write(text("x"), 0)));
    expect(codes).toEqual([undefined, undefined, "EIO", undefined, "EIO", undefined]);
  });

  it("come from every operation until healed", async () => {
    const disk = newDisk(1);
    const file = await disk.open("a");
    const all = {
      list: () => disk.list(),
      open: () => disk.open("a"),
      rename: () => disk.rename("a", "a"),
      remove: () => disk.remove("a"),
      syncDirectory: () => disk.sync(),
      freeBytes: () => disk.freeBytes(),
      size: () => file.size(),
      read: () => file.read(new Uint8Array(1), 0),
      write: () => file.write(text("x"), 0),
      sync: () => file.sync(),
      truncate: () => file.truncate(0),
    };
    for (const [operation, run] of Object.entries(all)) {
      disk.fail({ operation: operation as keyof typeof all, code: "EIO" });
      expect(await codeOf(run())).toBe("EIO");
    }
    expect(() => file.readNow(new Uint8Array(1), 0)).toThrow("EIO");
    disk.heal();
    for (const run of Object.values(all)) expect(await codeOf(run())).toBeUndefined();
  });

  it("of a sync are not made good by the next one", async () => {
    const kept = await outcomes(100, async (disk) => {
      const file = await createdFile(disk, "a");
      await file.write(text("x"), 0);
      disk.fail({ operation: "sync", code: "EIO", times: 1 });
      expect(await codeOf(file.sync())).toBe("EIO");
      await file.sync();
      expect(contentOf(disk, "a")).toBe("x");
      return contentOf(disk.crash(), "a");
    });
    expect(kept).toContain("");
    expect(kept).toContain("x");
  });

  it("come from files that do not exist", async () => {
    const disk = newDisk(1);
    expect(await codeOf(disk.remove("a"))).toBe("ENOENT");
    expect(await codeOf(disk.rename("a", "b"))).toBe("ENOENT");
  });

  it("leave nothing of a write that is about to fail", async () => {
    for (let seed = 0; seed < 50; seed++) {
      const disk = newDisk(seed);
      const file = await createdFile(disk, "a");
      disk.fail({ operation: "write", code: "EIO" });
      file.write(text("x"), 0).catch(() => {});
      expect(disk.crash().bytes("a").length).toBe(0);
    }
  });

  it("make writes short", async () => {
    const counts = await outcomes(100, async (disk) => {
      disk.shortWrites = 0.5;
      const file = await disk.open("a");
      const count = await file.write(text("abc"), 0);
      expect(contentOf(disk, "a")).toBe("abc".slice(0, count));
      return count;
    });
    expect(counts).toEqual(new Set([1, 2, 3]));
  });
});

describe("a full disk", () => {
  it("takes no more bytes, but new ones in place of old", async () => {
    const ends = await outcomes(50, async (disk) => {
      disk.capacityBytes = 10;
      const file = await disk.open("a");
      await file.write(filled(8, 1), 0);
      expect(await disk.freeBytes()).toBe(2);
      const end = await file.write(filled(4, 2), 8).catch((error: NodeJS.ErrnoException) => error.code);
      expect(await file.size()).toBe(end === 2 ? 10 : 8);
      await file.truncate(10);
      expect(await disk.freeBytes()).toBe(0);
      expect(await file.write(filled(10, 3), 0)).toBe(10);
      expect(await codeOf(file.write(filled(1, 3), 10))).toBe("ENOSPC");
      expect(await codeOf(file.truncate(11))).toBe("ENOSPC");
      expect(await codeOf(disk.open("b"))).toBe("ENOSPC");
      expect(await codeOf(disk.open("a"))).toBeUndefined();
      return end;
    });
    expect(ends).toEqual(new Set([2, "ENOSPC"]));
  });

  it("has room again when a file is removed and closed", async () => {
    const disk = newDisk(1, { capacityBytes: 10 });
    const file = await disk.open("a");
    await file.write(filled(10, 1), 0);
    await disk.remove("a");
    expect(await disk.freeBytes()).toBe(0);
    await file.close();
    expect(await disk.freeBytes()).toBe(10);
  });
});

describe("hold", () => {
  it("keeps everything from returning", async () => {
    const disk = newDisk(1);
    const file = await disk.open("a");
    disk.hold();
    let returned = false;
    const written = file.write(text("x"), 0).then(() => (returned = true));
    for (let turn = 0; turn < 10; turn++) await immediate();
    expect(returned).toBe(false);
    expect(disk.pending()).toEqual([{ operation: "write", file: "a" }]);
    expect(contentOf(disk, "a")).toBe("");
    disk.release();
    await written;
    expect(disk.pending()).toEqual([]);
  });

  it("keeps a sync from returning while writes do", async () => {
    const disk = newDisk(1);
    const file = await createdFile(disk, "a");
    await file.write(text("a"), 0);
    disk.hold({ operation: "sync", file: /a/ });
    const synced = file.sync();
    await file.write(text("b"), 1);
    expect(disk.isDurable("a", 0, text("a"))).toBe(false);
    disk.release();
    await synced;
    expect(disk.isDurable("a", 0, text("a"))).toBe(true);
    expect(disk.isDurable("a", 0, text("ab"))).toBe(false);
  });
});

describe("bytes", () => {
  it("are there to be spoilt, on the medium as well", async () => {
    const disk = newDisk(1);
    const file = await createdFile(disk, "a");
    await file.write(filled(100_000, 1), 0);
    await file.sync();
    await file.write(filled(1, 2), 99_999);
    const bytes = disk.bytes("a");
    bytes[5] = 9;
    bytes[99_998] = 9;
    const into = new Uint8Array(2);
    expect(file.readNow(into, 5)).toBe(2);
    expect([...into]).toEqual([9, 1]);
    file.readNow(into, 99_998);
    expect([...into]).toEqual([9, 2]);
    const onMedium = disk.durableImage("a")!;
    expect(onMedium[5]).toBe(9);
    // This page was not the same in both.
    expect(onMedium[99_998]).toBe(1);
    await file.write(filled(1, 3), 0);
    expect(contentOf(disk, "a").charCodeAt(5)).toBe(9);
    expect(disk.durableImage("a")![0]).toBe(1);
  });
});

function newDisk(seed: number, options?: ConstructorParameters<typeof FaultyDisk>[1]): FaultyDisk {
  return new FaultyDisk(new Random(seed), options);
}

/** All that came of the same life with other seeds. */
async function outcomes<T>(seeds: number, live: (disk: FaultyDisk) => Promise<T>): Promise<Set<T>> {
  const results = new Set<T>();
  for (let seed = 0; seed < seeds; seed++) results.add(await live(newDisk(seed)));
  return results;
}

async function createdFile(disk: FaultyDisk, name: string): Promise<DiskFile> {
  const file = await disk.open(name);
  await disk.sync();
  return file;
}

function contentOf(disk: FaultyDisk, name: string): string {
  return Buffer.from(disk.bytes(name)).toString("latin1");
}

/** One character for each sector, each of which is all the same. */
function sectorsOf(disk: FaultyDisk, name: string): string {
  const content = contentOf(disk, name).replaceAll("\0", "0");
  return Array.from(
    { length: Math.ceil(content.length / sectorBytes) },
    (_, n) => content[n * sectorBytes],
  ).join("");
}

function filled(length: number, value: number | string): Uint8Array {
  return new Uint8Array(length).fill(typeof value === "string" ? value.charCodeAt(0) : value);
}

function text(content: string): Uint8Array {
  return Buffer.from(content);
}

async function codeOf(asked: Promise<unknown>): Promise<string | undefined> {
  return asked.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

function immediate(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

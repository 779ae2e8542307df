import { constants, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeDurablyFully, type DiskFile } from "../../src/broker/storage/disk.ts";
import { openNodeDisk } from "../../src/broker/storage/node-disk.ts";
import { dataDirectory } from "../support/data-directory.ts";

test.skipIf(process.platform !== "linux")("a durable write is one that the kernel syncs", async () => {
  const directory = dataDirectory();
  const disk = await openNodeDisk(directory);
  const file = await disk.open("log");
  const parts = ["one ", "and ", "two"].map((text) => Buffer.from(text));
  await Promise.all([file.writeDurably(parts, 4), file.writeDurably([Buffer.from("behind")], 15)]);
  expect(readFileSync(join(directory, "log"), "latin1")).toBe("\0\0\0\0one and twobehind");
  expect(flagsOfOpen(join(directory, "log")).map((flags) => (flags & constants.O_DSYNC) !== 0)).toEqual([
    false,
    true,
  ]);
  await file.close();
  expect(flagsOfOpen(join(directory, "log"))).toEqual([]);
});

test("all is written of what a disk takes a few bytes at a time", async () => {
  for (const most of [1, 3, 5, 100]) {
    const written: string[] = [];
    const slow = {
      name: "slow",
      writeDurably: async (parts: readonly Uint8Array[], position: number) => {
        const text = Buffer.concat(parts).subarray(0, most).toString();
        written[position] = text;
        return text.length;
      },
    } as unknown as DiskFile;
    await writeDurablyFully(slow, [Buffer.from("one "), Buffer.alloc(0), Buffer.from("and two")], 7);
    expect(written.join("")).toBe("one and two");
  }
});

function flagsOfOpen(path: string): number[] {
  return readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      if (readlinkSync(`/proc/self/fd/${descriptor}`) !== path) return [];
    } catch {
      return [];
    }
    const [, flags] = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))!;
    return [Number.parseInt(flags, 8)];
  });
}

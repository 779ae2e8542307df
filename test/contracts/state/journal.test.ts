import { expect, it } from "vitest";
import type { JournalAddition, StateStore } from "../../../src/state/index.ts";
import { describeEachDatabase } from "./databases.ts";

function saying(...texts: string[]): JournalAddition {
  const entries = texts.map((text) => ({ kind: "said", data: JSON.stringify(text) }));
  return { entries, nowMs: 1000, expiresAtMs: 9000 };
}

describeEachDatabase((database, open) => {
  /** Two on one database where that can be shared, else one twice. */
  async function openTwo(): Promise<[StateStore, StateStore]> {
    const location = database.location();
    const one = await open(location);
    return [one, database.isShared ? await open(location) : one];
  }

  it("adds to a log and reads it, all or what came after", async () => {
    const { journal } = await open();
    expect(await journal.read("a")).toEqual([]);
    expect(await journal.append("a", 0, saying("one", "ätwo"))).toBe(true);
    expect(await journal.append("a", 2, { ...saying("three"), nowMs: 2000 })).toBe(true);
    expect(await journal.read("a")).toEqual([
      { sequence: 1, kind: "said", atMs: 1000, data: '"one"' },
      { sequence: 2, kind: "said", atMs: 1000, data: '"ätwo"' },
      { sequence: 3, kind: "said", atMs: 2000, data: '"three"' },
    ]);
    expect((await journal.read("a", 2)).map(({ sequence }) => sequence)).toEqual([3]);
    expect(await journal.read("b")).toEqual([]);
  });

  it("adds nothing for who does not know the end", async () => {
    const { journal } = await open();
    expect(await journal.append("a", 1, saying("too early"))).toBe(false);
    expect(await journal.append("a", 0, saying("one"))).toBe(true);
    expect(await journal.append("a", 0, saying("too late"))).toBe(false);
    expect(await journal.append("a", 2, saying("too early"))).toBe(false);
    expect(await journal.read("a")).toHaveLength(1);
    expect(await journal.list({ prefix: "", limit: 9 })).toEqual([
      { name: "a", length: 1, updatedAtMs: 1000 },
    ]);
  });

  it("lets one of many add at a time", async () => {
    const [one, other] = await openTwo();
    const stores = [one, other, one, other];
    for (let after = 0; after < 20; after++) {
      const added = await Promise.all(
        stores.map(({ journal }, index) => journal.append("a", after, saying(String(index)))),
      );
      expect(added.filter(Boolean)).toHaveLength(1);
    }
    expect((await one.journal.read("a")).map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  it("tells who waits, also in another process", async () => {
    const [writer, reader] = await openTwo();
    for (const store of [writer, reader]) {
      const { length } = await writer.journal.read("a");
      const changed = store.journal.changed("a", 20_000);
      await writer.journal.append("a", length, saying("news"));
      await changed;
      expect((await store.journal.read("a")).at(-1)?.data).toBe('"news"');
    }
  });

  it("lists logs by prefix, the latest first", async () => {
    const { journal } = await open();
    for (const [index, name] of ["x:1", "y:1", "x:2", "x_3"].entries())
      await journal.append(name, 0, { ...saying("hello"), nowMs: 1000 + index });
    const names = async (prefix: string, limit: number): Promise<string[]> =>
      (await journal.list({ prefix, limit })).map(({ name }) => name);
    expect(await names("x:", 9)).toEqual(["x:2", "x:1"]);
    expect(await names("x:", 1)).toEqual(["x:2"]);
    expect(await names("", 9)).toEqual(["x_3", "x:2", "y:1", "x:1"]);
  });

  it("removes logs whose time is over, and begins them anew", async () => {
    const store = await open();
    const { journal } = store;
    await journal.append("old", 0, { ...saying("one"), expiresAtMs: 5000 });
    await journal.append("young", 0, { ...saying("one"), expiresAtMs: 5000 });
    await journal.append("young", 1, { ...saying("two"), expiresAtMs: 7000 });
    expect(await store.prune(4999)).toBe(0);
    expect(await store.prune(6000)).toBe(1);
    expect(await journal.read("old")).toEqual([]);
    expect(await journal.read("young")).toHaveLength(2);
    expect(await journal.append("old", 0, saying("again"))).toBe(true);
  });

  it("refuses a zero byte in a name", async () => {
    const { journal } = await open();
    await expect(journal.append("a\0b", 0, saying("one"))).rejects.toThrow(/zero byte/);
  });
});

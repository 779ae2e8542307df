/** kill -9 at some of a conversation's boundaries, another one each time; test/full has all of them. */
import { expect, test } from "vitest";
import { crashAtBoundaries, crashSites } from "./crash-matrix.ts";

/** WARREN_AGENT_CRASHES=n dies at each n-th boundary, WARREN_AGENT_FIRST_CRASH=n at this one first. */
const each = Number(process.env["WARREN_AGENT_CRASHES"] ?? 20);
const first = Number(process.env["WARREN_AGENT_FIRST_CRASH"] ?? 1 + (Date.now() % each));

for (const [where, site] of crashSites) {
  test(`a conversation outlives a crash at its step ${first}, and at each ${each}th after that ${where}`, async () => {
    const places = await crashAtBoundaries(site, each, first);
    expect(places.length).toBeGreaterThan(60 / each - 1);
  }, 240_000);
}

/** kill -9 at each of a conversation's boundaries, with a broker that stands elsewhere. */
import { expect, test } from "vitest";
import { boundaries, crashAtBoundaries, crashSites } from "../agents/crash-matrix.ts";

for (const [where, site] of crashSites.filter(([, { place }]) => place !== "on an embedded broker")) {
  test(`a conversation outlives a crash at each of its steps ${where}`, async () => {
    const places = await crashAtBoundaries(site, 1, 1);
    expect(places).toEqual(expect.arrayContaining(boundaries));
  }, 600_000);
}

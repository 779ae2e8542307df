/**
 * Random steps and crashes of a broker with a data directory on a faulty disk, beside a model of what must be there
 * afterwards. Everything is deterministic: `WARREN_STORAGE_SEED=7 npx vitest run test/broker/storage-model.test.ts` does
 * again what seed 7 did. WARREN_STORAGE_SEEDS says how many seeds there are; more find rarer things.
 */
import { expect, test } from "vitest";
import { runSeed } from "./storage-model/run.ts";

const only = process.env["WARREN_STORAGE_SEED"];
const first = Number(only ?? 1);
const count = only ? 1 : Number(process.env["WARREN_STORAGE_SEEDS"] ?? 2000);
const perTest = 100;
const groups = Array.from({ length: Math.ceil(count / perTest) }, (_, group) => {
  const from = first + group * perTest;
  return { from, to: Math.min(from + perTest, first + count) - 1 };
});

test.each(groups)(
  "what was confirmed outlives every crash, and nothing else does: seeds $from to $to",
  { timeout: 120_000 },
  async ({ from, to }) => {
    for (let seed = from; seed <= to; seed++) {
      expect(await runSeed(seed), `WARREN_STORAGE_SEED=${seed} does it again`).toEqual([]);
    }
  },
);

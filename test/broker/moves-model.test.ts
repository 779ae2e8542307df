/**
 * Messages that the broker moves itself, on a faulty disk: dead letters, expiry, delays, delivery limits, priorities. Each
 * has an id; after every crash each that was confirmed is in one place and no other, with its time, priority and count.
 * `WARREN_MOVES_SEED=7 npx vitest run test/broker/moves-model.test.ts` does again what seed 7 did; WARREN_MOVES_SEEDS says
 * how many seeds there are.
 */
import { expect, test } from "vitest";
import { geometry } from "../../src/broker/storage/log/geometry.ts";
import { FaultyDisk } from "../support/faulty-disk.ts";
import { Random } from "../support/random.ts";
import { Ledger } from "./moves-model/ledger.ts";
import { Life, nextTurn } from "./moves-model/life.ts";

const only = process.env["WARREN_MOVES_SEED"];
const first = Number(only ?? 1);
const count = only ? 1 : Number(process.env["WARREN_MOVES_SEEDS"] ?? 300);
const perTest = 50;
const groups = Array.from({ length: Math.ceil(count / perTest) }, (_, group) => {
  const from = first + group * perTest;
  return { from, to: Math.min(from + perTest, first + count) - 1 };
});

test.each(groups)(
  "a message that is moved is never lost and never doubled: seeds $from to $to",
  { timeout: 120_000 },
  async ({ from, to }) => {
    for (let seed = from; seed <= to; seed++) {
      expect(await runSeed(seed), `WARREN_MOVES_SEED=${seed} does it again`).toEqual([]);
    }
  },
);

async function runSeed(seed: number): Promise<string[]> {
  const random = new Random(seed);
  const ledger = new Ledger();
  const setting = {
    geometry: geometry((4 + random.below(5)) * 4096, 4096),
    cachedChunks: 2 + random.below(7),
  };
  let disk = new FaultyDisk(new Random(random.below(0x1_0000_0000)));
  let startMs = 1_700_000_000_000;
  for (let lives = 2 + random.below(4); lives >= 0; lives--) {
    const life = new Life(disk, ledger, random, startMs);
    await life.open(setting);
    if (ledger.findings.length > 0) break;
    if (lives === 0) {
      await life.drain();
      await life.stop();
      break;
    }
    for (let steps = 10 + random.below(80); steps > 0 && ledger.findings.length === 0; steps--) {
      await step(life, random);
    }
    if (random.chance(0.3)) await life.stop();
    else life.crash();
    disk = life.after!;
    startMs = life.clock.nowMs() + random.pick([0, 10, 60, 500]);
  }
  return ledger.findings.slice(0, 5);
}

async function step(life: Life, random: Random): Promise<void> {
  const share = random.next();
  if (share < 0.35) life.publish();
  else if (share < 0.8) life.consume();
  else if (share < 0.9) life.clock.advance(random.pick([1, 10, 30, 80]));
  else if (share < 0.95) life.awaitCommit();
  else await life.rest();
  for (let turns = random.pick([0, 0, 1, 2, 6]); turns > 0; turns--) await nextTurn();
}

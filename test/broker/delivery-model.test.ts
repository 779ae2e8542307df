/**
 * Random steps of many clients against a broker, beside a model of what must come of them. WARREN_MODEL_SEED and
 * WARREN_MODEL_COUNT choose other seeds than the usual ones.
 */
import { expect, onTestFailed, onTestFinished, test } from "vitest";
import { Random } from "../support/random.ts";
import { comeToRest, compare, drain } from "./delivery-model/rest.ts";
import { takeStep } from "./delivery-model/steps.ts";
import { turns, World } from "./delivery-model/world.ts";

const firstSeed = Number(process.env["WARREN_MODEL_SEED"] ?? 1);
const seedCount = Number(process.env["WARREN_MODEL_COUNT"] ?? 20);
const seeds = Array.from({ length: seedCount }, (_, index) => firstSeed + index);
const roundCount = 20;

// A seed always means the same steps, but not when each meets the broker: run it a few times to see its failure again.
test.each(seeds)(
  "no message is lost, stuck, repeated or out of place: seed %i",
  { timeout: 15_000 },
  async (seed) => {
    const random = new Random(seed);
    const world = await World.start(random);
    onTestFinished(() => world[Symbol.asyncDispose]());
    const { broker, ledger } = world;
    onTestFailed(() => console.log(`seed ${seed}`, ledger.findings, world.connections.join("\n")));
    const assertNothingFound = (when: string): void => {
      expect(ledger.findings.slice(0, 5), `seed ${seed}, ${when}`).toEqual([]);
    };

    for (let round = 1; round <= roundCount; round++) {
      for (let left = 5 + random.below(50); left > 0; left--) {
        // Each step has its own numbers, so that one that finds nothing to do changes no other.
        await takeStep(world, new Random(random.below(0x1_0000_0000)));
        await turns(random.below(4));
      }
      await comeToRest(world);
      await compare(world);
      if (random.chance(0.1)) await drain(world);
      assertNothingFound(`round ${round}`);
    }
    await drain(world);
    assertNothingFound("at the end");
    expect(broker.usage(), `seed ${seed}`).toMatchObject({ messages: 0, unsentBytes: 0 });
  },
);

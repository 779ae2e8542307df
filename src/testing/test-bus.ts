import { connect, type Bus, type ConnectOptions } from "../tasks/index.ts";
import { ManualClock } from "./manual-clock.ts";

/** A bus with a broker of its own, in memory and in this thread, whose time stands still until the test moves it. */
export interface TestBus extends Bus {
  /** `clock.advance(60_000)`: delays and retries that are due by then arrive, what should expire does. */
  readonly clock: ManualClock;
}

export type TestBusOptions = Omit<ConnectOptions, "clock" | "state" | "queueType">;

/** Starts one in a few milliseconds. Close it at the end of the test: `await using bus = await testBus()`. */
export async function testBus(options: TestBusOptions = {}): Promise<TestBus> {
  const clock = new ManualClock(Date.now());
  const bus = await connect("embedded::memory:", { ...options, clock });
  return Object.assign(bus, { clock });
}

/**
 * A fixture for Vitest: `const test = baseTest.extend({ bus: busFixture })` gives each test that asks for `bus` a broker of its own.
 * https://vitest.dev/guide/test-context#extend-test-context
 */
// Vitest reads the names of what a fixture needs out of its first parameter, which must be written in braces.
// oxlint-disable-next-line no-empty-pattern
export async function busFixture({}: object, use: (bus: TestBus) => Promise<void>): Promise<void> {
  await using bus = await testBus();
  await use(bus);
}

import { expect, test as baseTest, vi } from "vitest";
import { defineTask, Fatal } from "../../src/tasks/index.ts";
import { busFixture, testBus } from "../../src/testing/index.ts";

const test = baseTest.extend({ bus: busFixture });
const task = defineTask("timed", {
  retry: { retries: 5, delay: 60_000, maxDelay: 1_000_000 },
  ttl: 3_600_000,
});

test("a retry waits in the broker until the test's clock has come to it", async ({ bus }) => {
  const attempts: number[] = [];
  const job = await bus.send(task, {});
  bus.worker().on(task, (_input, { attempt }) => {
    attempts.push(attempt);
    if (attempt === 1) throw new Error("not yet");
    return "done";
  });
  await vi.waitFor(async () => expect(await job.state()).toMatchObject({ phase: "retrying" }), {
    timeout: 10_000,
  });
  bus.clock.advance(60_000);
  expect(await job.result({ timeout: 5_000 })).toBe("done");
  expect(attempts).toEqual([1, 2]);
});

test("d11 retries are exponential with full jitter, capped, and never early", async () => {
  const drawn = [1, 0.5, 1, 1, 0.25];
  await using bus = await testBus({ random: () => drawn.shift()! });
  const times: number[] = [];
  const capped = defineTask("capped", { retry: { retries: 5, delay: 1_000, maxDelay: 5_000 } });
  const job = await bus.send(capped, {});
  bus.worker().on(capped, () => {
    times.push(bus.clock.nowMs());
    throw new Error("no");
  });
  const startMs = bus.clock.nowMs();
  for (const [index, waitMs] of [1_000, 1_000, 4_000, 5_000, 1_250].entries()) {
    const before = index + 1;
    await vi.waitFor(
      async () => expect(await job.state()).toMatchObject({ phase: "retrying", attempt: before }),
      { timeout: 10_000 },
    );
    bus.clock.advance(waitMs - 1);
    await bus.status();
    expect(times).toHaveLength(before);
    bus.clock.advance(1);
    await vi.waitFor(() => expect(times).toHaveLength(before + 1), { timeout: 10_000 });
  }
  await expect(job.result({ timeout: 5_000 })).rejects.toThrow("no");
  expect(times.map((time) => time - startMs)).toEqual([0, 1_000, 2_000, 6_000, 11_000, 12_250]);
});

test("what expires does so by the test's clock", async ({ bus }) => {
  await bus.send(task, {});
  await bus.send(task, {}, { delay: 86_400_000 });
  bus.clock.advance(3_600_000);
  await vi.waitFor(
    async () => expect(await bus.deadLetters(task).browse()).toMatchObject([{ reason: "expired" }]),
    { timeout: 10_000 },
  );
  bus.clock.advance(86_400_000 - 3_600_000);
  expect(await bus.status()).toMatchObject([{ ready: 1, dead: 1 }]);
});

test("each test has a broker of its own", async ({ bus }) => {
  await using other = await testBus();
  await bus.send(task, {});
  expect(await bus.status()).toMatchObject([{ ready: 1 }]);
  expect(await other.status(["tasks"])).toMatchObject([{ ready: 0 }]);
});

test("a priority, a delay or a time that cannot be is refused where it is sent", async ({ bus }) => {
  await expect(bus.send(task, {}, { priority: 256 })).rejects.toThrow(/priority is 256; .* from 0 to 255/);
  await expect(bus.send(task, {}, { priority: 0.5 })).rejects.toThrow(TypeError);
  await expect(bus.send(task, {}, { at: new Date("never") })).rejects.toThrow(TypeError);
  // Warren would hand it on at once.
  const longest = 2 ** 32 - 1;
  await expect(bus.send(task, {}, { delay: longest + 1 })).rejects.toThrow(
    /longer than the longest.*49 days/,
  );
  await bus.send(task, {}, { delay: longest });
  expect(await bus.status()).toMatchObject([{ ready: 0 }]);
});

test("handlers may have Retry and Fatal from another copy of the package than their worker", async ({
  bus,
}) => {
  // As built, which is not what this test imports.
  const built: string = new URL("../../dist/tasks/index.js", import.meta.url).href;
  const other = (await import(built)) as typeof import("../../src/tasks/index.ts");
  expect(other.Fatal).not.toBe(Fatal);
  const attempts: number[] = [];
  bus.worker().on(task, (_input, { attempt }) => {
    attempts.push(attempt);
    if (attempts.length === 1) throw new other.Retry({ after: 1_000, countsAsAttempt: false });
    throw new other.Fatal("no use");
  });
  const job = await bus.send(task, {});
  await vi.waitFor(async () => expect(await job.state()).toMatchObject({ phase: "retrying" }));
  bus.clock.advance(1_000);
  await expect(job.result({ timeout: 5_000 })).rejects.toThrow("no use");
  expect(attempts).toEqual([1, 1]);
});

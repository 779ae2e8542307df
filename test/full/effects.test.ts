/** What steps promise of their effects (INVARIANTS 16), while workers and brokers are killed at random. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { describe, expect, onTestFinished, test } from "vitest";
import { openState, type StateStore } from "../../src/state/index.ts";
import { lockHolder } from "../../src/tasks/embedded/lock-holder.ts";
import { connect } from "../../src/tasks/index.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { startPostgres } from "../support/postgres.ts";
import type { Program } from "../support/program.ts";
import { Random } from "../support/random.ts";
import { startTaskProgram } from "../support/task-program.ts";
import { payment, type PaymentSettings } from "./programs/payments.ts";

/** WARREN_KILL_SEED=n repeats the choices of a run; WARREN_KILL_TASKS=n makes it shorter or longer. */
const seed = Number(process.env["WARREN_KILL_SEED"] ?? Date.now() % 1_000_000);
const taskCount = Number(process.env["WARREN_KILL_TASKS"] ?? 1_000);
const workerCount = 3;
const concurrency = 4;
/** Between two kills so many tasks end, at most. */
const mostBetweenKills = 40;

interface Site {
  readonly target: string;
  readonly state: string;
  readonly insert: string;
  /** Task and side of what was booked, in pairs. */
  booked(): Promise<{ task: string; side: string }[]>;
  /** Kills the broker, and starts it again where nobody else does. */
  killBroker(workers: readonly Program[]): Promise<void>;
}

describe(`effects under kill -9, seed ${seed}`, () => {
  test("on an embedded broker with its own state", async () => {
    expect(await killsWhilePaying(embeddedSite())).toBeGreaterThan(taskCount / 100);
  }, 300_000);
  test("on warren serve with state in Postgres", async () => {
    expect(await killsWhilePaying(await servedSite())).toBeGreaterThan(taskCount / 100);
  }, 300_000);
});

/** Sends payments, kills until all have ended, and looks at what they have done. Resolves with how often it has killed. */
async function killsWhilePaying(site: Site): Promise<number> {
  const { target, state, insert } = site;
  const receiver = startTaskProgram(new URL("programs/receiver.ts", import.meta.url), {});
  const { port } = await receiver.next("ready");
  const ids = await sendPayments(target, state);
  const settings: PaymentSettings = {
    target,
    options: { state },
    receiverPort: Number(port),
    insert,
    concurrency,
  };
  const store = await openState(state);
  onTestFinished(() => store.close());
  const kills = await killUntilAllHaveEnded(site, settings, store);

  receiver.say("report");
  const { calls, effects } = (await receiver.next("report")) as unknown as Record<string, string[]>;
  const bus = await connect(target, { state });
  onTestFinished(() => bus.close());
  const letters = await bus.deadLetters(payment).browse({ limit: 10 * taskCount });
  const dead = new Set(letters.map(({ taskId }) => taskId!));
  expect(new Set(letters.map(({ reason }) => reason))).toEqual(
    new Set(dead.size > 0 ? ["unknown-outcome"] : []),
  );

  const phases = await Promise.all(ids.map(async (id) => (await store.get(id))?.phase));
  // All have ended, the one way or the other, and whoever looks at the state and at the dead letters sees the same.
  expect(phases).toEqual(ids.map((id) => (dead.has(id) ? "dead" : "completed")));
  // Idempotent: every task has charged, whatever became of it then, and never under another key.
  expect(effects.filter((effect) => effect.startsWith("charge ")).toSorted()).toEqual(
    ids.map((id) => `charge ${id}:charge`).toSorted(),
  );
  // Once: never called twice, not even by those that are dead; what is completed was called.
  const letterCalls = calls.filter((call) => call.startsWith("letter "));
  expect(letterCalls).toHaveLength(new Set(letterCalls).size);
  const called = new Set(letterCalls);
  const uncalled = ids.filter((id) => !dead.has(id) && !called.has(`letter ${id}:letter`));
  expect(uncalled).toEqual([]);
  // Every call whose result is not recorded is in the dead letters, and nothing else is.
  const recorded = await Promise.all(ids.map((id) => store.steps.find(id, "letter")));
  expect(ids.filter((_, at) => recorded[at]?.status !== "done").toSorted()).toEqual([...dead].toSorted());
  // Transactional: both sides of each, exactly once.
  const booked = (await site.booked()).map(({ task, side }) => `${task} ${side}`);
  expect(booked.toSorted()).toEqual(ids.flatMap((id) => [`${id} credit`, `${id} debit`]).toSorted());

  const repeated = calls.length - effects.length;
  console.log(
    `${taskCount} tasks, ${kills.worker} workers and ${kills.broker} brokers killed in ${kills.seconds} s: ${dead.size} dead with an unknown ` +
      `outcome (${letters.length} letters), ${repeated} idempotent calls repeated, seed ${seed}`,
  );
  return kills.worker + kills.broker;
}

/** Before there are workers: with an embedded broker the process of the test must not serve, since it cannot be killed. */
async function sendPayments(target: string, state: string): Promise<string[]> {
  await using bus = await connect(target, { state });
  const jobs = await bus.sendMany(
    payment,
    Array.from({ length: taskCount }, () => ({})),
  );
  return jobs.map(({ id }) => id);
}

async function killUntilAllHaveEnded(
  site: Site,
  settings: PaymentSettings,
  store: StateStore,
): Promise<{ worker: number; broker: number; seconds: number }> {
  const random = new Random(seed);
  const kills = { worker: 0, broker: 0, seconds: 0 };
  const startedAtMs = performance.now();
  const start = (): Program =>
    startTaskProgram(new URL("programs/payment-worker.ts", import.meta.url), settings);
  const workers = Array.from({ length: workerCount }, start);
  const ended = async (): Promise<number> => (await store.counts(payment.queue as string, 0)).finishedSince;
  const endedAtLeast = async (count: number): Promise<void> => {
    while ((await ended()) < Math.min(count, taskCount)) await sleep(20);
  };
  for (;;) {
    await endedAtLeast((await ended()) + 1 + random.below(mostBetweenKills));
    if ((await ended()) >= taskCount) break;
    await sleep(random.below(50));
    if (random.chance(0.3)) {
      kills.broker++;
      await site.killBroker(workers);
    } else {
      kills.worker++;
      await random.pick(workers).kill();
    }
    for (const [at, worker] of workers.entries()) if (await hasEnded(worker)) workers[at] = start();
  }
  // What was redelivered although it had ended is acknowledged by somebody.
  await sleep(500);
  await Promise.all(workers.map((worker) => worker.kill()));
  kills.seconds = Math.round((performance.now() - startedAtMs) / 1000);
  return kills;
}

async function hasEnded({ ended }: Program): Promise<boolean> {
  return Promise.race([ended.then(() => true), sleep(0).then(() => false)]);
}

function embeddedSite(): Site {
  const dataDir = dataDirectory();
  const file = `${dataDir}/tasks.db`;
  const table = new DatabaseSync(file);
  table.exec("PRAGMA journal_mode = WAL; CREATE TABLE booked (task TEXT NOT NULL, side TEXT NOT NULL)");
  onTestFinished(() => table.close());
  return {
    target: `embedded:${dataDir}`,
    state: `sqlite:${file}`,
    insert: "INSERT INTO booked (task, side) VALUES (?, ?)",
    booked: async () =>
      table.prepare("SELECT task, side FROM booked").all() as { task: string; side: string }[],
    async killBroker(workers) {
      let serving: Program | undefined;
      while (!serving) {
        const pid = lockHolder(dataDir);
        serving = workers.find((worker) => worker.pid === pid);
        await sleep(10);
      }
      await serving.kill();
    },
  };
}

async function servedSite(): Promise<Site> {
  const dataDir = dataDirectory();
  let broker = await forkBroker({ dataDir });
  onTestFinished(() => broker.kill());
  const { port } = broker;
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query("CREATE TABLE public.booked (task TEXT NOT NULL, side TEXT NOT NULL)");
  return {
    target: `amqp://guest:guest@127.0.0.1:${port}`,
    state: postgres.url,
    insert: "INSERT INTO public.booked (task, side) VALUES ($1, $2)",
    booked: async () =>
      (await client.query<{ task: string; side: string }>("SELECT * FROM public.booked")).rows,
    async killBroker() {
      await broker.kill();
      broker = await forkBroker({ port, dataDir });
    },
  };
}

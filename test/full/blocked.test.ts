/** Handlers that keep their thread busy for half a minute. A heartbeat that does not come, or a broker that waits, would show. */
import { expect, inject, onTestFinished, test, vi } from "vitest";
import { connect } from "../../src/tasks/index.ts";
import { lockHolder } from "../../src/tasks/embedded/lock-holder.ts";
import { selectedBrokers } from "../support/broker-selection.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import type { Program } from "../support/program.ts";
import { startWorkers } from "../support/task-program.ts";
import { workOn, type WorkerSettings } from "../tasks/programs/work.ts";

const blockMs = 30_000;
const timeout = 60_000;
const queue = "blocked-for-long";

type Place = Pick<WorkerSettings, "target" | "options">;

test("a handler that blocks its thread for 30 s loses nothing and keeps nobody else waiting, on each backend", async () => {
  const places = [embedded(), await served()];
  const rabbitmqUrl = selectedBrokers.includes("rabbitmq") ? inject("rabbitmqUrl") : undefined;
  if (rabbitmqUrl !== undefined)
    places.push({ target: rabbitmqUrl, options: { state: `sqlite:${dataDirectory()}/state.db` } });
  const failures = await Promise.all(
    places.map((place) =>
      blockOneWorker(place).then(
        () => undefined,
        (error: Error) => `${place.target}: ${error.stack}`,
      ),
    ),
  );
  expect(failures.filter((failure) => failure !== undefined)).toEqual([]);
}, 90_000);

async function blockOneWorker(place: Place): Promise<void> {
  const { target, options } = place;
  const blocked = await startWorker(place);
  // Who comes first serves an embedded directory: it is the broker's own process that is blocked.
  if (target.startsWith("embedded:")) expect(lockHolder(target.slice("embedded:".length))).toBe(blocked.pid);
  const bus = await connect(target, options);
  onTestFinished(() => bus.close());
  const task = workOn(queue);
  const blocking = await bus.send(task, { value: 1, act: "block", ms: blockMs });
  await blocked.next("began");
  const other = await startWorker(place);
  for (let round = 1; round <= 5; round++) {
    const jobs = await bus.sendMany(
      task,
      Array.from({ length: 50 }, (_, value) => ({ value })),
    );
    expect(await Promise.all(jobs.map((job) => job.result({ timeout })))).toHaveLength(50);
    // The results may be here before what the worker has said of them.
    await vi.waitFor(() => expect(other.untaken("ended")).toHaveLength(50 * round), { timeout: 10_000 });
    // A worker that comes meanwhile gets in as well.
    await (await startWorker(place)).kill();
  }
  expect(blocked.untaken("ended")).toEqual([]);
  expect(await blocking.result({ timeout })).toBe(2);
  expect(await blocking.state()).toMatchObject({ phase: "completed", attempt: 1 });
  // It takes others when it is free again.
  await other.kill();
  const last = await bus.send(task, { value: 3 });
  expect(await last.result({ timeout })).toBe(6);
}

async function startWorker(place: Place): Promise<Program> {
  const worker = startWorkers({ ...place, workers: [{ queue, concurrency: 1 }] });
  await worker.next("ready");
  return worker;
}

function embedded(): Place {
  return { target: `embedded:${dataDirectory()}`, options: {} };
}

async function served(): Promise<Place> {
  const directory = dataDirectory();
  const broker = await forkBroker({ dataDir: `${directory}/data` });
  onTestFinished(() => broker.kill());
  return {
    target: `amqp://guest:guest@127.0.0.1:${broker.port}`,
    options: { state: `sqlite:${directory}/state.db` },
  };
}

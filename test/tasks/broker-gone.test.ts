/** What a bus does while its broker is not there. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { connect, defineTask, type Bus } from "../../src/tasks/index.ts";
import { forkBroker, type BrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";

let broker: BrokerProcess;
let restart: () => Promise<void>;
let open: () => Promise<Bus>;

beforeEach(async () => {
  const dataDir = dataDirectory();
  broker = await forkBroker({ dataDir });
  const { port } = broker;
  onTestFinished(() => broker.kill());
  restart = async () => {
    await broker.kill();
    broker = await forkBroker({ port, dataDir });
  };
  open = async () => {
    const bus = await connect(`amqp://guest:guest@127.0.0.1:${port}`);
    onTestFinished(() => bus.close());
    return bus;
  };
});

test("a bus with a worker closes at once when its broker has gone", async () => {
  const bus = await open();
  await bus
    .worker()
    .on(taskOn("one"), () => {})
    .start();
  const job = await bus.send(taskOn("one"), {});
  await job.result();
  await broker.kill();
  // By then it tries to take up its consumers again.
  await sleep(300);
  const startedAtMs = performance.now();
  await bus.close();
  expect(performance.now() - startedAtMs).toBeLessThan(1_000);
});

test("many queues may be used at the same time for the first time, also after a lost connection", async () => {
  const bus = await open();
  const sendToMany = (prefix: string): Promise<unknown> =>
    Promise.all([1, 2, 3].map((at) => bus.send(taskOn(`${prefix}-${at}`), {}, { delay: 1, result: false })));
  await sendToMany("before");
  await restart();
  await sendToMany("after");
  // It would wait for channels that nobody knows of.
  await expect(bus.close()).resolves.toBeUndefined();
});

test("what is declared while the broker goes is declared when it is back", async () => {
  const bus = await open();
  for (let round = 0; round < 2; round++) {
    const restarting = restart();
    const sent: Promise<unknown>[] = [];
    for (let at = 0; at < 50; at++) {
      sent.push(bus.send(taskOn(`new-${round}-${at}`), {}, { result: false }));
      await sleep(1);
    }
    await restarting;
    expect(await Promise.all(sent)).toHaveLength(50);
  }
});

test("a worker that starts while the broker goes takes tasks when it is back", async () => {
  const bus = await open();
  const restarting = restart();
  const started: Promise<void>[] = [];
  for (let at = 0; at < 30; at++) {
    started.push(
      bus
        .worker()
        .on(taskOn(`new-${at}`), () => at)
        .start(),
    );
    await sleep(1);
  }
  await restarting;
  await Promise.all(started);
  for (let at = 0; at < 30; at++) {
    const job = await bus.send(taskOn(`new-${at}`), {});
    expect(await job.result({ timeout: 5_000 })).toBe(at);
  }
});

function taskOn(queue: string): ReturnType<typeof defineTask> {
  return defineTask("work", { queue });
}

/**
 * Tasks on a cluster of three RabbitMQ servers whose leader is killed. Without state: what is counted is what the messages do, and
 * state would hide what is done twice.
 */
import { beforeAll, afterAll, expect, onTestFinished, test, vi } from "vitest";
import { connect } from "../../src/tasks/index.ts";
import type { Program } from "../support/program.ts";
import { startRabbitmqCluster, type ClusterNode, type RabbitmqCluster } from "../support/rabbitmq-cluster.ts";
import { startSender, startWorkers } from "../support/task-program.ts";
import { workOn } from "../tasks/programs/work.ts";

/** WARREN_CLUSTER_TASKS=n makes it shorter or longer. */
const taskCount = Number(process.env["WARREN_CLUSTER_TASKS"] ?? 12_000);
const queue = "work";
const options = { queueType: "quorum" } as const;
const patience = { timeout: 120_000, interval: 100 };

let cluster: RabbitmqCluster;
beforeAll(async () => {
  cluster = await startRabbitmqCluster(3);
});
afterAll(() => cluster?.stop());

test("no confirmed task is lost when the node that leads its queue is killed, and workers go on by themselves", async () => {
  const { nodes } = cluster;
  const bus = await connect(urlFrom(0), options);
  onTestFinished(() => bus.close());
  await bus.deadLetters(workOn(queue)).count();
  const workers = nodes.map((_, at) =>
    startWorkers({ target: urlFrom(at), options, workers: [{ queue, concurrency: 50 }] }),
  );
  await Promise.all(workers.map((worker) => worker.next("ready")));
  const senders = nodes.map((_, at) =>
    startSender({
      target: urlFrom(at),
      options,
      queue,
      first: at * 1_000_000,
      inFlight: 50,
      pauseMs: 100,
      result: false,
    }),
  );
  const startedAtMs = performance.now();
  const confirmed = (): number => count(senders, "confirmed");
  const confirmsReach = (least: number): Promise<void> =>
    vi.waitFor(() => expect(confirmed()).toBeGreaterThanOrEqual(least), patience);

  await confirmsReach(taskCount / 4);
  const leader = await leaderOf(nodes[0]);
  await leader.kill();
  const killedAtMs = performance.now();
  const atKill = confirmed();
  await confirmsReach(atKill + 300);
  const nextAfterMs = Math.round(performance.now() - killedAtMs);
  await confirmsReach(taskCount / 2);
  await leader.start();
  const atReturn = confirmed();
  const doneAtReturn = workers.map((worker) => worker.untaken("ended").length);
  await confirmsReach(Math.max(taskCount, atReturn + taskCount / 4));
  for (const sender of senders) sender.say("stop");
  await Promise.all(senders.map((sender) => sender.finished()));
  const seconds = Math.round((performance.now() - startedAtMs) / 1000);

  // Through all of it each send has waited and has been confirmed.
  expect(senders.flatMap((sender) => sender.untaken("rejected"))).toEqual([]);
  const sent = new Set(
    senders.flatMap((sender) => sender.untaken("confirmed").map(({ id }) => id as string)),
  );
  const lost = (): string[] => {
    const done = new Set(workers.flatMap((worker) => worker.untaken("ended").map(({ id }) => id as string)));
    return [...sent].filter((id) => !done.has(id));
  };
  await vi.waitFor(() => expect(lost()).toHaveLength(0), patience);
  // That one, too, whose connection went with the node.
  for (const [at, worker] of workers.entries())
    expect(worker.untaken("ended").length).toBeGreaterThan(doneAtReturn[at]);
  expect(await bus.deadLetters(workOn(queue)).count()).toBe(0);
  // All three hold the queue again.
  await vi.waitFor(async () => {
    const online = await nodes[0].control("list_queues", "--no-table-headers", "--silent", "name", "online");
    const line = online.split("\n").find((text) => text.startsWith(`${queue}\t`))!;
    expect(nodes.filter(({ name }) => line.includes(name))).toHaveLength(3);
  }, patience);
  const runs = count(workers, "ended");
  console.log(
    `${sent.size} tasks confirmed in ${seconds} s, ${atKill} before the kill of ${leader.name}, ${atReturn} when it was back; ` +
      `${nextAfterMs} ms after the kill 300 more; ${runs} runs, so ${runs - sent.size} more than tasks; 0 lost`,
  );
}, 300_000);

/** The nodes in turn from one of them: clients try them in this order. */
function urlFrom(first: number): string {
  const ports = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`);
  return `amqp://guest:guest@${[...ports.slice(first), ...ports.slice(0, first)].join(",")}`;
}

async function leaderOf(asked: ClusterNode): Promise<ClusterNode> {
  const list = await asked.control("list_queues", "--no-table-headers", "--silent", "name", "leader");
  const rows = list.split("\n").map((line) => line.split("\t"));
  const leader = rows.find(([name]) => name === queue)?.[1];
  return cluster.nodes.find(({ name }) => name === leader)!;
}

function count(programs: readonly Program[], event: string): number {
  return programs.reduce((sum, program) => sum + program.untaken(event).length, 0);
}

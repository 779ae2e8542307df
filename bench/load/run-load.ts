import { setTimeout as sleep } from "node:timers/promises";
import type { Latency } from "./latency.ts";
import { LoadConnection } from "./connection.ts";
import type { Mark } from "./messages.ts";
import { checkPlan, type LoadPlan, type Role } from "./plan.ts";
import {
  delayedExchangeBind,
  delayedExchangeDeclare,
  Method,
  queueDeclare,
  queueDelete,
  queuePurge,
} from "./wire.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface LoadResult {
  seconds: number;
  /** Confirmed ones where confirms are on. */
  publishedPerSecond: number | undefined;
  deliveredPerSecond: number | undefined;
  confirmLatency: Latency | undefined;
  endToEndLatency: Latency | undefined;
  /** The busier generator process's share of a core: near 1 it, not the broker, may be what was measured. */
  generatorCore: number;
}

/** Told when counting starts and ends, to sample the broker over the same stretch. */
export interface Observer {
  opened(): void;
  closed(): void;
}

const COUNTED_RUN_TIMEOUT_MS = 180_000;

/** Runs the generator's processes against a broker. The queues must exist (`withQueues`). */
export async function runLoad(plan: LoadPlan, observer?: Observer): Promise<LoadResult> {
  checkPlan(plan);
  const workers = plan.roles.map((role) => new WorkerProcess(role));
  try {
    await Promise.all(workers.map((worker) => worker.prepare(plan)));
    const marks =
      "messages" in plan.length ? counted(workers, observer) : timed(workers, plan.length, observer);
    return result(await marks);
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}

/** Declares empty queues for `use` and deletes them afterwards. */
export async function withQueues<T>(
  plan: Pick<LoadPlan, "port" | "queues" | "durable" | "kind">,
  use: () => Promise<T>,
): Promise<T> {
  const admin = await LoadConnection.open(plan.port);
  try {
    if (plan.kind === "delayed") await admin.call(delayedExchangeDeclare(), Method.ExchangeDeclareOk);
    for (const queue of plan.queues) {
      await admin.call(queueDeclare(queue, plan.durable, plan.kind), Method.QueueDeclareOk);
      if (plan.kind === "delayed") await admin.call(delayedExchangeBind(queue), Method.QueueBindOk);
      await admin.call(queuePurge(queue), Method.QueuePurgeOk);
    }
    return await use();
  } finally {
    await deleteQueues(admin, plan.queues);
    admin.close();
  }
}

async function deleteQueues(admin: LoadConnection, queues: string[]): Promise<void> {
  try {
    for (const queue of queues) await admin.call(queueDelete(queue), Method.QueueDeleteOk);
  } catch {
    // The broker is gone, which `use` has told in its own words; the next run purges what it finds.
  }
}

interface Span {
  role: Role;
  from: Mark;
  to: Mark;
}

async function timed(
  workers: WorkerProcess[],
  window: { warmUpMs: number; durationMs: number },
  observer: Observer | undefined,
): Promise<Span[]> {
  for (const worker of workers) worker.go();
  const failure = Promise.race(workers.map((worker) => worker.done));
  await Promise.race([sleep(window.warmUpMs), failure]);
  observer?.opened();
  const from = await Promise.all(workers.map((worker) => worker.mark()));
  await Promise.race([sleep(window.durationMs), failure]);
  const to = await Promise.all(workers.map((worker) => worker.mark()));
  observer?.closed();
  return workers.map((worker, i) => ({ role: worker.role, from: from[i], to: to[i] }));
}

async function counted(workers: WorkerProcess[], observer: Observer | undefined): Promise<Span[]> {
  observer?.opened();
  const from = await Promise.all(workers.map((worker) => worker.mark()));
  for (const worker of workers) worker.go();
  const timeout = sleep(COUNTED_RUN_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error(`not through after ${COUNTED_RUN_TIMEOUT_MS / 1000} s`);
  });
  const to = await Promise.race([Promise.all(workers.map((worker) => worker.done)), timeout]);
  observer?.closed();
  return workers.map((worker, i) => ({ role: worker.role, from: from[i], to: to[i] }));
}

function result(spans: Span[]): LoadResult {
  const publishing = spans.find((span) => span.role === "publisher");
  const consuming = spans.find((span) => span.role === "consumer");
  return {
    seconds: Math.max(...spans.map(seconds)),
    publishedPerSecond: publishing && perSecond(publishing),
    deliveredPerSecond: consuming && perSecond(consuming),
    confirmLatency: publishing?.to.latency,
    endToEndLatency: consuming?.to.latency,
    generatorCore: Math.max(...spans.map((span) => (span.to.cpuUs - span.from.cpuUs) / 1e6 / seconds(span))),
  };
}

function seconds(span: Span): number {
  return (span.to.atUs - span.from.atUs) / 1e6;
}

function perSecond(span: Span): number {
  return (span.to.messages - span.from.messages) / seconds(span);
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Contestant } from "./contestants.ts";
import { delayMs } from "./load/plan.ts";
import { runLoad, withQueues, type LoadResult } from "./load/run-load.ts";
import { processUsage, type ProcessUsage } from "./process-usage.ts";
import type { Scenario } from "./scenarios.ts";

export interface Measurement extends LoadResult {
  /** The pace at which the backlog was published, where there is one. */
  backlogPublishedPerSecond: number | undefined;
  /** Cores the broker kept busy while it was counted. */
  brokerCores: number | undefined;
  /** The larger of its resident memory before (with the backlog, if any) and after the counting. */
  brokerRssBytes: number | undefined;
}

const QUIET_CORES = 0.1;
const QUIET_SAMPLE_MS = 100;
const QUIET_TIMEOUT_MS = 3000;

export async function measure(scenario: Scenario, broker: Contestant): Promise<Measurement> {
  const plan = { ...scenario.plan, port: broker.port };
  return withQueues(plan, async () => {
    let backlogPublishedPerSecond: number | undefined;
    if (scenario.backlog) {
      const beginMs = performance.now();
      const filled = await runLoad({ ...plan, roles: ["publisher"], length: { messages: scenario.backlog } });
      backlogPublishedPerSecond = filled.publishedPerSecond;
      // The first of them is due then, and the others follow at the pace at which they were published.
      if (plan.kind === "delayed") await sleep(Math.max(0, beginMs + delayMs - performance.now()));
    }
    let opened: ProcessUsage | undefined;
    let closed: ProcessUsage | undefined;
    const result = await runLoad(plan, {
      opened: () => (opened = processUsage(broker.pid)),
      closed: () => (closed = processUsage(broker.pid)),
    });
    return {
      ...result,
      backlogPublishedPerSecond,
      brokerCores: opened && closed && (closed.cpuSeconds - opened.cpuSeconds) / result.seconds,
      brokerRssBytes: opened && closed && Math.max(opened.rssBytes, closed.rssBytes),
    };
  });
}

/** Waits, within reason, until the brokers have done with what the last run left them (deleting a backlog, say). */
export async function quiet(brokers: Contestant[]): Promise<void> {
  const cpuSeconds = (): number =>
    brokers.reduce((sum, broker) => sum + (processUsage(broker.pid)?.cpuSeconds ?? 0), 0);
  const deadlineMs = performance.now() + QUIET_TIMEOUT_MS;
  let before = cpuSeconds();
  while (performance.now() < deadlineMs) {
    await sleep(QUIET_SAMPLE_MS);
    const after = cpuSeconds();
    if ((after - before) / (QUIET_SAMPLE_MS / 1000) <= QUIET_CORES) return;
    before = after;
  }
}

// A process of the generator: all publishers or all consumers of a run. Publishing and consuming have a process each,
// so that neither slows the other or the runner.
import { nowUs } from "./clock.ts";
import { Consumer } from "./consumer.ts";
import { LatencySamples } from "./latency.ts";
import type { Mark, Order, Report } from "./messages.ts";
import { pace } from "./pace.ts";
import { shareOf, type LoadPlan, type Role } from "./plan.ts";
import { Publisher } from "./publisher.ts";

const latency = new LatencySamples();
let publishers: Publisher[] = [];
let consumers: Consumer[] = [];
let ratePerSecond = 0;
let running = 0;

process.on("message", (order: Order) => void obey(order).catch(failed));
process.on("uncaughtException", failed);
process.on("disconnect", () => process.exit());

async function obey(order: Order): Promise<void> {
  if (order.kind === "prepare") {
    await prepare(order.role, order.plan);
    report({ kind: "ready" });
  } else if (order.kind === "go") {
    go();
  } else {
    report({ kind: "mark", mark: mark() });
    latency.clear();
  }
}

async function prepare(role: Role, plan: LoadPlan): Promise<void> {
  ratePerSecond = plan.ratePerSecond;
  running = plan.queues.length;
  const options = plan.queues.map((queue, index) => ({
    plan,
    queue,
    limit: "messages" in plan.length ? shareOf(plan.length.messages, index, plan.queues.length) : Infinity,
    latency,
    onDone: oneDone,
  }));
  if (role === "publisher") publishers = await Promise.all(options.map((each) => Publisher.open(each)));
  else consumers = await Promise.all(options.map((each) => Consumer.open(each)));
}

function go(): void {
  for (const consumer of consumers) consumer.start();
  if (ratePerSecond > 0 && publishers.length > 0) pace(publishers, ratePerSecond, () => running === 0);
  else for (const publisher of publishers) publisher.start();
}

function oneDone(): void {
  running -= 1;
  if (running === 0) report({ kind: "done", mark: mark() });
}

function mark(): Mark {
  const { user, system } = process.cpuUsage();
  const messages = [...publishers, ...consumers].reduce((sum, each) => sum + each.messages, 0);
  return { atUs: nowUs(), messages, cpuUs: user + system, latency: latency.summary() };
}

function failed(error: Error): void {
  report({ kind: "failed", reason: error.message });
}

function report(message: Report): void {
  process.send?.(message);
}

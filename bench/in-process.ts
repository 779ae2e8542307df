// Broker and generator in one process and thread: how many messages a second of the processor's time is good for. What other
// programs do on the machine changes that far less than a rate: for comparing versions, see docs/benchmarks.md.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import type { startBroker as StartBroker } from "../src/broker/index.ts";
import { Consumer } from "./load/consumer.ts";
import { LatencySamples } from "./load/latency.ts";
import { Publisher } from "./load/publisher.ts";
import { withQueues } from "./load/run-load.ts";
import { fullPace, scenarios } from "./scenarios.ts";

const [build, name] = process.argv.slice(2);
const { startBroker } = (await import(pathToFileURL(resolve(build, "broker/index.js")).href)) as {
  startBroker: typeof StartBroker;
};
const scenario = scenarios(fullPace).find((known) => known.name === name);
if (!scenario) throw new Error(`no scenario '${name}'`);
if ("messages" in scenario.plan.length || scenario.plan.ratePerSecond > 0)
  throw new Error(`${name} is measured between processes only`);

const directory = mkdtempSync(join(tmpdir(), "warren-in-process-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
const broker = await startBroker({ port: 0, dataDir: scenario.plan.durable ? directory : undefined });
const plan = { ...scenario.plan, port: broker.port };

await withQueues(plan, async () => {
  const options = plan.queues.map((queue) => ({
    plan,
    queue,
    limit: Number.POSITIVE_INFINITY,
    latency: new LatencySamples(),
    onDone: () => {},
  }));
  const { roles } = plan;
  const consumers = roles.includes("consumer")
    ? await Promise.all(options.map((each) => Consumer.open(each)))
    : [];
  const publishers = roles.includes("publisher")
    ? await Promise.all(options.map((each) => Publisher.open(each)))
    : [];
  for (const each of [...consumers, ...publishers]) each.start();
  const counted = consumers.length > 0 ? consumers : publishers;
  const messages = (): number => counted.reduce((sum, each) => sum + each.messages, 0);
  await sleep(fullPace.warmUpMs);
  const [before, cpu] = [messages(), process.cpuUsage()];
  await sleep(fullPace.durationMs);
  const { user, system } = process.cpuUsage(cpu);
  console.log((messages() - before) / ((user + system) / 1e6));
  process.exit();
});

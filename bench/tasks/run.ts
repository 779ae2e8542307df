// Tasks on the embedded broker beside BullMQ on Redis, in alternation. See docs/benchmarks.md.
import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { findOnPath } from "../../test/support/peers.ts";
import { findFreePorts } from "../../test/support/ports.ts";
import { machineFacts } from "../machine.ts";
import { medianValue } from "../report.ts";
import type { Order, Report } from "./participant.ts";
import type { SystemName } from "./systems.ts";

const HELP = `npm run bench:tasks -- [options]
  --rounds N     5
  --tasks N      60000: some seconds, of which one is warming up
  --in-flight N  50: tasks sent at a time, and done at a time
  --bytes N      1024
  --only SYSTEM  warren or bullmq`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    rounds: { type: "string", default: "5" },
    tasks: { type: "string", default: "60000" },
    "in-flight": { type: "string", default: "50" },
    bytes: { type: "string", default: "1024" },
    only: { type: "string" },
  },
});

/** Tasks per second. */
interface Rates {
  readonly add: number;
  readonly process: number;
  readonly addAndProcess: number;
}

async function main(): Promise<void> {
  const systems = (["bullmq", "warren"] as const).filter((name) => !values.only || values.only === name);
  if (systems.includes("bullmq") && !findOnPath("redis-server"))
    throw new Error("no redis-server on this machine: apt-get install redis-server, or --only warren");
  console.log(JSON.stringify(machineFacts()));
  const rates: Record<SystemName, Rates[]> = { bullmq: [], warren: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const system of round % 2 === 0 ? systems : systems.toReversed()) {
      const rate = await measure(system);
      rates[system].push(rate);
      console.log(`round ${round + 1}  ${system.padEnd(7)} ${format(rate)}`);
    }
  }
  for (const system of systems) console.log(`median   ${system.padEnd(7)} ${format(medians(rates[system]))}`);
  if (systems.length < 2) return;
  const [ours, theirs] = [medians(rates.warren), medians(rates.bullmq)];
  console.log(
    `ratio    add ${(ours.add / theirs.add).toFixed(2)}  process ${(ours.process / theirs.process).toFixed(2)}  ` +
      `add+process ${(ours.addAndProcess / theirs.addAndProcess).toFixed(2)}`,
  );
}

async function measure(system: SystemName): Promise<Rates> {
  const tasks = Number(values.tasks);
  const inFlight = Number(values["in-flight"]);
  const bytes = Number(values.bytes);
  const perSecond = ({ fromMs, toMs }: Pick<Report, "fromMs" | "toMs">): number =>
    (tasks / (toMs! - fromMs!)) * 1000;
  await using place = await openPlace(system);
  const sender = await Participant.start(system, place.name);
  const added = await sender.order({ kind: "add", tasks, inFlight, bytes });
  await sender.close();
  const worker = await Participant.start(system, place.name);
  const processed = await worker.order({ kind: "work", tasks, concurrency: inFlight });
  await worker.close();
  const [from, to] = [
    await Participant.start(system, place.name),
    await Participant.start(system, place.name),
  ];
  const [sent, done] = await Promise.all([
    from.order({ kind: "add", tasks, inFlight, bytes }),
    to.order({ kind: "work", tasks, concurrency: inFlight }),
  ]);
  await to.close();
  await from.close();
  return {
    add: perSecond(added),
    process: perSecond(processed),
    addAndProcess: perSecond({ fromMs: sent.fromMs, toMs: Math.max(sent.toMs!, done.toMs!) }),
  };
}

/** A process that sends or works. */
class Participant {
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(system: SystemName, place: string): Promise<Participant> {
    const participant = new Participant(fork(new URL("participant.ts", import.meta.url), [system, place]));
    await participant.report("ready");
    return participant;
  }

  async order(order: Order): Promise<Report> {
    this.child.send(order);
    return this.report("done");
  }

  async close(): Promise<void> {
    const ended = once(this.child, "exit");
    this.child.send({ kind: "close" } satisfies Order);
    await ended;
  }

  private async report(kind: Report["kind"]): Promise<Report> {
    const ended = once(this.child, "exit").then(() => {
      throw new Error("a process of the benchmark has ended too early");
    });
    ended.catch(() => {});
    const [message] = (await Promise.race([once(this.child, "message"), ended])) as [Report];
    if (message.kind !== kind) throw new Error(`expected ${kind}, got ${message.kind}`);
    return message;
  }
}

interface OpenPlace extends AsyncDisposable {
  readonly name: string;
}

async function openPlace(system: SystemName): Promise<OpenPlace> {
  const directory = mkdtempSync(join(tmpdir(), "warren-bench-tasks-"));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  if (system === "warren")
    return { name: join(directory, "data"), [Symbol.asyncDispose]: async () => remove() };
  const [port] = await findFreePorts(1);
  const redis = spawn(
    "redis-server",
    [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "yes",
      "--appendfsync",
      "everysec",
    ],
    { stdio: "ignore" },
  );
  while (!(await answers(port))) await sleep(20);
  return {
    name: String(port),
    async [Symbol.asyncDispose]() {
      redis.kill("SIGKILL");
      await once(redis, "exit");
      remove();
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, "127.0.0.1");
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

function medians(rates: readonly Rates[]): Rates {
  const median = (key: keyof Rates): number => medianValue(rates.map((rate) => rate[key]))!;
  return { add: median("add"), process: median("process"), addAndProcess: median("addAndProcess") };
}

function format({ add, process: processed, addAndProcess }: Rates): string {
  const k = (value: number): string => `${(value / 1000).toFixed(1)} k/s`.padStart(10);
  return `add ${k(add)}  process ${k(processed)}  add+process ${k(addAndProcess)}`;
}

// Last, since the class above is none before.
if (values.help) console.log(HELP);
else await main();

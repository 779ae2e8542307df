// Conversations of three agents with two handoffs, and what a hop through the broker costs. See docs/benchmarks.md.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Swarm } from "../../src/agents/index.ts";
import { connect, defineTask, type Bus } from "../../src/tasks/index.ts";
import { machineFacts } from "../machine.ts";
import { medianValue } from "../report.ts";

const HELP = `npm run bench:agents -- [options]
  --rounds N         3
  --conversations N  1000
  --at-a-time N      50`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    rounds: { type: "string", default: "3" },
    conversations: { type: "string", default: "1000" },
    "at-a-time": { type: "string", default: "50" },
  },
});
const turnsPerConversation = 3;
const alone = 100;

interface Figures {
  readonly conversationsPerSecond: number;
  /** One conversation at a time: from what is said to the answer, for each turn. */
  readonly turnMs: number;
  /** A task that does nothing, from sending to its result: a hop through the broker, synced twice. */
  readonly taskMs: number;
}

async function main(): Promise<void> {
  console.log(JSON.stringify(machineFacts()));
  const rounds: Figures[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    const figures = await measure();
    rounds.push(figures);
    console.log(`round ${round}  ${format(figures)}`);
  }
  const median = (key: keyof Figures): number => medianValue(rounds.map((figures) => figures[key]))!;
  const medians: Figures = {
    conversationsPerSecond: median("conversationsPerSecond"),
    turnMs: median("turnMs"),
    taskMs: median("taskMs"),
  };
  console.log(`median   ${format(medians)}`);
}

/** The agents are processes of their own; the broker runs in a thread of this one, which does the plain tasks as well. */
async function measure(): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), "warren-bench-agents-"));
  const target = `embedded:${join(directory, "data")}`;
  const bus = await connect(target);
  const children = await Promise.all([0, 1, 2].map((which) => start(target, which)));
  try {
    const swarm = new Swarm(bus);
    await converse(swarm, 200, 50);
    const taskMs = (await timed(() => doTasks(bus, alone))) / alone;
    const aloneMs = await timed(() => converse(swarm, alone, 1));
    const count = Number(values.conversations);
    const togetherMs = await timed(() => converse(swarm, count, Number(values["at-a-time"])));
    return {
      conversationsPerSecond: (count / togetherMs) * 1000,
      turnMs: aloneMs / alone / turnsPerConversation,
      taskMs,
    };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await bus.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function start(target: string, which: number): Promise<ChildProcess> {
  const child = fork(new URL("agent.ts", import.meta.url), [target, String(which)]);
  await once(child, "message");
  return child;
}

async function converse(swarm: Swarm, count: number, atATime: number): Promise<void> {
  let left = count;
  const talk = async (): Promise<void> => {
    while (left-- > 0) {
      const { outcome } = await swarm.run("First", "Hello");
      if (outcome !== "completed") throw new Error(`a conversation has ended as ${outcome}`);
    }
  };
  await Promise.all(Array.from({ length: atATime }, talk));
}

async function doTasks(bus: Bus, count: number): Promise<void> {
  const idle = defineTask("idle", { queue: "idle" });
  await using worker = bus.worker().on(idle, () => {});
  await worker.start();
  for (let done = 0; done < count; done++) await (await bus.send(idle, {})).result();
}

async function timed(action: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

function format({ conversationsPerSecond, turnMs, taskMs }: Figures): string {
  const turns = conversationsPerSecond * turnsPerConversation;
  return (
    `${conversationsPerSecond.toFixed(0)} conversations/s (${turns.toFixed(0)} turns/s)  ` +
    `alone: ${turnMs.toFixed(2)} ms a turn, ${taskMs.toFixed(2)} ms a plain task`
  );
}

// Last, since what stands above is none before.
if (values.help) console.log(HELP);
else await main();

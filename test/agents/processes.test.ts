/** Agents in processes of their own, found by their names. */
import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { Agent, Swarm } from "../../src/agents/index.ts";
import { connect, type Bus } from "../../src/tasks/index.ts";
import { eventually } from "../support/eventually.ts";
import type { Program } from "../support/program.ts";
import { startTaskProgram } from "../support/task-program.ts";
import { selectedPlaces, startPlace, type PlaceName } from "./places.ts";
import type { AgentSettings } from "./programs/agent.ts";

test.each(selectedPlaces)("A asks B asks A, with prefetch 1, and all is answered %s", async (where) => {
  const { target, options } = await startPlace(where);
  const suffix = randomUUID().slice(0, 8);
  const swarmOf = async (agent: Agent): Promise<Swarm> => {
    const bus = await connect(target, options);
    onTestFinished(() => bus.close());
    return new Swarm(bus, { agents: [agent] }).start();
  };
  const [nameOfA, nameOfB] = [`A ${suffix}`, `B ${suffix}`];
  await swarmOf(
    new Agent({
      name: nameOfA,
      handler: async ({ content, from }, { ask }) =>
        from === nameOfB ? `A heard ${content}` : `A(${await ask(nameOfB, content)})`,
    }),
  );
  const swarm = await swarmOf(
    new Agent({
      name: nameOfB,
      handler: async ({ content }, { ask }) => `B(${await ask(nameOfA, `${content} from B`)})`,
    }),
  );
  const asked = ["one", "two", "three"].map((word) => swarm.ask(nameOfA, word));
  expect(await Promise.all(asked)).toEqual([
    "A(B(A heard one from B))",
    "A(B(A heard two from B))",
    "A(B(A heard three from B))",
  ]);
});

test.each(selectedPlaces)(
  "a1 a9 a13 a14 a16 a18 three processes, one agent each: a handoff and an answer, through a crash, and an end without leaks %s",
  async (where) => {
    const { start, swarm, names } = await startThree(where, "talk");
    const [a, b, c] = [await start("a"), await start("b"), await start("c")];
    const question = { messages: [{ role: "user" as const, content: "I want to talk to agent B." }] };
    const answer = {
      outcome: "completed",
      agent: names[1],
      content: "This is Agent B. Agent C says: Agent B has said: I want to talk to agent B.",
    };
    expect(await swarm.run(names[0], question)).toMatchObject(answer);
    const status = await swarm.debugQueues(names);
    expect(names.map((name) => status[name].status)).toEqual(["active", "active", "active"]);
    expect((await swarm.known()).map(({ name }) => name).toSorted()).toEqual(
      expect.arrayContaining([...names]),
    );

    // The first on an embedded directory is its broker; whoever dies, the others go on.
    await a.kill();
    const run = swarm.run(names[0], question);
    await run.sent;
    const again = await start("a");
    expect(await run).toMatchObject(answer);

    for (const program of [again, b, c]) {
      program.signal("SIGTERM");
      await program.next("closed");
      // By itself: nothing is left that would keep it.
      expect(await program.ended).toMatchObject({ code: 0 });
    }
    const idle = await swarm.debugQueues(names);
    expect(names.map((name) => idle[name].status)).toEqual(["idle", "idle", "idle"]);
  },
  60_000,
);

test.each(selectedPlaces)(
  "a2 a3 a4 a5 a6 a7 a8 a10 a12 a15 a17 a19 d17 three processes, one agent each: a payment that a person lets happen, a failure, and what waits meanwhile %s",
  async (where) => {
    const { start, swarm, bus, names, suffix } = await startThree(where, "pay");
    const programs = [await start("a"), await start("b"), await start("c")];
    expect(await swarm.debugQueues(names)).toEqual(
      Object.fromEntries(
        ["a", "b", "c"].map((letter, index) => [
          names[index],
          {
            queue_name: `agent_agent_${letter}_${suffix}_queue`,
            message_count: 0,
            consumer_count: 1,
            routing_key: `agent.agent_${letter}_${suffix}`,
            status: "active",
          },
        ]),
      ),
    );
    expect((await swarm.known()).find(({ name }) => name === names[1])).toMatchObject({ role: "Payer" });

    const run = swarm.run(names[0], { messages: "Pay 500", context: { user: "john" }, priority: 9 });
    const approval = await eventually(async () => (await swarm.approvals.list()).at(0));
    expect(approval).toMatchObject({ agent: names[1], name: "pay", arguments: '{"euro":500}' });
    await swarm.approvals.resolve(approval.id, { approved: true });
    expect(await run).toMatchObject({
      outcome: "completed",
      agent: names[1],
      content: "It is paid, thank you.",
      contextVariables: { user: "john", paid: 500 },
      usage: { inputTokens: 400, outputTokens: 40, usd: expect.closeTo(0.0008) },
    });
    const types: string[] = [];
    for await (const { type } of run) types.push(type);
    expect(types).toEqual(
      expect.arrayContaining(["handoff", "approval", "tool-result", "guardrail", "done"]),
    );

    expect(await swarm.run(names[2], "break")).toMatchObject({
      outcome: "failed",
      reason: "failed: it is broken",
    });
    const queue = `agent_agent_c_${suffix}_queue`;
    // Whoever waits for the run is told before.
    const letter = await eventually(async () => (await bus.deadLetters(queue).browse()).at(0));
    expect(letter).toMatchObject({ reason: "failed", attempts: 2, queue });

    programs[2].signal("SIGTERM");
    await programs[2].next("closed");
    const statusOf = async (): Promise<object> => (await swarm.debugQueues([names[2]]))[names[2]];
    const conversation = await swarm.tell(names[2], "Hello");
    expect(await statusOf()).toMatchObject({ message_count: 1, consumer_count: 0, status: "idle" });
    await start("c");
    expect(await swarm.follow(conversation)).toMatchObject({ outcome: "completed", content: "heard Hello" });
    expect(await statusOf()).toMatchObject({ message_count: 0, consumer_count: 1, status: "active" });
  },
  60_000,
);

interface ThreeProcesses {
  readonly start: (which: AgentSettings["which"]) => Promise<Program>;
  /** Of this process, with no agent of its own. */
  readonly swarm: Swarm;
  readonly bus: Bus;
  readonly names: readonly string[];
  readonly suffix: string;
}

async function startThree(where: PlaceName, scene: AgentSettings["scene"]): Promise<ThreeProcesses> {
  const { target, options } = await startPlace(where);
  const suffix = randomUUID().slice(0, 8);
  const start = async (which: AgentSettings["which"]): Promise<Program> => {
    const settings: AgentSettings = { target, options, scene, which, suffix };
    const program = startTaskProgram(new URL("programs/agent.ts", import.meta.url), settings);
    await program.next("ready");
    return program;
  };
  const bus = await connect(target, options);
  onTestFinished(() => bus.close());
  const names = ["A", "B", "C"].map((letter) => `Agent ${letter} ${suffix}`);
  return { start, swarm: new Swarm(bus), bus, names, suffix };
}

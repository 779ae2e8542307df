/** Agents in processes of their own, found by their names. */
import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { Agent, Swarm } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import type { Program } from "../support/program.ts";
import { startTaskProgram } from "../support/task-program.ts";
import { selectedPlaces, startPlace } from "./places.ts";
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
    const { target, options } = await startPlace(where);
    const suffix = randomUUID().slice(0, 8);
    const start = async (which: AgentSettings["which"]): Promise<Program> => {
      const settings: AgentSettings = { target, options, which, suffix };
      const program = startTaskProgram(new URL("programs/agent.ts", import.meta.url), settings);
      await program.next("ready");
      return program;
    };
    const [a, b, c] = [await start("a"), await start("b"), await start("c")];
    const bus = await connect(target, options);
    onTestFinished(() => bus.close());
    const swarm = new Swarm(bus);
    const names = ["A", "B", "C"].map((letter) => `Agent ${letter} ${suffix}`);
    const question = { messages: [{ role: "user" as const, content: "I want to talk to agent B." }] };
    const answer = {
      outcome: "completed",
      agent: names[1],
      content: "This is Agent B. Agent C says: Agent B has said: I want to talk to agent B.",
    };
    expect(await swarm.run(names[0], question)).toMatchObject(answer);
    const status = await swarm.debugQueues(names);
    expect(names.map((name) => status[name].status)).toEqual(["active", "active", "active"]);
    expect((await swarm.known()).map(({ name }) => name).toSorted()).toEqual(expect.arrayContaining(names));

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

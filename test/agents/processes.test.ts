/** Agents in processes of their own, found by their names. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { Swarm } from "../../src/agents/index.ts";
import { connect, type ConnectOptions } from "../../src/tasks/index.ts";
import { selectedBrokers } from "../support/broker-selection.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { startPostgres } from "../support/postgres.ts";
import type { Program } from "../support/program.ts";
import { startTaskProgram } from "../support/task-program.ts";
import type { AgentSettings } from "./programs/agent.ts";

interface Place {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state" | "queueType">;
}

const places: Record<string, () => Promise<Place>> = {
  "on an embedded broker": async () => ({ target: `embedded:${join(dataDirectory(), "data")}`, options: {} }),
  "on RabbitMQ with Postgres": async () => {
    const postgres = await startPostgres();
    onTestFinished(() => postgres.stop());
    return { target: inject("rabbitmqUrl")!, options: { state: postgres.url } };
  },
};

const selected = Object.keys(places).filter((place) =>
  selectedBrokers.includes(place.includes("RabbitMQ") ? "rabbitmq" : "warren"),
);

test.each(selected)(
  "a1 a9 a13 a14 a16 a18 three processes, one agent each: a handoff and an answer, through a crash, and an end without leaks %s",
  async (where) => {
    const { target, options } = await places[where]();
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

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Swarm } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { startTaskProgram } from "../support/task-program.ts";
import type { RelaySettings } from "./programs/relay.ts";

const count = 1_000;
const atATime = 50;

test(`${count} conversations of three agents in three processes end, each with all that was said`, async () => {
  const target = `embedded:${join(dataDirectory(), "data")}`;
  const bus = await connect(target);
  onTestFinished(() => bus.close());
  for (const which of [0, 1, 2]) {
    const settings: RelaySettings = { target, which, concurrency: 10 };
    await startTaskProgram(new URL("programs/relay.ts", import.meta.url), settings).next("ready");
  }
  const swarm = new Swarm(bus);
  const left = Array.from({ length: count }, (_, index) => index);
  const talk = async (): Promise<void> => {
    for (let index = left.pop(); index !== undefined; index = left.pop()) {
      const word = `${index} ${randomUUID()}`;
      const { outcome, agent, messages, contextVariables } = await swarm.run("First", word);
      const said = messages.map(({ role, content, ...more }) =>
        role === "tool" ? role : `${"name" in more ? more.name : role}: ${content}`,
      );
      expect({ outcome, agent, said, contextVariables }).toEqual({
        outcome: "completed",
        agent: "Third",
        said: [`user: ${word}`, "First: ", "tool", "Second: ", "tool", `Third: heard ${word}`],
        contextVariables: {},
      });
    }
  };
  await Promise.all(Array.from({ length: atATime }, talk));
}, 120_000);

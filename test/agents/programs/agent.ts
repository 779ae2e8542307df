/** A process with one of three agents that know each other by their names only. */
import { Agent, scripted, Swarm } from "../../../src/agents/index.ts";
import { connect, type ConnectOptions } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";

export interface AgentSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state" | "queueType">;
  readonly which: "a" | "b" | "c";
  /** Tells the agents of one test from others. */
  readonly suffix: string;
}

const { target, options, which, suffix } = JSON.parse(process.argv[2]) as AgentSettings;
const nameOf = (letter: string): string => `Agent ${letter.toUpperCase()} ${suffix}`;
const agents = {
  a: new Agent({
    name: nameOf("a"),
    role: "Sender",
    handoffs: [nameOf("b")],
    model: scripted([{ toolCalls: [{ name: `transfer_to_agent_b_${suffix}` }] }]),
  }),
  b: new Agent({
    name: nameOf("b"),
    role: "Receiver",
    handler: async ({ content }, { ask }) =>
      `This is Agent B. Agent C says: ${await ask(nameOf("c"), content)}`,
  }),
  c: new Agent({
    name: nameOf("c"),
    handler: ({ content, from }) => `${from?.slice(0, 7)} has said: ${content}`,
  }),
};

const bus = await connect(target, { ...options, logger: sayingLogger });
const swarm = await new Swarm(bus, { agents: [agents[which]] }).start();
endWithParent();
say("ready", { agents: swarm.agents().map(({ name }) => name) });
process.on("SIGTERM", () => {
  void (async () => {
    await swarm.close();
    await bus.close();
    say("closed");
    process.stdin.destroy();
  })();
});

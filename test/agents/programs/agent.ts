/** A process with one of three agents that know each other by their names only. */
import { Agent, scripted, Swarm, tool } from "../../../src/agents/index.ts";
import { connect, type ConnectOptions } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";

export interface AgentSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state" | "queueType">;
  /** They talk: a hands over to b, who asks c. They pay: a hands over to b, who pays when a person lets it; c can do nothing. */
  readonly scene: "talk" | "pay";
  readonly which: "a" | "b" | "c";
  /** Tells the agents of one test from others. */
  readonly suffix: string;
}

const { target, options, scene, which, suffix } = JSON.parse(process.argv[2]) as AgentSettings;
const nameOf = (letter: string): string => `Agent ${letter.toUpperCase()} ${suffix}`;
const usage = { inputTokens: 100, outputTokens: 10 };
const sender = new Agent({
  name: nameOf("a"),
  role: "Sender",
  handoffs: [nameOf("b")],
  model: scripted([{ toolCalls: [{ name: `transfer_to_agent_b_${suffix}` }], usage }]),
});
const scenes = {
  talk: {
    a: sender,
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
  },
  pay: {
    a: sender,
    b: new Agent({
      name: nameOf("b"),
      role: "Payer",
      model: scripted([
        { toolCalls: [{ name: "pay", arguments: { euro: 500 } }], usage },
        { text: "It is paid.", usage },
        { text: "It is paid, thank you.", usage },
      ]),
      tools: {
        pay: tool({
          description: "Pays",
          effect: "once",
          needsApproval: true,
          execute: (input, { setContext }) => {
            setContext({ paid: (input as { euro: number }).euro });
            return "paid";
          },
        }),
      },
      guardrails: {
        output: [
          {
            name: "polite",
            check: (text) => (text.includes("thank you") ? undefined : { reject: "Say thank you." }),
          },
        ],
      },
    }),
    c: new Agent({
      name: nameOf("c"),
      retry: { retries: 1, delay: 50, jitter: "none" },
      handler: ({ content }) => {
        if (content === "break") throw new Error("it is broken");
        return `heard ${content}`;
      },
    }),
  },
};

const bus = await connect(target, { ...options, logger: sayingLogger });
const swarm = await new Swarm(bus, {
  agents: [scenes[scene][which]],
  prices: { scripted: { input: 1, output: 10 } },
}).start();
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

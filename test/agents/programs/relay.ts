/** A process with one of three agents, the first two of which hand on what they hear. */
import { Agent, scripted, Swarm } from "../../../src/agents/index.ts";
import { connect } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";

export interface RelaySettings {
  readonly target: string;
  /** Whose process this is, from 0. */
  readonly which: number;
  readonly concurrency: number;
}

const { target, which, concurrency } = JSON.parse(process.argv[2]) as RelaySettings;
const agents = [
  new Agent({
    name: "First",
    concurrency,
    handoffs: ["Second"],
    model: scripted([{ toolCalls: [{ name: "transfer_to_second" }] }]),
  }),
  new Agent({
    name: "Second",
    concurrency,
    handoffs: ["Third"],
    model: scripted([{ toolCalls: [{ name: "transfer_to_third" }] }]),
  }),
  new Agent({
    name: "Third",
    concurrency,
    model: scripted(({ messages }) => `heard ${messages.findLast(({ role }) => role === "user")?.content}`),
  }),
];
const bus = await connect(target, { logger: sayingLogger });
await new Swarm(bus, { agents: [agents[which]] }).start();
endWithParent();
say("ready");

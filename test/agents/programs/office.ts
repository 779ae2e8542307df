/**
 * Three agents in a process that dies by its own hand at the n-th step boundary: before or after an entry is recorded, a message is
 * published, or inside a model's or a tool's call. All that is called from outside is counted by the receiver.
 */
import { Agent, scripted, Swarm, tool, type ModelRequest } from "../../../src/agents/index.ts";
import { connect, type ConnectOptions } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";

export interface OfficeSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state">;
  readonly receiverPort: number;
  /** Tells the agents of one run from others. */
  readonly suffix: string;
  /** Undefined: it lives. */
  readonly dieAt?: number;
}

const { target, options, receiverPort, suffix, dieAt } = JSON.parse(process.argv[2]) as OfficeSettings;
let boundaries = 0;

function boundary(): void {
  boundaries++;
  if (boundaries === dieAt) process.kill(process.pid, "SIGKILL");
}

/** Around a call: before it, and after it and before anybody knows of it. */
async function between<T>(call: () => Promise<T>): Promise<T> {
  boundary();
  const result = await call();
  boundary();
  return result;
}

function post(what: string, key: string): Promise<unknown> {
  return between(async () => {
    const headers = { "Idempotency-Key": key };
    return (await fetch(`http://127.0.0.1:${receiverPort}/${what}`, { method: "POST", headers })).json();
  });
}

const bus = await connect(target, { ...options, logger: sayingLogger });
const { transport } = bus["parts"];
const { journal } = bus;
const [append, publish] = [journal.append.bind(journal), transport.publish.bind(transport)];
journal.append = (...addition) => between(() => append(...addition));
transport.publish = (...message) => between(() => publish(...message));

/** Says the lines in turn, by how far the conversation is. */
function model(agent: string, lines: Parameters<typeof scripted>[0]): ReturnType<typeof scripted> {
  const script = scripted(lines);
  return {
    name: script.name,
    async step(request: ModelRequest) {
      await post(`model-${agent}`, `${suffix} ${request.messages.length}`);
      return script.step(request);
    },
  };
}

const retry = { retries: 1_000, delay: 20, jitter: "none" } as const;
const call = (name: string): { toolCalls: { name: string }[] } => ({ toolCalls: [{ name }] });

const reviewer = new Agent({
  name: `reviewer ${suffix}`,
  retry,
  model: model("reviewer", ["It is good."]),
});
const writer = new Agent({
  name: `writer ${suffix}`,
  retry,
  model: model("writer", [
    { toolCalls: [{ name: "review", arguments: { text: "Is it good?" } }] },
    call("publish"),
    "It is published.",
  ]),
  tools: {
    review: reviewer.asTool("Reviews"),
    publish: tool({
      description: "Publishes",
      effect: "once",
      needsApproval: true,
      execute: (_, { idempotencyKey }) => post("publish", idempotencyKey),
    }),
  },
});
const triage = new Agent({
  name: `triage ${suffix}`,
  retry,
  handoffs: [writer],
  model: model("triage", [
    { toolCalls: [{ name: "look" }, { name: "charge" }, { name: "notify" }] },
    call(`transfer_to_writer_${suffix}`),
  ]),
  tools: {
    look: tool({ description: "Looks", effect: "read", execute: () => post("look", "any") }),
    charge: tool({
      description: "Charges",
      execute: (_, { idempotencyKey }) => post("charge", idempotencyKey),
    }),
    notify: tool({
      description: "Tells",
      effect: "once",
      execute: (_, { idempotencyKey }) => post("notify", idempotencyKey),
    }),
  },
});

const swarm = new Swarm(bus, { agents: [triage, writer, reviewer] });
await swarm.start();
endWithParent();
say("ready");
process.stdin.on("data", () => say("boundaries", { count: boundaries }));

/**
 * Three agents in a process that dies by its own hand at a boundary of a conversation: before anything of it is recorded or
 * published, before a delivery is acknowledged, and before, in the middle of and after a call of a model or a tool. All that is called
 * from outside is counted by the receiver.
 *
 * It is compiled and waits; the line `{"start": true}` connects it, `{"conversation", "dieAt"}` says where to die. It tells of each
 * boundary that it comes to.
 */
import { createInterface } from "node:readline";
import {
  Agent,
  scripted,
  Swarm,
  tool,
  type AgentOptions,
  type ModelRequest,
} from "../../../src/agents/index.ts";
import { connect, type ConnectOptions } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";

export interface OfficeSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state">;
  readonly receiverPort: number;
  /** Tells the agents of one test from others. */
  readonly suffix: string;
}

/** The `nth` of its name in a conversation: what goes on beside each other has no order. */
export interface Boundary {
  readonly at: string;
  readonly nth: number;
}

export interface OfficeOrder {
  readonly start?: true;
  readonly conversation?: string;
  readonly dieAt?: Boundary;
}

const { target, options, receiverPort, suffix } = JSON.parse(process.argv[2]) as OfficeSettings;
let order: OfficeOrder = {};
const passed = new Map<string, number>();

/** `of`: what bears the conversation's id, if it belongs to it. */
function boundary(at: string, of: unknown): void {
  const { conversation, dieAt } = order;
  if (conversation === undefined || !JSON.stringify(of).includes(conversation)) return;
  const nth = (passed.get(at) ?? 0) + 1;
  passed.set(at, nth);
  say("boundary", { at, nth });
  if (dieAt?.at === at && dieAt.nth === nth) process.kill(process.pid, "SIGKILL");
}

/** A service that has taken a call, and has not answered yet, is the middle of it. */
async function post(what: string, key: string): Promise<unknown> {
  boundary(`before ${what}`, key);
  const headers = { "Idempotency-Key": key };
  const response = await fetch(`http://127.0.0.1:${receiverPort}/${what}`, { method: "POST", headers });
  boundary(`in ${what}`, key);
  const answer = await response.json();
  boundary(`after ${what}`, key);
  return answer;
}

async function start(): Promise<void> {
  const bus = await connect(target, { ...options, logger: sayingLogger });
  const { transport, state } = bus["parts"];
  const { journal } = bus;
  const append = journal.append.bind(journal);
  journal.append = (name, after, addition) => {
    const entries = addition.entries.map(({ data }) => JSON.parse(data) as { kind: string; name?: string });
    const kinds = entries.map(({ kind, name: of }) => (of === undefined ? kind : `${kind} of ${of}`));
    boundary(`before ${kinds.join(", ").replace(`_${suffix}`, "")} is recorded`, name);
    return append(name, after, addition);
  };
  const publish = transport.publish.bind(transport);
  transport.publish = (message, signal) => {
    const { payload } = message.body as { payload?: { kind?: string } };
    boundary(`before ${payload?.kind} is published`, message.body);
    return publish(message, signal);
  };
  const complete = state!.complete.bind(state);
  state!.complete = async (id, ...rest) => {
    const isOurs = await complete(id, ...rest);
    boundary("before it is acknowledged", id);
    return isOurs;
  };
  await new Swarm(bus, { agents: office() }).start();
  say("ready");
}

function office(): Agent[] {
  const reviewer = new Agent({ ...named("reviewer"), model: model("reviewer", ["It is good."]) });
  const writer = new Agent({
    ...named("writer"),
    model: model("writer", [
      (request) => ({ toolCalls: [{ name: "review", arguments: { text: `Is it good? ${idIn(request)}` } }] }),
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
    ...named("triage"),
    handoffs: [writer],
    model: model("triage", [call("look", "charge", "notify"), call(`transfer_to_writer_${suffix}`)]),
    tools: {
      look: tool({
        description: "Looks",
        effect: "read",
        execute: (_, { conversation }) => post("look", conversation),
      }),
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
  return [triage, writer, reviewer];
}

function named(name: string): Pick<AgentOptions, "name" | "retry"> {
  return { name: `${name} ${suffix}`, retry: { retries: 1_000, delay: 20, jitter: "none" } };
}

/** Says the lines in turn, by how far the conversation is; each call of it is one of the receiver. */
function model(agent: string, lines: Parameters<typeof scripted>[0]): ReturnType<typeof scripted> {
  const script = scripted(lines);
  return {
    name: script.name,
    async step(request: ModelRequest) {
      await post(`model-${agent}`, `${idIn(request)} ${request.messages.length}`);
      return { ...(await script.step(request)), usage: { inputTokens: 10, outputTokens: 1 } };
    },
  };
}

/** What was said first names the conversation. */
function idIn({ messages }: ModelRequest): string {
  return messages[0].content.split(" ").at(-1)!;
}

function call(...names: string[]): { toolCalls: { name: string }[] } {
  return { toolCalls: names.map((name) => ({ name })) };
}

endWithParent();
createInterface({ input: process.stdin }).on("line", (line) => {
  order = JSON.parse(line) as OfficeOrder;
  passed.clear();
  if (order.start) void start();
  else say("armed");
});

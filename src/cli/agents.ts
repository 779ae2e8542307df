import { createInterface } from "node:readline";
import type { Command } from "commander";
import type { Approval, Run, RunEvent, Swarm } from "../agents/index.ts";
import { createLogger, type LogLevel } from "../base/index.ts";
import type { ConnectOptions } from "../tasks/index.ts";
import { addBusOptions, tellingFailure, wholeNumber, withBus, type BusFlags } from "./bus-options.ts";
import { loadDefault } from "./load-default.ts";
import { formatTable, formatTime } from "./table.ts";

/** What the file given to `warren agents run` exports as its default. */
type SetUp = (swarm: Swarm) => unknown;

interface SwarmFlags extends BusFlags {
  exchange: string;
}

/** `warren agents run|list|status|send|chat|history|approve`. */
export function addAgentsCommand(program: Command): void {
  const agents = program.command("agents").description("Talk to agents and look at them.");
  const command = (name: string): Command =>
    addBusOptions(agents.command(name)).option(
      "--exchange <name>",
      "that leads to the agents",
      "agent_exchange",
    );

  command("run <file>")
    .description("Run the agents of a file: `export default (swarm) => swarm.register(agent)`.")
    .option("--log-level <level>", "debug, info, warn, error, silent", "info")
    .action((file: string, flags: SwarmFlags & { logLevel: LogLevel }) =>
      tellingFailure(async () => {
        // A file that is none is said before anything is connected to.
        const setUp = await loadDefault<SetUp>(file, "(swarm) => swarm.register(agent)");
        const logger = await createLogger(flags.logLevel);
        await withSwarm(flags, (swarm) => runUntilStopped(swarm, setUp), { logger });
      }),
    );

  command("list")
    .description("Agents that have been started, the latest first.")
    .action((flags: SwarmFlags) =>
      withSwarm(flags, async (swarm) => {
        const known = await swarm.known();
        const queues = await swarm.debugQueues(known.map(({ name }) => name));
        const rows = known.map((agent) => ({ ...agent, ...queues[agent.name] }));
        if (flags.json) return printLines(rows);
        print(
          ["agent", "role", "status", "waiting", "consumers", "started"],
          rows.map((row) => [
            row.name,
            row.role,
            row.status,
            row.message_count,
            row.consumer_count,
            formatTime(row.startedAtMs),
          ]),
        );
      }),
    );

  command("status [names...]")
    .description("The agents' queues, as JSON by the agent's name.")
    .action((names: string[], flags: SwarmFlags) =>
      withSwarm(flags, async (swarm) => {
        const wanted = names.length > 0 ? names : (await swarm.known()).map(({ name }) => name);
        console.log(JSON.stringify(await swarm.debugQueues(wanted), undefined, flags.json ? undefined : 2));
      }),
    );

  command("send <agent> <text>")
    .description("Say something to an agent and print its answer.")
    .option("--conversation <id>", "go on with this one")
    .option("--no-wait", "print the conversation's id when the broker has confirmed the message")
    .option("--timeout <ms>", "how long the run may take", wholeNumber)
    .action((agent: string, text: string, flags: SwarmFlags & SendFlags) =>
      withSwarm(flags, async (swarm) => {
        const { conversation, timeout, wait } = flags;
        if (!wait) {
          console.log(await swarm.tell(agent, text, { conversation, timeout }));
          return;
        }
        const result = await swarm.run(agent, { messages: text, conversation, timeout });
        if (flags.json) console.log(JSON.stringify(result));
        else if (result.content !== "") console.log(result.content);
        if (result.outcome !== "completed") throw new Error(`${result.outcome}: ${result.reason ?? ""}`);
      }),
    );

  command("chat <agent>")
    .description("Talk to an agent; what it says is shown as it comes. An empty line, or Ctrl+D, ends it.")
    .option("--conversation <id>", "go on with this one")
    .action((agent: string, flags: SwarmFlags & SendFlags) =>
      withSwarm(flags, (swarm) => chat(swarm, agent, flags.conversation)),
    );

  command("history [conversation]")
    .description("What was said in a conversation; without one, the conversations, the latest first.")
    .option("--limit <number>", "at most", wholeNumber, 50)
    .action((conversation: string | undefined, flags: SwarmFlags & { limit: number }) =>
      withSwarm(flags, (swarm) =>
        conversation === undefined
          ? listConversations(swarm, flags)
          : printHistory(swarm, conversation, flags),
      ),
    );

  command("approve [id]")
    .description("Let a call of a tool happen, or refuse it; without an id, list those that wait.")
    .option("--refuse [reason]", "the agent is told why")
    .action((id: string | undefined, flags: SwarmFlags & { refuse?: string | true }) =>
      withSwarm(flags, async (swarm) => {
        if (id === undefined) return listApprovals(await swarm.approvals.list(), flags);
        const { refuse } = flags;
        const reason = typeof refuse === "string" ? refuse : undefined;
        await swarm.approvals.resolve(id, { approved: refuse === undefined, reason });
        console.log(`${id} ${refuse === undefined ? "approved" : "refused"}`);
      }),
    );
}

interface SendFlags {
  conversation?: string;
  timeout?: number;
  wait?: boolean;
}

async function withSwarm(
  flags: SwarmFlags,
  action: (swarm: Swarm) => Promise<void>,
  options: ConnectOptions = {},
): Promise<void> {
  await withBus(
    flags,
    async (bus) => {
      // Loaded only now, as the bus is.
      const { Swarm } = await import("../agents/index.ts");
      await using swarm = new Swarm(bus, { exchange: flags.exchange });
      await action(swarm);
    },
    options,
  );
}

async function runUntilStopped(swarm: Swarm, setUp: SetUp): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.resolve());
  // Whoever has started it has died.
  process.once("disconnect", () => stopped.resolve());
  await setUp(swarm);
  await swarm.start();
  const names = swarm.agents().map(({ name }) => name);
  process.stderr.write(`${names.join(", ")} ready; Ctrl+C finishes the turns that have begun, then stops\n`);
  await stopped.promise;
}

async function listConversations(
  swarm: Swarm,
  { json, limit }: SwarmFlags & { limit: number },
): Promise<void> {
  const rows = await swarm.conversations(limit);
  if (json) return printLines(rows);
  print(
    ["conversation", "agent", "status", "turn", "outcome", "changed"],
    rows.map(({ id, agent, status, turn, outcome, updatedAtMs }) => [
      id,
      agent,
      status,
      turn,
      outcome,
      formatTime(updatedAtMs),
    ]),
  );
}

async function printHistory(swarm: Swarm, conversation: string, { json }: SwarmFlags): Promise<void> {
  const messages = await swarm.history(conversation);
  if (messages.length === 0) throw new Error(`nothing is known of conversation ${conversation}`);
  if (json) return printLines(messages);
  for (const message of messages) {
    const who = ("name" in message && message.name) || message.role;
    if (message.content !== "") console.log(`${who}: ${message.content}`);
    if (message.role !== "assistant") continue;
    for (const { name, arguments: given } of message.toolCalls ?? [])
      console.log(`${who} calls ${name}(${given})`);
  }
}

function listApprovals(approvals: readonly Approval[], { json }: SwarmFlags): void {
  if (json) return printLines(approvals);
  print(
    ["id", "agent", "tool", "arguments", "expires"],
    approvals.map(({ id, agent, name, arguments: given, expiresAtMs }) => [
      id,
      agent,
      name,
      given,
      formatTime(expiresAtMs),
    ]),
  );
}

async function chat(swarm: Swarm, agent: string, given: string | undefined): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const lines = terminal[Symbol.asyncIterator]();
  const ask = async (prompt: string): Promise<string> => {
    process.stdout.write(prompt);
    const { value, done } = await lines.next();
    return done ? "" : value;
  };
  let conversation = given;
  for (let line = await ask("> "); line.trim() !== ""; line = await ask("> ")) {
    const run = swarm.run(agent, { messages: line, conversation });
    conversation = run.conversation;
    await show(run, swarm, ask);
  }
  terminal.close();
  if (conversation !== undefined) console.log(`\nGo on with --conversation ${conversation}`);
}

/** What a run says, as it says it. */
async function show(run: Run, swarm: Swarm, ask: (prompt: string) => Promise<string>): Promise<void> {
  let streamed = "";
  for await (const event of run) {
    if (event.type === "text-delta") {
      process.stdout.write(event.text);
      streamed += event.text;
    } else if (event.type === "reply") {
      const text = event.message.content;
      process.stdout.write(text.startsWith(streamed) ? text.slice(streamed.length) : `\n${text}`);
      if (text !== "") process.stdout.write("\n");
      streamed = "";
    } else if (event.type === "approval") {
      const answer = await ask(`  ${event.name}(${event.arguments}): may it? [y/N] `);
      await swarm.approvals.resolve(event.id, { approved: /^y/i.test(answer) });
    } else {
      const note = noteOf(event);
      if (note !== undefined) console.log(`  ${note}`);
      if (event.type === "turn-restarted") streamed = "";
    }
  }
}

function noteOf(event: RunEvent): string | undefined {
  switch (event.type) {
    case "handoff":
      return `${event.from} hands over to ${event.to}`;
    case "tool-call":
      return `calls ${event.name}(${event.arguments})`;
    case "asked":
      return `asks ${event.agent}: ${event.text}`;
    case "turn-restarted":
      return `begins again (attempt ${event.attempt})`;
    case "guardrail":
      return event.reject === undefined ? undefined : `${event.names.at(-1)}: ${event.reject}`;
    case "done":
      return event.outcome === "completed" ? undefined : `${event.outcome}: ${event.reason ?? ""}`;
    default:
      return undefined;
  }
}

function print(heading: readonly string[], rows: Parameters<typeof formatTable>[1]): void {
  console.log(formatTable(heading, rows));
}

function printLines(values: readonly unknown[]): void {
  for (const value of values) console.log(JSON.stringify(value));
}

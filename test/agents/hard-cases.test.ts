/** What went wrong once, or would without anybody noticing. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import {
  Agent,
  scripted,
  Swarm,
  tool,
  type AgentHandler,
  type AgentOptions,
  type RunEvent,
  type SwarmOptions,
} from "../../src/agents/index.ts";
import { connect, type Bus } from "../../src/tasks/index.ts";
import { testBus } from "../../src/testing/index.ts";
import { forkBroker } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { eventually } from "../support/eventually.ts";

let bus: Bus;
beforeEach(async () => {
  bus = await connect("embedded::memory:");
  onTestFinished(() => bus.close());
});

function swarmOf(agents: Agent[], options: SwarmOptions = {}): Promise<Swarm> {
  return new Swarm(bus, { agents, ...options }).start();
}

function coded(name: string, handler: AgentHandler, more: Partial<AgentOptions> = {}): Agent {
  return new Agent({ name, handler, retry: { delay: 10, jitter: "none" }, ...more });
}

/** One whose model pays by a tool that runs once, and what it calls then. */
function payer(pay: () => Promise<unknown>, last = "It is paid."): { agent: Agent; called: typeof pay } {
  const called = vi.fn<typeof pay>(pay);
  const agent = new Agent({
    name: "Payer",
    concurrency: 2,
    model: scripted([{ toolCalls: [{ name: "pay" }] }, last]),
    tools: { pay: tool({ description: "Pays", effect: "once", execute: called }) },
  });
  return { agent, called };
}

/** The first turn of a conversation once more, as a copy that somebody has published, or for another attempt. */
function publishTurn(
  { name }: Agent,
  conversation: string,
  { id, attempt }: { id: string; attempt?: number },
): Promise<void> {
  return bus.publish({
    exchange: "agent_exchange",
    routingKey: `agent.${name.toLowerCase()}`,
    headers: { ...(attempt !== undefined && { "x-warren-attempt": attempt }) },
    body: {
      task_id: id,
      task_type: "agent",
      payload: { kind: "turn", turn: 1, routing: { conversation } },
    },
  });
}

async function eventsOf(run: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of run) events.push(event);
  return events;
}

test("an approval that comes while the turn is still at work does not begin a second one beside it", async () => {
  const gate = Promise.withResolvers<void>();
  const slow = vi.fn<() => Promise<string>>(async () => {
    await gate.promise;
    return "done";
  });
  const agent = new Agent({
    name: "Payer",
    concurrency: 2,
    model: scripted([{ toolCalls: [{ name: "pay" }, { name: "slow" }] }, "Done."]),
    tools: {
      pay: tool({ description: "", effect: "once", needsApproval: true, execute: () => "paid" }),
      slow: tool({ description: "", effect: "once", execute: slow }),
    },
  });
  const swarm = await swarmOf([agent]);
  const run = swarm.run(agent, "Go");
  const approval = await eventually(async () => (await swarm.approvals.list()).at(0));
  await vi.waitFor(() => expect(slow).toHaveBeenCalled());
  await swarm.approvals.resolve(approval.id, { approved: true });
  await eventually(async () => {
    for await (const event of run) if (event.type === "approval-resolved") return true;
    return undefined;
  });
  gate.resolve();
  expect((await run).content).toBe("Done.");
  expect(slow).toHaveBeenCalledTimes(1);
});

test("two that take the same turn have one reply, and its calls are made once", async () => {
  const gate = Promise.withResolvers<void>();
  const called = vi.fn<() => string>(() => "done");
  let asked = 0;
  const agent = new Agent({
    name: "Twice",
    concurrency: 2,
    model: scripted([
      async ({ messages }) => {
        asked++;
        await gate.promise;
        return messages.length > 1 ? "Done." : { toolCalls: [{ name: "call", id: `call_${asked}` }] };
      },
    ]),
    tools: { call: tool({ description: "", execute: called }) },
  });
  const swarm = await swarmOf([agent]);
  const run = swarm.run(agent, "Go");
  await vi.waitFor(() => expect(asked).toBe(1));
  await publishTurn(agent, run.conversation, { id: `${run.conversation}:1`, attempt: 2 });
  await vi.waitFor(() => expect(asked).toBe(2));
  gate.resolve();
  expect((await run).content).toBe("Done.");
  const replies = (await eventsOf(run)).filter(({ type }) => type === "reply");
  expect(replies).toHaveLength(2);
  expect(called).toHaveBeenCalledTimes(1);
});

test("a turn that comes by another id than its own is not taken beside it", async () => {
  const gate = Promise.withResolvers<void>();
  const { agent, called } = payer(() => gate.promise);
  const swarm = await swarmOf([agent]);
  const run = swarm.run(agent, "Go");
  await vi.waitFor(() => expect(called).toHaveBeenCalledTimes(1));
  await publishTurn(agent, run.conversation, { id: "another id" });
  await bus.job("another id").result();
  gate.resolve();
  expect((await run).content).toBe("It is paid.");
  expect(called).toHaveBeenCalledTimes(1);
});

test("a copy of a turn that is at work waits for the other one", async () => {
  const gate = Promise.withResolvers<void>();
  const { agent, called } = payer(() => gate.promise);
  const swarm = await swarmOf([agent]);
  const run = swarm.run(agent, "Go");
  await vi.waitFor(() => expect(called).toHaveBeenCalledTimes(1));
  const id = `${run.conversation}:1`;
  await publishTurn(agent, run.conversation, { id });
  await eventually(async () => (await bus.job(id).state()).phase === "retrying" || undefined);
  gate.resolve();
  expect((await run).content).toBe("It is paid.");
  expect(called).toHaveBeenCalledTimes(1);
});

test("a tool that runs once does not run again for another attempt at its turn, and the run says that nobody knows", async () => {
  const gate = Promise.withResolvers<void>();
  const { agent, called } = payer(() => gate.promise);
  const swarm = await swarmOf([agent]);
  const run = swarm.run(agent, "Go");
  await vi.waitFor(() => expect(called).toHaveBeenCalledTimes(1));
  await publishTurn(agent, run.conversation, { id: `${run.conversation}:1`, attempt: 2 });
  expect(await run).toMatchObject({
    outcome: "failed",
    reason: expect.stringMatching(/^unknown-outcome: the tool 'pay' has begun .* nobody knows/),
  });
  gate.resolve();
  expect(called).toHaveBeenCalledTimes(1);
});

test("what a tool that runs once has left open is not done by sending its dead letter again, nor by what is said next", async () => {
  const { agent, called } = payer(() => Promise.reject(new Error("the line is dead")), "I do not know.");
  const swarm = await swarmOf([agent]);
  const { conversation, outcome } = await swarm.run(agent, "Go");
  expect(outcome).toBe("failed");
  const letters = bus.deadLetters("agent_payer_queue");
  await vi.waitFor(async () => expect(await letters.count()).toBe(1), { timeout: 5_000 });
  expect(await letters.browse()).toMatchObject([{ reason: "unknown-outcome", taskId: `${conversation}:1` }]);
  expect(await letters.redrive()).toBe(1);
  await bus.job(`${conversation}:1`).result();
  expect((await swarm.run(agent, { messages: "And?", conversation })).content).toBe("I do not know.");
  expect((await swarm.history(conversation)).map(({ content }) => content)).toEqual([
    "Go",
    "",
    "The run ended before the result was known: it may have been done.",
    "And?",
    "I do not know.",
  ]);
  expect(called).toHaveBeenCalledTimes(1);
});

test("calls of one id are two calls, also where the model is shown but the end of the conversation", async () => {
  const keys: string[] = [];
  const call = { toolCalls: [{ name: "charge", id: "call_0" }] };
  const agent = new Agent({
    name: "Counter",
    history: (messages) => messages.slice(-1),
    model: scripted(() => (keys.length < 3 ? call : "Done.")),
    tools: {
      charge: tool({ description: "", execute: (_, { idempotencyKey }) => void keys.push(idempotencyKey) }),
    },
  });
  const swarm = await swarmOf([agent]);
  expect(await swarm.ask(agent, "Go")).toBe("Done.");
  expect(new Set(keys).size).toBe(3);
});

test("a transactional tool writes with the record of it or not at all", async () => {
  let tries = 0;
  const write = tool({
    description: "",
    effect: "transactional",
    execute: async (_, { transaction }) => {
      tries++;
      await transaction.query("CREATE TABLE IF NOT EXISTS written (try INTEGER)");
      await transaction.query("INSERT INTO written VALUES (?)", [tries]);
      if (tries === 1) throw new Error("not yet");
      return (await transaction.query("SELECT try FROM written")).map((row) => row["try"]);
    },
  });
  const model = scripted([
    { toolCalls: [{ name: "write" }, { name: "write" }] },
    ({ messages }) =>
      messages
        .filter(({ role }) => role === "tool")
        .map(({ content }) => content)
        .join("|"),
  ]);
  const agent = new Agent({ name: "Writer", model, tools: { write } });
  const swarm = await swarmOf([agent]);
  expect(await swarm.ask(agent, "Go")).toBe("The tool failed: not yet|[2]");
});

test("a step that is at work while its handler begins to wait is not done again", async () => {
  const gate = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const charge = vi.fn<() => Promise<string>>(async () => {
    await gate.promise;
    return "charged";
  });
  const b = coded("B", () => {
    answered.resolve();
    return "from B";
  });
  const a = coded(
    "A",
    async (_, { ask, step }) =>
      (await Promise.all([ask("B", "q"), step("charge", { effect: "once" }, charge)])).join(", "),
    { concurrency: 2 },
  );
  const swarm = await swarmOf([a, b]);
  const run = swarm.run(a, "Go");
  await answered.promise;
  await eventually(async () => {
    for await (const event of run) if (event.type === "answered") return true;
    return undefined;
  });
  gate.resolve();
  expect((await run).content).toBe("from B, charged");
  expect(charge).toHaveBeenCalledTimes(1);
});

test("what was asked by a run that has not waited for the answer is counted all the same", async () => {
  const gate = Promise.withResolvers<void>();
  const usage = { inputTokens: 900, outputTokens: 100 };
  const expert = new Agent({
    name: "Expert",
    model: scripted([
      async () => {
        await gate.promise;
        return { text: "42", usage };
      },
    ]),
  });
  const asker = new Agent({
    name: "Asker",
    model: scripted([{ toolCalls: [{ name: "expert", arguments: { text: "What is it?" } }], usage }]),
    tools: { expert: expert.asTool() },
  });
  const swarm = await swarmOf([asker, expert]);
  const run = swarm.run(asker, "Go");
  await eventually(async () => {
    for await (const event of run) if (event.type === "asked") return true;
    return undefined;
  });
  await swarm.cancel(run.conversation);
  expect(await run).toMatchObject({ outcome: "cancelled", usage });
  gate.resolve();
  const both = { inputTokens: 1_800, outputTokens: 200 };
  await vi.waitFor(
    async () =>
      expect(await swarm.follow(run.conversation)).toMatchObject({ outcome: "cancelled", usage: both }),
    { timeout: 5_000 },
  );
  const events = await eventsOf(swarm.follow(run.conversation));
  expect(events.map(({ type }) => type).slice(-2)).toEqual(["done", "answered"]);
});

test("a handler that catches what parks it does not answer before the answer is there", async () => {
  const b = coded("B", () => "from B");
  const a = coded("A", async (_, { ask }) => {
    try {
      return await ask("B", "q");
    } catch {
      return "B is not available";
    }
  });
  const swarm = await swarmOf([a, b]);
  const run = swarm.run(a, "Go");
  expect((await run).content).toBe("from B");
  expect((await eventsOf(run)).filter(({ type }) => type === "reply")).toHaveLength(1);
});

test("a handler may await an answer later, and do steps at once", async () => {
  const b = coded("B", ({ content }) => content);
  const a = coded("A", async (_, { ask, step }) => {
    const later = ask("B", "b");
    const [one, two] = await Promise.all([step("one", () => "1"), step("two", () => "2")]);
    return `${one}${two}${await later}`;
  });
  const swarm = await swarmOf([a, b]);
  expect(await swarm.ask(a, "Go")).toBe("12b");
});

test("what is said while a handler waits does not change what it was asked", async () => {
  const gate = Promise.withResolvers<void>();
  const adder = coded("Adder", async ({ content }) => {
    if (content === "21+21") await gate.promise;
    return String(content.split("+").reduce((sum, part) => sum + Number(part), 0));
  });
  const doubler = coded("Doubler", async ({ content }, { ask }) => {
    return `${content} doubled is ${await ask("Adder", `${content}+${content}`)}`;
  });
  const swarm = await swarmOf([adder, doubler]);
  const run = swarm.run(doubler, "21");
  await eventually(async () => {
    for await (const event of run) if (event.type === "asked") return true;
    return undefined;
  });
  const second = swarm.run(doubler, { messages: "5", conversation: run.conversation });
  await second.sent;
  await sleep(100);
  gate.resolve();
  await second;
  const said = (await swarm.history(run.conversation)).map(({ content }) => content);
  expect(said).toEqual(["21", "21 doubled is 42", "5", "5 doubled is 10"]);
});

test.each([
  { content: "x", asker: null },
  { kind: "answer", answer: { callId: 7 } },
  { kind: "approval", approval: { approvalId: "x", approved: null } },
  { kind: "turn", turn: "one" },
  { kind: "end", end: 5 },
  { content: "x", routing: { conversation: "zero\0byte" } },
])("a message of others that makes no sense is a dead letter, and the agent goes on: %j", async (body) => {
  const agent = coded("Echo", ({ content }) => content, { retry: false });
  const swarm = await swarmOf([agent]);
  await bus.publish({ exchange: "agent_exchange", routingKey: "agent.echo", body });
  const letters = bus.deadLetters("agent_echo_queue");
  await vi.waitFor(async () => expect(await letters.count()).toBe(1), { timeout: 5_000 });
  expect(await swarm.ask(agent, "still here")).toBe("still here");
});

test("limits of others that make no sense are none, and ours hold", async () => {
  const again: AgentHandler = () => ({ handoff: "Again" });
  const swarm = await swarmOf([coded("Again", again)]);
  await bus.publish({
    exchange: "agent_exchange",
    routingKey: "agent.again",
    body: {
      content: "x",
      limits: { maxTurns: "many", maxHandoffs: null },
      routing: { conversation: "endless" },
    },
  });
  expect(await swarm.follow("endless")).toMatchObject({ outcome: "max-turns" });
});

test("agents that ask each other for ever come to an end", async () => {
  const asks =
    (other: string): AgentHandler =>
    (_, { ask }) =>
      ask(other, "and you?");
  const swarm = await swarmOf([
    coded("Ping", asks("Pong"), { retry: false }),
    coded("Pong", asks("Ping"), { retry: false }),
  ]);
  const { outcome, reason } = await swarm.run("Ping", "Go");
  expect(outcome).toBe("failed");
  expect(reason).toMatch(/gave no answer/);
});

test("an agent is known as long as it is there, and a while after", async () => {
  const hourMs = 3_600_000;
  await using quick = await testBus({ retention: 7 * hourMs });
  const agents = ["Here", "Gone"].map((name) => coded(name, () => ""));
  const [here, gone] = agents.map((agent) => new Swarm(quick, { agents: [agent] }));
  const startedAtMs = quick.clock.nowMs();
  await here.start();
  await gone.start();
  await gone.close();
  const elsewhere = new Swarm(quick);
  const names = async (): Promise<string[]> => (await elsewhere.known()).map(({ name }) => name).toSorted();
  expect(await names()).toEqual(["Gone", "Here"]);
  for (let hour = 1; hour <= 20; hour++) {
    quick.clock.advance(hourMs);
    await vi.waitFor(async () => expect(await names()).toEqual(hour < 7 ? ["Gone", "Here"] : ["Here"]));
  }
  expect(await elsewhere.known()).toEqual([{ name: "Here", role: "", startedAtMs }]);
  await here.close();
});

test("a name that is too long is an error, and nobody else suffers", async () => {
  const agent = coded("Echo", ({ content }) => content);
  const swarm = await swarmOf([agent]);
  const name = "x".repeat(300);
  expect((await swarm.debugQueues([name]))[name]).toMatchObject({ status: "error" });
  await expect(bus.queueStatus(name)).rejects.toThrow(/at most 255 bytes/);
  await expect(swarm.run(name, "Hello?")).rejects.toThrow(/cannot be the name of an agent/);
  expect(await swarm.ask(agent, "still here")).toBe("still here");
});

test("a run whose time is over ends, where nobody takes it and where a handler does not look", async () => {
  const off = coded("Off", () => "never");
  const swarm = await swarmOf([off]);
  await swarm.close();
  expect(await swarm.run(off, { messages: "q", timeout: 200 })).toMatchObject({ outcome: "timeout" });
  const deaf = coded("Deaf", () => new Promise<never>(() => {}));
  const other = await swarmOf([deaf]);
  expect(await other.run(deaf, { messages: "q", timeout: 200 })).toMatchObject({
    outcome: "timeout",
    reason: "it took longer than it may",
  });
});

test("what is cancelled before an agent has taken it is not done", async () => {
  const handler = vi.fn<AgentHandler>(() => "done");
  const agent = coded("Late", handler);
  const swarm = await swarmOf([agent]);
  await swarm.close();
  const conversation = await swarm.tell(agent, "Go", { priority: 0 });
  await swarm.cancel(conversation);
  await swarmOf([agent]);
  expect(await swarm.follow(conversation)).toMatchObject({ outcome: "cancelled" });
  expect(handler).not.toHaveBeenCalled();
});

test("a turn that was handed back after it was recorded, and before the next was published, goes on", async () => {
  const b = coded("B", () => "from B");
  const a = coded("A", () => ({ handoff: "B" }));
  const { transport } = bus["parts"];
  const publish = transport.publish.bind(transport);
  let isBroken = false;
  // Neither the next turn nor the copy for another attempt can be published.
  transport.publish = async (message, signal) => {
    if (message.queue === "agent_b_queue") isBroken = true;
    if (isBroken) throw new Error("the broker takes nothing");
    return publish(message, signal);
  };
  const swarm = await swarmOf([a, b]);
  const run = swarm.run(a, "Go");
  await vi.waitFor(() => expect(isBroken).toBe(true), { timeout: 5_000 });
  transport.publish = publish;
  expect((await run).content).toBe("from B");
});

test("a turn that is at work is not begun a second time by who has handed it over and comes again", async () => {
  const gate = Promise.withResolvers<void>();
  const { agent: payee, called } = payer(() => gate.promise);
  const a = coded("A", () => ({ handoff: payee }));
  const state = bus["parts"].state!;
  const complete = state.complete.bind(state);
  const again = Promise.withResolvers<void>();
  let tries = 0;
  state.complete = async (id, ...rest) => {
    if (!id.endsWith(":1") || tries > 1) return complete(id, ...rest);
    // It has handed over, and dies before it can say so.
    if (++tries === 1) throw new Error("the state takes nothing");
    const isOurs = await complete(id, ...rest);
    again.resolve();
    return isOurs;
  };
  const swarm = await swarmOf([a, payee]);
  const run = swarm.run(a, "Go");
  await again.promise;
  await vi.waitFor(() => expect(called).toHaveBeenCalledTimes(1));
  gate.resolve();
  expect(await run).toMatchObject({ outcome: "completed", content: "It is paid." });
  expect(called).toHaveBeenCalledTimes(1);
  expect(tries).toBe(2);
});

test("what is decided twice at once is one decision, however many take what comes", async () => {
  const paid = vi.fn<(conversation: string) => void>();
  const agent = new Agent({
    name: "Payer",
    concurrency: 8,
    model: scripted([{ toolCalls: [{ name: "pay" }] }, "It is paid."]),
    tools: {
      pay: tool({
        description: "Pays",
        effect: "once",
        needsApproval: true,
        execute: (_, { conversation }) => paid(conversation),
      }),
    },
  });
  const swarm = await swarmOf([agent]);
  const pay = async (): Promise<string> => {
    const run = swarm.run(agent, "Go");
    for await (const event of run) {
      if (event.type !== "approval") continue;
      await eventually(async () => {
        const known = (await swarm.conversations()).find(({ id }) => id === run.conversation);
        return known?.status === "waiting" || undefined;
      });
      const decide = (): Promise<void> => swarm.approvals.resolve(event.id, { approved: true });
      await Promise.allSettled([decide(), decide(), decide()]);
    }
    const { outcome, reason } = await run;
    return `${outcome} ${reason ?? ""}`.trim();
  };
  const outcomes = await Promise.all(Array.from({ length: 10 }, pay));
  expect(outcomes).toEqual(Array.from({ length: 10 }, () => "completed"));
  expect(paid).toHaveBeenCalledTimes(10);
});

test("whoever a conversation is handed to asks and does anew, whatever the one before has asked and done", async () => {
  const done: string[] = [];
  const b = coded("B", ({ content }) => `B says ${content}`);
  const d = coded("D", ({ content }) => `D says ${content}`);
  const charge = (name: string) => (): string => {
    done.push(`${name} charged`);
    return name;
  };
  const c = coded("C", async (_message, { ask, step }) => {
    const charged = await step("charge", charge("C"));
    return `${charged} got ${await ask(d, "question for D")}`;
  });
  const a = coded("A", async (_message, { ask, step }) => {
    const content = await ask(b, "question for B");
    await step("charge", charge("A"));
    return { content, handoff: c };
  });
  const swarm = await swarmOf([a, b, c, d]);
  expect(await swarm.run(a, "Go")).toMatchObject({ content: "C got D says question for D" });
  expect(done).toEqual(["A charged", "C charged"]);
});

test("a run whose first message cannot be taken in ends, and says why", async () => {
  const { journal } = bus;
  const append = journal.append.bind(journal);
  let isBroken = true;
  let brokenInput = (_input: { readonly asker?: unknown }): boolean => true;
  journal.append = (name, after, addition) => {
    const [{ kind, data }] = addition.entries;
    const breaks = isBroken && kind === "input" && brokenInput(JSON.parse(data) as { asker?: unknown });
    if (breaks) isBroken = false;
    return breaks ? Promise.reject(new Error("the journal takes nothing")) : append(name, after, addition);
  };
  const b = coded("B", () => "fine", { retry: false });
  const swarm = await swarmOf([b]);
  expect(await swarm.run(b, "Go")).toMatchObject({
    outcome: "failed",
    reason: expect.stringContaining("the journal takes nothing"),
  });
  // So is whoever asks it.
  const a = coded("A", ({ content }, { ask }) => ask(b, content));
  swarm.register(a);
  await swarm.start();
  isBroken = true;
  brokenInput = ({ asker }) => asker !== undefined;
  expect(await swarm.run(a, "Go")).toMatchObject({
    outcome: "failed",
    reason: expect.stringContaining("the journal takes nothing"),
  });
});

test("a run may take longer than a timer of Node can", async () => {
  const swarm = await swarmOf([coded("Slow", () => sleep(50).then(() => "done"))]);
  expect(await swarm.run("Slow", { messages: "Go", timeout: 40 * 86_400_000 })).toMatchObject({
    outcome: "completed",
  });
});

test("tools that have not begun when a run's time is over do not begin, and the one at work is told", async () => {
  const late = vi.fn<() => string>(() => "done");
  const signals: AbortSignal[] = [];
  const over = Promise.withResolvers<void>();
  const agent = new Agent({
    name: "Slow",
    model: scripted([{ toolCalls: [{ name: "slow" }, { name: "late" }] }, "Done."]),
    tools: {
      slow: tool({
        description: "",
        effect: "idempotent",
        execute: async (_input, { signal }) => {
          signals.push(signal);
          signal.addEventListener("abort", () => over.resolve());
          await over.promise;
        },
      }),
      late: tool({ description: "", effect: "once", execute: late }),
    },
  });
  const swarm = await swarmOf([agent]);
  expect(await swarm.run(agent, { messages: "Go", timeout: 200 })).toMatchObject({
    outcome: "timeout",
    reason: "it took longer than it may",
  });
  await over.promise;
  await eventually(async () => ((await swarm.conversations())[0].status === "done" ? true : undefined));
  expect(signals[0].aborted).toBe(true);
  expect(late).not.toHaveBeenCalled();
});

test("what is left of a budget is for all that are asked at once together", async () => {
  const allowed: (number | undefined)[] = [];
  const usage = { inputTokens: 100, outputTokens: 0 };
  const child = new Agent({
    name: "Child",
    concurrency: 4,
    model: {
      name: "greedy",
      step: async () => ({ text: "more", toolCalls: [{ id: "", name: "more", arguments: "{}" }], usage }),
    },
    tools: { more: tool({ description: "", effect: "read", execute: () => "more" }) },
  });
  const calls = [1, 2, 3, 4].map(() => ({ name: "ask_child", arguments: { text: "Go" } }));
  const parent = new Agent({
    name: "Parent",
    model: scripted([{ toolCalls: calls }, "Done."]),
    tools: { ask_child: child.asTool("Asks") },
  });
  const swarm = await swarmOf([parent, child]);
  const run = swarm.run(parent, { messages: "Go", tokens: 1000 });
  for await (const event of run) if (event.type === "answered") allowed.push(event.usage.inputTokens);
  // A model is asked as long as something is left.
  expect(allowed).toEqual([300, 300, 300, 300]);
});

test("a turn that was lost with its connection is taken by another, whatever the model does that does not heed its signal", async () => {
  const dataDir = dataDirectory();
  let broker = await forkBroker({ dataDir });
  onTestFinished(() => broker.kill());
  const { port } = broker;
  const file = join(dataDirectory(), "state.db");
  const served = await connect(`amqp://guest:guest@127.0.0.1:${port}`, { state: `sqlite:${file}` });
  onTestFinished(() => served.close());
  const replies: ((text: string) => void)[] = [];
  const agent = new Agent({
    name: "Deaf",
    concurrency: 2,
    model: {
      name: "deaf",
      async step() {
        const text = await new Promise<string>((resolve) => replies.push(resolve));
        return { text, toolCalls: [], usage: { inputTokens: 1, outputTokens: 1 } };
      },
    },
  });
  const swarm = await new Swarm(served, { agents: [agent] }).start();
  const run = swarm.run(agent, "Go");
  await vi.waitFor(() => expect(replies).toHaveLength(1), { timeout: 10_000 });
  await broker.kill();
  broker = await forkBroker({ port, dataDir });
  await vi.waitFor(() => expect(replies).toHaveLength(2), { timeout: 10_000 });
  replies[0]("from one who has lost it");
  await sleep(50);
  replies[1]("from one who has it");
  expect(await run).toMatchObject({ outcome: "completed", content: "from one who has it" });
});

/** What agents promise, on every backend alike. */
import { randomUUID } from "node:crypto";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import {
  Agent,
  scripted,
  Swarm,
  tool,
  type AgentMessage,
  type AgentOptions,
  type Line,
  type RunEvent,
  type SwarmOptions,
} from "../../src/agents/index.ts";
import type { Connection } from "../../src/client/index.ts";
import { CapabilityError, UnroutableError, type Bus } from "../../src/tasks/index.ts";
import { describeEachBackend } from "../support/backends.ts";
import { eventually } from "../support/eventually.ts";

const quick = { delay: 100, jitter: "none" } as const;

describeEachBackend(
  "agents",
  (backend) => {
    /** Queues go by agents' names, so that no two tests may share one. */
    const unique = (name: string): string => `${name} ${randomUUID().slice(0, 8)}`;
    const swarmOf = async (bus: Bus, agents: Agent[], options: SwarmOptions = {}): Promise<Swarm> => {
      const swarm = new Swarm(bus, { agents, ...options });
      return swarm.start();
    };
    const talker = (name: string, lines: Line[], options: Partial<AgentOptions> = {}): Agent =>
      new Agent({ name: unique(name), model: scripted(lines), retry: quick, ...options });
    const kinds = (events: readonly RunEvent[]): string[] => events.map(({ type }) => type);

    test("a2 a9 a10 a14 a message to an agent of code is answered", async () => {
      const seen = vi.fn<(message: AgentMessage) => void>();
      const agent = new Agent(unique("Agent A"), "Receiver", {
        handler: (message) => {
          seen(message);
          return `You said: ${message.content}`;
        },
      });
      expect(agent.role).toBe("Receiver");
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent]);
      const result = await swarm.run(agent, {
        messages: [{ role: "user", content: "Hello" }],
        context: { user: "john" },
      });
      expect(result).toMatchObject({
        outcome: "completed",
        content: "You said: Hello",
        agent: agent.name,
        contextVariables: { user: "john" },
        usage: { inputTokens: 0, outputTokens: 0, usd: 0 },
      });
      expect(result.messages).toEqual([
        { role: "user", content: "Hello" },
        { role: "assistant", name: agent.name, content: "You said: Hello" },
      ]);
      expect(seen).toHaveBeenCalledWith(
        expect.objectContaining({
          content: "Hello",
          contextVariables: { user: "john" },
          from: undefined,
          to: agent.name,
          conversation: result.conversation,
          turnsLeft: 9,
        }),
      );
    });

    test("a16 what is said to Agent A ends in a handoff and an answer by Agent B", async () => {
      const b = talker("Agent B", ["This is Agent B."], { role: "Receiver" });
      const a = talker("Agent A", [{ toolCalls: [{ name: transferTo(b) }] }], {
        role: "Sender",
        handoffs: [b],
      });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [a, b]);
      const run = swarm.run(a, { messages: [{ role: "user", content: "I want to talk to agent B." }] });
      const events: RunEvent[] = [];
      for await (const event of run) events.push(event);
      expect(await run).toMatchObject({ outcome: "completed", agent: b.name, content: "This is Agent B." });
      expect(kinds(events)).toEqual([
        "message",
        "turn",
        "reply",
        "tool-call",
        "tool-result",
        "handoff",
        "turn",
        "reply",
        "done",
      ]);
      expect(events.find(({ type }) => type === "handoff")).toMatchObject({ from: a.name, to: b.name });
      // Late readers are told the same, or what came after what they have seen.
      const again: RunEvent[] = [];
      for await (const event of swarm.follow(run.conversation)) again.push(event);
      expect(again).toEqual(events);
      const rest: RunEvent[] = [];
      for await (const event of run.events(events.at(-3)!.sequence)) rest.push(event);
      expect(rest).toEqual(events.slice(-2));
    });

    test("tools are called, in order, with what they change of the context", async () => {
      const calls: string[] = [];
      const agent = talker(
        "Shop",
        [
          {
            text: "Let me see.",
            toolCalls: [
              { name: "stock", arguments: { item: "lamp" } },
              { name: "order", arguments: { item: "lamp", count: 2 } },
              { name: "order", arguments: { item: "lamp", count: "two" } },
              { name: "order", arguments: "{not json" },
              { name: "nothing" },
              { name: "broken" },
            ],
          },
          ({ messages }) =>
            messages
              .filter(({ role }) => role === "tool")
              .map(({ content }) => content)
              .join("|"),
        ],
        {
          tools: {
            stock: tool({
              description: "How many there are",
              effect: "read",
              inputSchema: z.object({ item: z.string() }),
              execute: ({ item }) => ({ item, count: 3 }),
            }),
            order: tool({
              description: "Orders",
              inputSchema: z.object({ item: z.string(), count: z.number() }),
              execute: ({ item, count }, { setContext, contextVariables, idempotencyKey, toolCallId }) => {
                calls.push(`${item} ${count} ${String(contextVariables["user"])}`);
                expect(idempotencyKey).toContain(toolCallId);
                setContext({ ordered: count });
                return "done";
              },
            }),
            broken: tool({
              description: "Fails",
              execute: () => {
                throw new Error("out of order");
              },
            }),
          },
        },
      );
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent]);
      const result = await swarm.run(agent, { messages: "Two lamps, please.", context: { user: "john" } });
      expect(result.outcome).toBe("completed");
      const results = result.content.split("|");
      expect(results[0]).toBe('{"item":"lamp","count":3}');
      expect(results[1]).toBe("done");
      expect(results[2]).toMatch(/not as they must be: arguments of 'order': count: /);
      expect(results[3]).toMatch(/arguments of 'order' are no JSON/);
      expect(results[4]).toMatch(/There is no tool 'nothing'. There are: stock, order, broken/);
      expect(results[5]).toBe("The tool failed: out of order");
      expect(calls).toEqual(["lamp 2 john"]);
      expect(result.contextVariables).toEqual({ user: "john", ordered: 2 });
    });

    test("a19 d17 cost is counted, and a budget is checked before each call", async () => {
      const calls = vi.fn<() => void>();
      const agent = talker(
        "Spender",
        [{ toolCalls: [{ name: "again" }], usage: { inputTokens: 900, outputTokens: 100 } }],
        {
          tools: { again: tool({ description: "", effect: "read", execute: () => calls() }) },
        },
      );
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent], { prices: { scripted: { input: 1, output: 10 } } });
      const result = await swarm.run(agent, { messages: "Spend!", usd: 0.005 });
      // 0.0019 dollars a call: the third is the last that begins below the limit.
      expect(result).toMatchObject({
        outcome: "budget",
        usage: { inputTokens: 2700, outputTokens: 300 },
        reason: expect.stringMatching(/used 0.0057 dollars of 0.005/),
      });
      expect(result.usage.usd).toBeCloseTo(0.0057);
      expect(calls).toHaveBeenCalledTimes(3);
      expect(await swarm.run(agent, { messages: "Spend!", tokens: 1500 })).toMatchObject({
        outcome: "budget",
        usage: { inputTokens: 1800 },
      });
      expect(await swarm.run(agent, { messages: "Spend!", maxTurns: 2 })).toMatchObject({
        outcome: "max-turns",
        usage: { inputTokens: 1800 },
      });
    });

    test("a19 d17 what an agent asks others counts as its own, in the run and against its budget", async () => {
      const usage = { inputTokens: 900, outputTokens: 100 };
      const expert = talker("Expert", [{ text: "42", usage }]);
      const asker = talker(
        "Asker",
        [{ toolCalls: [{ name: "expert", arguments: { text: "What is it?" } }], usage }],
        { tools: { expert: expert.asTool() }, budget: { tokens: 3_500 } },
      );
      const triage = talker(
        "Triage",
        [{ toolCalls: [{ name: transferTo(asker) }], usage: { inputTokens: 0, outputTokens: 0 } }],
        { handoffs: [asker.name.toLowerCase()] },
      );
      const boss = new Agent({ name: unique("Boss"), handler: (_message, { ask }) => ask(expert, "Well?") });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [boss, triage, asker, expert], {
        prices: { scripted: { input: 1, output: 10 } },
      });
      expect(await swarm.run(boss, "Go")).toMatchObject({
        content: "42",
        usage: { ...usage, usd: expect.closeTo(0.0019) },
      });
      const run = swarm.run(triage, "Go");
      expect(await run).toMatchObject({
        outcome: "budget",
        reason: `agent '${asker.name}' has used 4000 tokens of 3500`,
        usage: { inputTokens: 3_600, outputTokens: 400, usd: expect.closeTo(0.0076) },
      });
      const answers: unknown[] = [];
      for await (const event of run) if (event.type === "answered") answers.push(event.usage);
      expect(answers).toEqual([
        { ...usage, usd: expect.closeTo(0.0019) },
        { ...usage, usd: expect.closeTo(0.0019) },
      ]);
      expect(await swarm.run(asker, { messages: "Go", usd: 0.003 })).toMatchObject({
        outcome: "budget",
        reason: "the run has used 0.0038 dollars of 0.003",
      });
    });

    test("a handoff to nobody, or for ever, ends the run with its name", async () => {
      const nobody = unique("Nobody");
      const lost = talker("Lost", [{ toolCalls: [{ name: transferTo(nobody) }] }], { handoffs: [nobody] });
      const ping: Agent = talker("Ping", [], { handler: () => ({ handoff: pong }), model: undefined });
      const pong: Agent = talker("Pong", [], { handler: () => ({ handoff: ping }), model: undefined });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [lost, ping, pong]);
      expect(await swarm.run(lost, "Is anybody there?")).toMatchObject({
        outcome: "unknown-agent",
        reason: `there is no agent '${nobody}'`,
      });
      expect(await swarm.run(ping, { messages: "Go!", maxHandoffs: 3, maxTurns: 50 })).toMatchObject({
        outcome: "handoff-loop",
      });
      expect(await swarm.run(ping, { messages: "Go!", maxTurns: 4 })).toMatchObject({ outcome: "max-turns" });
      await expect(swarm.run(nobody, "Hello?")).rejects.toThrow(UnroutableError);
    });

    test("d17 guardrails let pass, rewrite, or send back, and not for ever", async () => {
      const noSecrets = {
        name: "no secrets",
        check: (text: string) =>
          text.includes("secret") ? { rewrite: text.replaceAll("secret", "***") } : undefined,
      };
      const polite = {
        name: "polite",
        check: (text: string) => (text.includes("please") ? undefined : { reject: "Say please." }),
      };
      const agent = talker("Guarded", ["No.", "Yes, please. It is secret."], {
        guardrails: { input: [polite, noSecrets], output: [polite, noSecrets] },
      });
      const rude = talker("Rude", ["No."], { guardrails: { output: [polite] } });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent, rude]);
      expect(await swarm.run(agent, "Tell me!")).toMatchObject({
        outcome: "refused",
        content: "Say please.",
      });
      const run = swarm.run(agent, "Tell me the secret, please");
      const result = await run;
      expect(result).toMatchObject({ outcome: "completed", content: "Yes, please. It is ***." });
      expect(result.messages.map(({ content }) => content)).toEqual([
        "Tell me the ***, please",
        "No.",
        "Your answer was not accepted: Say please. Answer again.",
        "Yes, please. It is ***.",
      ]);
      expect(await swarm.run(rude, "Hello")).toMatchObject({
        outcome: "guardrail",
        reason: "polite: Say please.",
      });
    });

    test("an output that is not as its schema says goes back to the model", async () => {
      const agent = talker("Weather", ["It is warm.", '{"celsius":"warm"}', '{"celsius":21}'], {
        outputSchema: z.object({ celsius: z.number() }),
      });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent]);
      const result = await swarm.run(agent, "How is it?");
      expect(result).toMatchObject({ outcome: "completed", content: '{"celsius":21}' });
      expect(result.messages.filter(({ role }) => role === "system")).toHaveLength(2);
    });

    test("d17 a call waits for a person, without holding anything, until somebody decides", async () => {
      const paid: unknown[] = [];
      const agent = talker(
        "Payer",
        [
          {
            toolCalls: [
              { name: "pay", arguments: { euro: 5 } },
              { name: "pay", arguments: { euro: 500 } },
            ],
          },
          ({ messages }) =>
            messages
              .filter(({ role }) => role === "tool")
              .map(({ content }) => content)
              .join("|"),
        ],
        {
          tools: {
            pay: tool({
              description: "Pays",
              effect: "once",
              inputSchema: z.object({ euro: z.number() }),
              needsApproval: ({ euro }) => euro > 100,
              execute: ({ euro }) => {
                paid.push(euro);
                return `paid ${euro}`;
              },
            }),
          },
        },
      );
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent]);
      const results = [];
      for (const decision of [{ approved: true }, { approved: false, reason: "too much" }]) {
        const run = swarm.run(agent, "Pay!");
        const approval = await eventually(async () =>
          (await swarm.approvals.list()).find(({ conversation }) => conversation === run.conversation),
        );
        expect(approval).toMatchObject({ name: "pay", arguments: '{"euro":500}', agent: agent.name });
        await swarm.approvals.resolve(approval.id, decision);
        results.push((await run).content);
        await expect(swarm.approvals.resolve(approval.id, decision)).rejects.toThrow("nothing waits for");
      }
      expect(results).toEqual(["paid 5|paid 500", "paid 5|A person has refused this call: too much"]);
      expect(paid).toEqual([5, 500, 5]);
      const late = await swarmOf(bus, [], { approvalTimeout: 100 });
      expect(late.agents()).toEqual([]);
    });

    test("A asks B asks A, with prefetch 1, and all is answered", async () => {
      const name = unique("A");
      const b: Agent = new Agent({
        name: unique("B"),
        handler: async ({ content }, { ask }) => `B(${await ask(name, `${content} from B`)})`,
      });
      const a = new Agent({
        name,
        handler: async ({ content, from }, { ask }) =>
          from === b.name ? `A heard ${content}` : `A(${await ask(b, content)}, ${await ask(b, "more")})`,
      });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [a, b]);
      expect(await swarm.ask(a, "hello")).toBe("A(B(A heard hello from B), B(A heard more from B))");
    });

    test("a model asks an agent as a tool, and is told when that has no answer", async () => {
      const expert = talker("Expert", ["42"]);
      const failing = new Agent({
        name: unique("Failing"),
        retry: false,
        handler: () => {
          throw new Error("no idea");
        },
      });
      const agent = talker(
        "Asker",
        [
          {
            toolCalls: [
              { name: "expert", arguments: { text: "What is it?" } },
              { name: "failing", arguments: { text: "And why?" } },
            ],
          },
          ({ messages }) =>
            messages
              .filter(({ role }) => role === "tool")
              .map(({ content }) => content)
              .join("|"),
        ],
        { tools: { expert: expert.asTool("Knows"), failing: failing.asTool("Does not") } },
      );
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent, expert, failing]);
      const { content } = await swarm.run(agent, "Find out!");
      expect(content).toMatch(/^42\|.* gave no answer \(failed\): failed: no idea$/);
    });

    test("a12 a turn that fails is tried again, and a run that cannot go on says so", async () => {
      let tries = 0;
      const flaky = new Agent({
        name: unique("Flaky"),
        retry: quick,
        handler: () => {
          if (++tries < 3) throw new Error("not yet");
          return "now";
        },
      });
      const broken = new Agent({
        name: unique("Broken"),
        retry: { ...quick, retries: 1 },
        handler: () => {
          throw new Error("never");
        },
      });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [flaky, broken]);
      const run = swarm.run(flaky, "Go");
      expect((await run).content).toBe("now");
      const events: RunEvent[] = [];
      for await (const event of run) events.push(event);
      expect(kinds(events).filter((type) => type === "turn-restarted")).toHaveLength(2);
      const dead = swarm.run(broken, "Go");
      expect(await dead).toMatchObject({ outcome: "failed", reason: "failed: never" });
      const told: RunEvent[] = [];
      for await (const event of dead) told.push(event);
      expect(kinds(told).slice(-2)).toEqual(["dead", "done"]);
    });

    test("what is said meanwhile is part of the conversation, which goes on afterwards", async () => {
      const gate = Promise.withResolvers<void>();
      const heard: string[][] = [];
      const agent = new Agent({
        name: unique("Listener"),
        handler: async ({ messages }) => {
          heard.push(messages.map(({ content }) => content));
          if (heard.length === 1) await gate.promise;
          return `heard ${messages.filter(({ role }) => role === "user").length}`;
        },
        concurrency: 2,
      });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [agent]);
      const first = swarm.run(agent, "one");
      await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 10_000 });
      const { conversation } = first;
      await swarm.tell(agent, "two", { conversation });
      await eventually(async () => {
        for await (const event of swarm
          .follow(conversation, { signal: AbortSignal.timeout(500) })
          .events(2)) {
          if (event.type === "message") return true;
        }
        return undefined;
      });
      gate.resolve();
      expect((await first).content).toBe("heard 2");
      expect(heard).toEqual([["one"], ["one", "heard 1", "two"]]);
      expect((await swarm.run(agent, { messages: "three", conversation })).content).toBe("heard 3");
      expect((await swarm.history(conversation)).map(({ content }) => content)).toEqual([
        "one",
        "heard 1",
        "two",
        "heard 2",
        "three",
        "heard 3",
      ]);
    });

    test("a run ends when it is cancelled, or its time is over", async () => {
      const bus = await backend().connect();
      const agent = talker("Waiter", [{ toolCalls: [{ name: "wait" }] }], {
        tools: { wait: tool({ description: "", needsApproval: true, execute: () => "" }) },
      });
      const swarm = await swarmOf(bus, [agent]);
      expect(await swarm.run(agent, { messages: "Wait", timeout: 200 })).toMatchObject({
        outcome: "timeout",
        reason: "it took longer than it may",
      });
      const run = swarm.run(agent, "Wait");
      await eventually(async () =>
        (await swarm.approvals.list()).find(({ conversation }) => conversation === run.conversation),
      );
      await swarm.cancel(run.conversation);
      expect(await run).toMatchObject({ outcome: "cancelled" });
      const impatient = await swarmOf(
        bus,
        [talker("Late", [{ toolCalls: [{ name: "wait" }] }], { tools: agent.options.tools })],
        {
          approvalTimeout: 200,
        },
      );
      expect(await impatient.run(impatient.agents()[0], "Wait")).toMatchObject({
        outcome: "approval-expired",
      });
    });

    test("a call of a model, or a handler, is cut short when the run is cancelled or its time is over", async () => {
      const bus = await backend().connect();
      const signals: AbortSignal[] = [];
      const endless = (signal: AbortSignal): Promise<never> => {
        signals.push(signal);
        return new Promise((_, reject) =>
          signal.addEventListener("abort", () => reject(new Error("cut short"))),
        );
      };
      const thinker = new Agent({
        name: unique("Thinker"),
        model: { name: "endless", step: ({ signal }) => endless(signal) },
      });
      const worker = new Agent({
        name: unique("Worker"),
        handler: (_message, { signal }) => endless(signal),
      });
      const swarm = await swarmOf(bus, [thinker, worker]);
      const late = await Promise.all(
        [thinker, worker].map((agent) => swarm.run(agent, { messages: "Go", timeout: 300 })),
      );
      expect(late.map(({ outcome }) => outcome)).toEqual(["timeout", "timeout"]);
      const controller = new AbortController();
      const runs = [thinker, worker].map((agent) =>
        swarm.run(agent, { messages: "Go", signal: controller.signal }),
      );
      await vi.waitFor(() => expect(signals).toHaveLength(4), { timeout: 10_000 });
      controller.abort(new Error("enough"));
      for (const run of runs) await expect(run).rejects.toThrow("enough");
      for (const { conversation } of runs)
        expect(await swarm.follow(conversation)).toMatchObject({ outcome: "cancelled" });
      await vi.waitFor(
        () => expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, true, true]),
        {
          timeout: 10_000,
        },
      );
    });

    test("a handler asks several at once", async () => {
      const bus = await backend().connect();
      const echo = new Agent({ name: unique("Echo"), handler: ({ content }) => content.toUpperCase() });
      const agent = new Agent({
        name: unique("Asker"),
        handler: async (_message, { ask }) =>
          (await Promise.all(["a", "b", "c"].map((text) => ask(echo, text)))).join(""),
      });
      const swarm = await swarmOf(bus, [agent, echo]);
      expect(await swarm.ask(agent, "Go")).toBe("ABC");
    });

    test("a topic's message comes to all who have subscribed, and to nobody is no error", async () => {
      const topic = unique("news").replaceAll(" ", "-");
      const heard: string[] = [];
      const listener = (name: string): Agent =>
        new Agent({
          name: unique(name),
          handler: ({ content, body }) => {
            heard.push(`${name}: ${content}`);
            expect(body).toEqual({ role: "user", content: "extra!" });
          },
        });
      const bus = await backend().connect();
      const swarm = await swarmOf(bus, [
        listener("a").subscribe(topic),
        listener("b").subscribe(topic),
        listener("c"),
      ]);
      await swarm.broadcast(topic, { role: "user", content: "extra!" });
      await swarm.broadcast(`${topic}-else`, "lost");
      await vi.waitFor(() => expect(heard.toSorted()).toEqual(["a: extra!", "b: extra!"]), {
        timeout: 10_000,
      });
    });

    test("a3 a4 a5 a6 a15 agents have queues by their names; registering twice is once, a collision names both", async () => {
      const bus = await backend().connect();
      const suffix = randomUUID().slice(0, 8);
      const a = new Agent({ name: `Agent A ${suffix}`, handler: () => "a" });
      const b = new Agent({ name: `Agent B ${suffix}`, handler: () => "b" });
      const swarm = await swarmOf(bus, [a, b]);
      swarm.register(a);
      expect(swarm.agents()).toEqual([a, b]);
      expect(() => swarm.register(new Agent({ name: `agent_a_${suffix}`, handler: () => "" }))).toThrow(
        `agents 'Agent A ${suffix}' and 'agent_a_${suffix}' would share the queue 'agent_agent_a_${suffix}_queue'`,
      );
      const status = await swarm.debugQueues([`Missing ${suffix}`]);
      expect(status).toEqual({
        [a.name]: {
          queue_name: `agent_agent_a_${suffix}_queue`,
          message_count: 0,
          consumer_count: 1,
          routing_key: `agent.agent_a_${suffix}`,
          status: "active",
        },
        [b.name]: expect.objectContaining({ status: "active" }),
        [`Missing ${suffix}`]: {
          queue_name: `agent_missing_${suffix}_queue`,
          message_count: 0,
          consumer_count: 0,
          routing_key: `agent.missing_${suffix}`,
          status: "error",
          error: expect.stringContaining("no queue"),
        },
      });
      await swarm.close();
      await eventually(async () => (await swarm.debugQueues())[a.name]?.status === "idle" || undefined);
      await swarm.tell(a, "kept");
      expect((await swarm.debugQueues())[a.name]).toMatchObject({ message_count: 1, status: "idle" });
      expect(swarm.health()).toMatchObject({ status: "healthy" });
    });

    test("a7 a8 a10 what lies in an agent's queue can be read by anybody, and anybody can write to it", async () => {
      const bus = await backend().connect();
      const agent = new Agent({ name: unique("Agent A"), handler: ({ content }) => `heard ${content}` });
      const swarm = await swarmOf(bus, [agent]);
      await swarm.close();
      const conversation = await swarm.tell(agent, "Hello", { context: { user: "john" } });
      const queue = (await swarm.debugQueues())[agent.name].queue_name;
      const { transport } = bus["parts"];
      {
        await using browser = await transport.browse(queue);
        const delivery = await browser.next();
        expect(delivery?.message).toMatchObject({
          exchange: "agent_exchange",
          routingKey: `agent.${agent.name.toLowerCase().replaceAll(" ", "_")}`,
          contentType: "application/json",
          body: {
            task_type: "agent",
            payload: {
              content: "Hello",
              messages: [{ role: "user", content: "Hello" }],
              context_variables: { user: "john" },
              routing: { to: agent.name, conversation },
            },
          },
        });
      }
      await bus.publish({
        exchange: "agent_exchange",
        routingKey: `agent.${agent.name.toLowerCase().replaceAll(" ", "_")}`,
        body: {
          role: "user",
          content: "I want to talk to agent B.",
          routing: { conversation: `${conversation}-2` },
        },
      });
      await swarmOf(bus, [agent]);
      expect(await swarm.follow(conversation)).toMatchObject({ content: "heard Hello" });
      expect(await swarm.follow(`${conversation}-2`)).toMatchObject({
        content: "heard I want to talk to agent B.",
      });
    });

    test("a19 what has a higher priority is answered first, where the backend has priorities", async () => {
      const bus = await backend().connect();
      const heard: string[] = [];
      const agent = new Agent({ name: unique("Busy"), handler: ({ content }) => void heard.push(content) });
      const swarm = await swarmOf(bus, [agent]);
      await swarm.close();
      const words = ["low", "usual", "high"];
      const priorities = { low: 1, usual: undefined, high: 9 };
      const said = words.map((word) =>
        swarm.tell(agent, word, { priority: priorities[word as keyof typeof priorities] }),
      );
      const conversations = await Promise.all(said);
      await swarmOf(bus, [agent]);
      for (const conversation of conversations) await swarm.follow(conversation);
      if (bus.capabilities.priority === "none") expect(heard.toSorted()).toEqual(words.toSorted());
      else expect(heard).toEqual(words.toReversed());
    });

    test("a11 a17 a consumer that is refused is tried again, told as unhealthy after three tries, and comes back", async () => {
      const bus = await backend().connect();
      const agent = new Agent({ name: unique("Refused"), handler: () => "here" });
      const swarm = await swarmOf(bus, [agent]);
      expect(swarm.health()).toEqual({ status: "healthy", agents: { [agent.name]: { status: "healthy" } } });
      const queue = (await swarm.debugQueues())[agent.name].queue_name;
      const { connection } = bus["parts"].transport as unknown as { connection: Connection };
      const channel = await connection.acquire();
      await channel.queueDelete(queue);
      // Another one stands in its place, which is not what the agent wants.
      await channel.queueDeclare({ queue, durable: true });
      const health = await eventually(async () => {
        const { status, agents } = swarm.health();
        return status === "unhealthy" ? agents[agent.name] : undefined;
      });
      expect(health).toEqual({
        status: "unhealthy",
        error: expect.stringMatching(/exists with other arguments/),
      });
      await channel.queueDelete(queue);
      await eventually(async () => swarm.health().status === "healthy" || undefined);
      expect(await swarm.ask(agent, "Are you there?")).toBe("here");
    });
  },
  ["embedded memory", "embedded durable", "rabbitmq classic", "rabbitmq quorum"],
);

function transferTo(agent: Agent | string): string {
  const name = typeof agent === "string" ? agent : agent.name;
  return `transfer_to_${name.toLowerCase().replaceAll(/\s+/g, "_")}`;
}

describeEachBackend(
  "agents without state",
  (backend) => {
    test("are refused, with what to do", async () => {
      const bus = await backend().connect({ state: "none" });
      expect(() => new Swarm(bus)).toThrow(CapabilityError);
      expect(() => new Swarm(bus)).toThrow(/state: "postgres:/);
    });
  },
  ["warren serve"],
);

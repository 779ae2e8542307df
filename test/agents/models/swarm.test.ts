/** Agents whose models are behind HTTP, through what such servers do. */
import { expect, test, vi } from "vitest";
import { z } from "zod";
import {
  Agent,
  openaiCompatible,
  Swarm,
  tool,
  type OpenAiCompatibleOptions,
  type RunEvent,
} from "../../../src/agents/index.ts";
import { describeEachBackend } from "../../support/backends.ts";
import {
  breaksOff,
  calls,
  refuses,
  says,
  startOpenAiServer,
  type Answer,
} from "../../support/openai-server.ts";

const apiKey = "sk-very-secret";
const retry = { delay: 1, jitter: "none" } as const;

describeEachBackend(
  "agents with models behind HTTP",
  (backend) => {
    async function swarmOf(agents: Agent[]): Promise<Swarm> {
      return new Swarm(await backend().connect(), { agents }).start();
    }

    test("a rate limit and a lost connection leave no turn twice", async () => {
      const timesMs: number[] = [];
      const timed =
        (answer: Answer): Answer =>
        (...both) => {
          timesMs.push(performance.now());
          answer(...both);
        };
      const server = await startOpenAiServer(
        refuses(429, "Slow down", { "retry-after-ms": "20" }),
        calls({ id: "c1", name: "stock", arguments: '{"item":"lamp"}' }),
        breaksOff("Let me ", "ask "),
        calls({ id: "c2", name: "transfer_to_clerk", arguments: "{}" }),
        // Longer than the adapter waits: the turn waits in its queue.
        timed(refuses(429, "Slow down", { "retry-after-ms": "400" })),
        timed(says("Three ", "are left.")),
      );
      const model = openaiCompatible({ baseUrl: server.url, apiKey, model: "m", maxRetryAfter: 100 });
      const execute = vi.fn<(input: { item: string }) => number>(() => 3);
      const clerk = new Agent({ name: "Clerk", model, retry });
      const shop = new Agent({
        name: "Shop",
        instructions: "Sell.",
        model,
        retry,
        handoffs: [clerk],
        tools: {
          stock: tool({ description: "How many", inputSchema: z.object({ item: z.string() }), execute }),
        },
      });
      const swarm = await swarmOf([shop, clerk]);
      const run = swarm.run(shop, "How many lamps?");
      const result = await run;
      expect(result).toMatchObject({ outcome: "completed", agent: "Clerk", content: "Three are left." });
      const [c1, c2] = [
        { id: "c1", name: "stock", arguments: '{"item":"lamp"}' },
        { id: "c2", name: "transfer_to_clerk", arguments: "{}" },
      ];
      expect(result.messages).toEqual([
        { role: "user", content: "How many lamps?" },
        { role: "assistant", name: "Shop", content: "", toolCalls: [c1] },
        { role: "tool", toolCallId: "c1", name: "stock", content: "3" },
        { role: "assistant", name: "Shop", content: "", toolCalls: [c2] },
        { role: "tool", toolCallId: "c2", name: "transfer_to_clerk", content: '{"assistant":"Clerk"}' },
        { role: "assistant", name: "Clerk", content: "Three are left." },
      ]);
      // What was broken off is not counted.
      expect(result.usage).toMatchObject({ inputTokens: 30, outputTokens: 60 });
      expect(execute).toHaveBeenCalledOnce();
      expect(server.requests).toHaveLength(6);
      const [refusedMs, answeredMs] = timesMs;
      expect(answeredMs - refusedMs).toBeGreaterThan(350);
      const events: RunEvent[] = [];
      for await (const event of run) events.push(event);
      expect(
        events.filter(({ type }) => type === "turn-restarted").map((event) => "turn" in event && event.turn),
      ).toEqual([2, 3]);
      expect(events.filter(({ type }) => type === "reply")).toHaveLength(3);
      // What the clerk is told of the shop.
      expect(server.requests[5].body.messages.slice(1, 3)).toMatchObject([
        { role: "assistant", name: "Shop", content: null, tool_calls: [{ id: "c1" }] },
        { role: "tool", tool_call_id: "c1", content: "3" },
      ]);
    });

    test("what is wrong with the model's call is told, and the model comes to know it", async () => {
      const wanted = [
        { id: "c1", name: "stock", arguments: '{"item":' },
        { id: "c2", name: "nothing", arguments: "{}" },
      ];
      const server = await startOpenAiServer(calls(...wanted), says("Sorry"));
      const model = openaiCompatible({ baseUrl: server.url, apiKey, model: "m" });
      const stock = tool({ description: "", execute: () => "" });
      const shop = new Agent({ name: "Careless Shop", model, retry, tools: { stock } });
      const swarm = await swarmOf([shop]);
      expect(await swarm.run(shop, "Lamps?")).toMatchObject({ outcome: "completed", content: "Sorry" });
      expect(server.requests[1].body.messages.slice(2)).toEqual([
        { role: "tool", tool_call_id: "c1", content: expect.stringContaining("are no JSON") },
        { role: "tool", tool_call_id: "c2", content: "There is no tool 'nothing'. There are: stock." },
      ]);
    });

    test.each([
      ["refused once and for all", refuses(401, `Wrong key ${apiKey}`), 1, "fatal: .*401 Wrong key …$"],
      ["down", refuses(503, "Down"), 2, "failed: .*503 Down$"],
      ["limited for too long", refuses(429, "Later", { "retry-after-ms": "5" }), 2, "failed: .*429 Later$"],
    ])("a run whose model is %s fails and says why", async (name, answer, requests, reason) => {
      const server = await startOpenAiServer(...Array<Answer>(9).fill(answer));
      const options: OpenAiCompatibleOptions = { baseUrl: server.url, apiKey, model: "m", retries: 0 };
      const model = openaiCompatible(options);
      const agent = new Agent({ name: `Agent ${name}`, model, retry: { ...retry, retries: 1 } });
      const swarm = await swarmOf([agent]);
      const result = await swarm.run(agent, "Go");
      expect(result.outcome).toBe("failed");
      expect(result.reason).toMatch(new RegExp(`^${reason}`));
      expect(server.requests).toHaveLength(requests);
    });
  },
  ["embedded memory"],
);

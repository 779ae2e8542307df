/** What adapters of models promise, each against the same server. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createOpenAICompatible as createOpenAICompatible2 } from "@ai-sdk/openai-compatible-2";
import { defaultSettingsMiddleware, wrapLanguageModel } from "ai";
import { defaultSettingsMiddleware as settings6, wrapLanguageModel as wrap6 } from "ai-6";
import { beforeEach, describe, expect, test } from "vitest";
import {
  aiSdk,
  ModelError,
  openaiCompatible,
  type Model,
  type ModelReply,
  type ModelRequest,
} from "../../../src/agents/index.ts";
import type { PatienceOptions, Surroundings } from "../../../src/agents/models/patience.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  afterTurns,
  breaksOff,
  calls,
  chunk,
  done,
  fallsSilent,
  refuses,
  says,
  startOpenAiServer,
  streams,
  type Answer,
  type OpenAiServer,
} from "../../support/openai-server.ts";
import { requestOf } from "./request.ts";

type Connect = (baseUrl: string, options: PatienceOptions, surroundings: Surroundings) => Model;

const apiKey = "sk-very-secret";
const settings = { name: "test", apiKey, includeUsage: true };

const adapters: Readonly<Record<string, Connect>> = {
  openaiCompatible: (baseUrl, options, surroundings) =>
    openaiCompatible({ ...options, baseUrl, apiKey, model: "m" }, surroundings),
  "aiSdk with AI SDK 7": (baseURL, options, surroundings) =>
    aiSdk(createOpenAICompatible({ ...settings, baseURL }).chatModel("m"), options, surroundings),
  "aiSdk with AI SDK 6": (baseURL, options, surroundings) =>
    aiSdk(createOpenAICompatible2({ ...settings, baseURL }).chatModel("m"), options, surroundings),
  "aiSdk with a model that AI SDK 7 has wrapped": (baseURL, options, surroundings) => {
    const model = createOpenAICompatible({ ...settings, baseURL }).chatModel("m");
    const middleware = defaultSettingsMiddleware({ settings: { temperature: 0 } });
    return aiSdk(wrapLanguageModel({ model, middleware }), options, surroundings);
  },
  "aiSdk with a model that AI SDK 6 has wrapped": (baseURL, options, surroundings) => {
    const model = createOpenAICompatible2({ ...settings, baseURL }).chatModel("m");
    const middleware = settings6({ settings: { temperature: 0 } });
    return aiSdk(wrap6({ model, middleware }), options, surroundings);
  },
};

describe.each(Object.entries(adapters))("%s", (_, connect) => {
  let clock: ManualClock;
  beforeEach(() => {
    clock = new ManualClock(Date.parse("2026-01-01T00:00:00Z"));
  });

  /** What a model has made of the server's answers; waits are noted and not waited for. */
  async function asked(
    answers: readonly Answer[],
    more: Partial<ModelRequest> = {},
    options: PatienceOptions = {},
  ): Promise<{
    reply: ModelReply | undefined;
    error: ModelError;
    words: string[];
    waitsMs: number[];
    server: OpenAiServer;
  }> {
    const server = await startOpenAiServer(...answers);
    const waitsMs: number[] = [];
    const words: string[] = [];
    const model = connect(server.url, options, {
      clock,
      random: () => 0.5,
      wait: async (delayMs) => void waitsMs.push(delayMs),
    });
    expect(model.name).toBe("m");
    let error: unknown;
    const reply = await model
      .step(requestOf({ onText: (delta) => words.push(delta), ...more }))
      .catch((caught: unknown) => {
        error = caught;
        return undefined;
      });
    if (error instanceof Error) expect(error.message).not.toContain(apiKey);
    expect(clock.pending).toBe(0);
    return { reply, error: error as ModelError, words, waitsMs, server };
  }

  test("text comes as it is said, and is counted", async () => {
    const { reply, words, server } = await asked([says("Hel", "lo ", "wörld")]);
    expect(reply).toEqual({
      text: "Hello wörld",
      toolCalls: [],
      usage: { inputTokens: 10, outputTokens: 20 },
    });
    expect(words).toEqual(["Hel", "lo ", "wörld"]);
    expect(server.requests[0]).toMatchObject({
      path: "/v1/chat/completions",
      headers: { authorization: `Bearer ${apiKey}` },
      body: { model: "m", stream: true, stream_options: { include_usage: true } },
    });
    expect(server.requests[0].body).not.toHaveProperty("tools");
    expect(server.requests[0].body).not.toHaveProperty("response_format");
  });

  test("what was said before is told, with calls and their results", async () => {
    const call = { id: "c1", name: "stock", arguments: '{"item":"lamp"}' };
    const { server } = await asked([says("Yes.")], {
      instructions: "Be brief.",
      messages: [
        { role: "user", content: "A lamp?" },
        {
          role: "assistant",
          content: "",
          toolCalls: [call, { id: "c2", name: "stock", arguments: "{not json" }],
        },
        { role: "tool", toolCallId: "c1", name: "stock", content: "3" },
        { role: "tool", toolCallId: "c2", name: "stock", content: "no JSON" },
        { role: "assistant", content: "There are three." },
      ],
      tools: [{ name: "stock", description: "How many", parameters: { type: "object", properties: {} } }],
      outputSchema: { type: "object", properties: { count: { type: "number" } } },
    });
    const { messages, tools } = server.requests[0].body;
    expect(messages).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "A lamp?" },
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "c1", type: "function", function: { name: "stock", arguments: '{"item":"lamp"}' } },
          // Servers that parse them would refuse the conversation.
          { id: "c2", type: "function", function: { name: "stock", arguments: '{"malformed":"{not json"}' } },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: "3" },
      { role: "tool", tool_call_id: "c2", content: "no JSON" },
      { role: "assistant", content: "There are three." },
    ]);
    expect(tools).toEqual([
      {
        type: "function",
        function: { name: "stock", description: "How many", parameters: { type: "object", properties: {} } },
      },
    ]);
    expect(server.requests[0].body).toHaveProperty("response_format");
  });

  test("several calls are put together from their pieces, malformed arguments as they are", async () => {
    const wanted = [
      { id: "a", name: "order", arguments: '{"item":"lamp","count":2}' },
      { id: "b", name: "order", arguments: '{"item":"cha' },
      { id: "c", name: "no_such_tool", arguments: "{}" },
    ];
    const { reply } = await asked([calls(...wanted)]);
    expect(reply).toEqual({ text: "", toolCalls: wanted, usage: { inputTokens: 10, outputTokens: 20 } });
  });

  test("a call whose id was used before gets another, the same for the same request", async () => {
    const call = { id: "call_0", name: "next", arguments: "{}" };
    const messages = [
      { role: "user", content: "Go" },
      { role: "assistant", content: "", toolCalls: [call] },
      { role: "tool", toolCallId: "call_0", name: "next", content: "went" },
    ] as const;
    const [first, again] = [
      await asked([calls(call)], { messages }),
      await asked([calls(call)], { messages }),
    ];
    const [{ id }] = first.reply!.toolCalls;
    expect(id).toMatch(/^call_[0-9a-f]{20}_0$/);
    expect(again.reply!.toolCalls[0].id).toBe(id);
    const later = await asked([calls(call)], {
      messages: [...messages, { role: "assistant", content: "", toolCalls: [{ ...call, id }] }],
    });
    expect(later.reply!.toolCalls[0].id).not.toBe(id);
  });

  test("usage is guessed where the server does not count", async () => {
    const { reply } = await asked([streams(chunk({ content: "12345678" }), chunk({}, "stop"), done)]);
    expect(reply!.usage.outputTokens).toBe(2);
    expect(reply!.usage.inputTokens).toBeGreaterThan(0);
  });

  test.each([
    ["retry-after", "7", 7_000],
    ["retry-after", "Thu, 01 Jan 2026 00:00:20 GMT", 20_000],
    ["retry-after", "Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["retry-after-ms", "250", 250],
    ["retry-after", "soon", 500],
  ])("a rate limit is waited out: %s: %s", async (header, value, expectedMs) => {
    const { reply, waitsMs, words } = await asked([
      refuses(429, "Slow down", { [header]: value }),
      says("Hello"),
    ]);
    expect(reply?.text).toBe("Hello");
    expect(words).toEqual(["Hello"]);
    expect(waitsMs).toEqual([expectedMs]);
  });

  test("a wait that is too long is left to the turn", async () => {
    const { error, waitsMs } = await asked([refuses(429, "Slow down", { "retry-after": "3600" })]);
    expect(error).toBeInstanceOf(ModelError);
    expect(error).toMatchObject({ isFinal: false, retryAfterMs: 3_600_000 });
    expect(error.message).toMatch(/^model 'm' .*: 429 Slow down$/);
    expect(waitsMs).toEqual([]);
  });

  test.each([408, 409, 429, 500, 502, 503, 504])(
    "%i is tried twice again, ever more slowly, and is not final",
    async (status) => {
      const { error, waitsMs, server } = await asked(Array(3).fill(refuses(status, "Try again")));
      expect(error).toMatchObject({ name: "ModelError", isFinal: false, retryAfterMs: undefined });
      expect(error.message).toContain(`${status} Try again`);
      expect(waitsMs).toEqual([500, 1_000]);
      expect(server.requests).toHaveLength(3);
      const { reply } = await asked([refuses(status, "Try again"), says("Hello")]);
      expect(reply?.text).toBe("Hello");
    },
  );

  test.each([400, 401, 403, 404, 422])("%i is final, and says what the API said", async (status) => {
    const { error, server } = await asked([refuses(status, "You may not")]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: true });
    expect(error.message).toMatch(new RegExp(`^model 'm' .*: ${status} You may not$`));
    expect(server.requests).toHaveLength(1);
  });

  test("a connection that is lost before the first word is made anew", async () => {
    const { reply, words } = await asked([breaksOff(), (response) => response.destroy(), says("Hello")]);
    expect(reply?.text).toBe("Hello");
    expect(words).toEqual(["Hello"]);
  });

  test("a connection that is lost after the first word ends the step, and another may be tried", async () => {
    const { error, words, server } = await asked([breaksOff("Hel"), says("Hello")]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: false });
    expect(words).toEqual(["Hel"]);
    expect(server.requests).toHaveLength(1);
  });

  test("a stream that ends too early is no reply", async () => {
    const { error } = await asked([streams(chunk({ content: "Hel" }))]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: false });
  });

  test("what is no JSON is no reply", async () => {
    const { error } = await asked([streams(chunk({ content: "Hel" }), "data: {what?\n\n", done)]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: false });
  });

  test("an error within the stream is told", async () => {
    const { error, words } = await asked([
      streams(chunk({ content: "Hel" }), 'data: {"error":{"message":"The server is full","code":null}}\n\n'),
    ]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: false });
    expect(error.message).toMatch(/^model 'm' .*: The server is full$/);
    expect(words).toEqual(["Hel"]);
  });

  test("what the content filter has stopped is final", async () => {
    const { error } = await asked([streams(chunk({ content: "Hel" }), chunk({}, "content_filter"), done)]);
    expect(error).toMatchObject({ name: "ModelError", isFinal: true });
    expect(error.message).toContain("content filter");
  });

  /** The answer, and time passes when it has been read. */
  const thenPasses =
    (durationMs: number, answer: Answer): Answer =>
    (...both) => {
      answer(...both);
      void afterTurns(20).then(() => clock.advance(durationMs));
    };

  test("a model that says nothing is asked again", async () => {
    const answers = [thenPasses(60_000, fallsSilent()), says("Hello")];
    const { reply, waitsMs } = await asked(answers);
    expect(reply?.text).toBe("Hello");
    expect(waitsMs).toEqual([500]);
  });

  test("a model that falls silent ends the step", async () => {
    const answers = [thenPasses(200, fallsSilent("Hel")), says("Hello")];
    const { error, words } = await asked(answers, {}, { timeout: 200 });
    expect(error).toMatchObject({ name: "ModelError", isFinal: false });
    expect(error.message).toMatch(/^model 'm' .* has said nothing for 200 ms$/);
    expect(words).toEqual(["Hel"]);
  });

  test("a model that speaks slowly is heard out", async () => {
    const slowly: Answer = (response) => {
      const steps = [
        () => response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders(),
        () => response.write(chunk({ content: "slow" })),
        () => response.end(chunk({}, "stop") + done),
      ];
      const goOn = (): void => {
        clock.advance(59_000);
        steps.shift()!();
        if (steps.length > 0) void afterTurns(20).then(goOn);
      };
      goOn();
    };
    const { reply } = await asked([slowly]);
    expect(reply?.text).toBe("slow");
  });

  test.each(["before", "during", "while it waits"])("the caller may give up %s", async (when) => {
    const gone = Promise.withResolvers<void>();
    const answer = when === "during" ? fallsSilent("Hel") : refuses(500, "Down");
    const server = await startOpenAiServer((response, received) => {
      response.once("close", gone.resolve);
      answer(response, received);
    });
    const giveUp = new AbortController();
    const reason = new Error("enough");
    const model = connect(
      server.url,
      {},
      {
        clock,
        random: () => 0.5,
        wait: (_delayMs, signal) => {
          const { promise, reject } = Promise.withResolvers<void>();
          signal.addEventListener("abort", () => reject(new Error("aborted")));
          giveUp.abort(reason);
          return promise;
        },
      },
    );
    if (when === "before") giveUp.abort(reason);
    const onText = (): void => giveUp.abort(reason);
    await expect(model.step(requestOf({ onText, signal: giveUp.signal }))).rejects.toBe(reason);
    expect(server.requests).toHaveLength(when === "before" ? 0 : 1);
    // The server is told, and need not go on.
    if (when === "during") await gone.promise;
  });
});

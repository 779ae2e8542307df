/** What differs from server to server, and what is set where. */
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  openaiCompatible,
  type ModelReply,
  type ModelRequest,
  type OpenAiCompatibleOptions,
} from "../../../src/agents/index.ts";
import {
  calls,
  chunk,
  done,
  refuses,
  says,
  startOpenAiServer,
  streams,
  type Answer,
  type OpenAiServer,
} from "../../support/openai-server.ts";
import { requestOf } from "./request.ts";

const settings = { apiKey: "sk-very-secret", model: "m", retries: 0 } as const;

async function ask(
  answer: Answer,
  options: OpenAiCompatibleOptions = {},
  more: Partial<ModelRequest> = {},
): Promise<{ reply: ModelReply; server: OpenAiServer }> {
  const server = await startOpenAiServer(answer);
  const model = openaiCompatible({ ...settings, baseUrl: server.url, ...options });
  return { reply: await model.step(requestOf(more)), server };
}

afterEach(() => vi.unstubAllEnvs());

describe("settings of openaiCompatible", () => {
  test("come from the environment where they are not given", async () => {
    const server = await startOpenAiServer(says("Hello"));
    vi.stubEnv("OPENAI_BASE_URL", `${server.url}/`);
    vi.stubEnv("OPENAI_API_KEY", "sk-from-environment");
    vi.stubEnv("OPENAI_MODEL", "of-environment");
    const model = openaiCompatible();
    expect(model.name).toBe("of-environment");
    await model.step(requestOf());
    expect(server.requests[0]).toMatchObject({
      path: "/v1/chat/completions",
      headers: { authorization: "Bearer sk-from-environment" },
      body: { model: "of-environment" },
    });
  });

  test("are said to be missing, and where they go", () => {
    vi.stubEnv("OPENAI_API_KEY", "");
    vi.stubEnv("OPENAI_MODEL", "");
    expect(() => openaiCompatible({ apiKey: "sk" })).toThrow(
      "openaiCompatible has no model: set OPENAI_MODEL in the environment, or give it model",
    );
    expect(() => openaiCompatible({ model: "m" })).toThrow(
      'openaiCompatible has no key: set OPENAI_API_KEY in the environment, or give it apiKey (apiKey: "" for a server that wants none)',
    );
    expect(() => openaiCompatible({ ...settings, baseUrl: "api.openai.com" })).toThrow(
      "is no base URL of an API",
    );
    expect(() => openaiCompatible({ ...settings, baseUrl: "https://me:secret@host/v1" })).toThrow(
      /^(?!.*secret).*no user and password/,
    );
    expect(() => openaiCompatible({ ...settings, apiKey: "sk-secret\n" })).toThrow(
      /^(?!.*secret).*a line break\?/s,
    );
  });

  test("a server that wants no key gets none, and any headers and fields", async () => {
    const { server } = await ask(says("Hello"), {
      apiKey: "",
      headers: { "api-key": "other", "Content-Type": "application/json; charset=utf-8" },
      temperature: 0.5,
      body: { max_tokens: 5, stream_options: undefined },
    });
    const { headers, body } = server.requests[0];
    expect(headers).toMatchObject({ "api-key": "other", "content-type": "application/json; charset=utf-8" });
    expect(headers).not.toHaveProperty("authorization");
    expect(body).toMatchObject({ temperature: 0.5, max_tokens: 5 });
    expect(body).not.toHaveProperty("stream_options");
  });

  test("a base URL may have a query, which errors do not show", async () => {
    const server = await startOpenAiServer(refuses(400, "No"));
    const model = openaiCompatible({ ...settings, baseUrl: `${server.url}/?api-version=secret` });
    await expect(model.step(requestOf())).rejects.toThrow(
      `model 'm' at ${server.url}/chat/completions: 400 No`,
    );
    expect(server.requests[0].path).toBe("/v1/chat/completions?api-version=secret");
  });

  test("names of agents are as the API takes them, or left out", async () => {
    const messages = [
      { role: "user", name: "Agent Ä", content: "Hello" },
      { role: "assistant", name: `B.${"b".repeat(80)}`, content: "Good day" },
      { role: "user", content: "And?" },
    ] as const;
    const { server } = await ask(says("Hello"), {}, { messages });
    expect(server.requests[0].body.messages).toEqual([
      { role: "user", name: "Agent_A", content: "Hello" },
      { role: "assistant", name: `B_${"b".repeat(62)}`, content: "Good day" },
      { role: "user", content: "And?" },
    ]);
    const { server: other } = await ask(says("Hello"), { names: false }, { messages });
    expect(other.requests[0].body.messages[0]).toEqual({ role: "user", content: "Hello" });
  });

  test("a schema of the answer is told", async () => {
    const outputSchema = { type: "object", properties: { count: { type: "number" } } };
    const { server } = await ask(says("{}"), {}, { outputSchema });
    expect(server.requests[0].body["response_format"]).toEqual({
      type: "json_schema",
      json_schema: { name: "answer", schema: outputSchema },
    });
  });
});

describe("openaiCompatible understands", () => {
  test("streams with other line ends, comments and events over several lines, cut anywhere, without an end", async () => {
    const [first, last] = [chunk({ content: "wörld 🌍" }), chunk({}, "stop")].map((text) => text.trim());
    const lines = [
      ": waiting",
      "",
      "event: x",
      ...first.replace('"choices"', '\ndata:"choices"').split("\n"),
      "",
      last,
    ];
    for (const end of ["\n", "\r\n", "\r"]) {
      const bytes = Buffer.from(lines.join(end));
      // A server cannot say how its bytes are put into parts.
      const body = ReadableStream.from(Array.from(bytes, (byte) => Uint8Array.of(byte)));
      const headers = { "content-type": "text/event-stream" };
      const model = openaiCompatible({ ...settings, fetch: async () => new Response(body, { headers }) });
      expect((await model.step(requestOf())).text).toBe("wörld 🌍");
    }
    expect((await ask(streams(`data:${first.slice(6)}\n\n${last}\r`))).reply.text).toBe("wörld 🌍");
  });

  test("what does not follow the end", async () => {
    const open: Answer = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(chunk({ content: "Hello" }) + chunk({}, "stop") + done);
    };
    expect((await ask(open)).reply.text).toBe("Hello");
  });

  test("a server that does not stream", async () => {
    const message = {
      content: "Hello",
      tool_calls: [{ id: "a", type: "function", function: { name: "next", arguments: "{}" } }],
    };
    const body = {
      choices: [{ message, finish_reason: "stop" }],
      usage: { prompt_tokens: 1, completion_tokens: 2 },
    };
    const words: string[] = [];
    const { reply } = await ask(
      (response) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body)),
      {},
      { onText: (delta) => words.push(delta) },
    );
    expect(reply).toEqual({
      text: "Hello",
      toolCalls: [{ id: "a", name: "next", arguments: "{}" }],
      usage: { inputTokens: 1, outputTokens: 2 },
    });
    expect(words).toEqual(["Hello"]);
  });

  test("a refusal of a structured answer", async () => {
    const { reply } = await ask(streams(chunk({ refusal: "I will not" }), chunk({}, "stop"), done));
    expect(reply.text).toBe("I will not");
  });

  test.each([
    [
      "no ids",
      [
        { index: 0, function: { name: "a", arguments: '{"n"' } },
        { index: 0, function: { arguments: ":1}" } },
        { index: 1, function: { name: "b", arguments: "{}" } },
      ],
    ],
    [
      "neither ids nor indexes",
      [{ function: { name: "a", arguments: { n: 1 } } }, { function: { name: "b", arguments: "{}" } }],
    ],
    [
      "one index for all",
      [
        { index: 0, id: "x", function: { name: "a", arguments: '{"n":1}' } },
        { index: 0, id: "y", function: { name: "b", arguments: "{}" } },
      ],
    ],
    [
      "names again and again",
      [
        { index: 0, id: "x", function: { name: "a", arguments: '{"n"' } },
        { index: 0, id: "x", function: { name: "a", arguments: ":1}" } },
        { index: 1, id: "y", function: { name: "b", arguments: "{}" } },
      ],
    ],
    [
      "an id that comes late",
      [
        { index: 0, function: { name: "a" } },
        { index: 0, id: "x", function: { arguments: '{"n":1}' } },
        { index: 1, id: "y", function: { name: "b", arguments: "{}" } },
      ],
    ],
    [
      "two with one id",
      [
        { index: 0, id: "x", function: { name: "a", arguments: '{"n":1}' } },
        { index: 1, id: "x", function: { name: "b", arguments: "{}" } },
      ],
    ],
  ])("calls with %s", async (_, deltas) => {
    const { reply } = await ask(
      streams(...deltas.map((delta) => chunk({ tool_calls: [delta] })), chunk({}, "tool_calls"), done),
    );
    expect(reply.toolCalls.map(({ name, arguments: text }) => [name, text])).toEqual([
      ["a", '{"n":1}'],
      ["b", "{}"],
    ]);
    const ids = reply.toolCalls.map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
    expect(ids.every((id) => id !== "")).toBe(true);
  });

  test("calls without arguments", async () => {
    const { reply, server } = await ask(
      calls({ id: "a", name: "next", arguments: "" }),
      {},
      {
        messages: [
          { role: "assistant", content: "Well", toolCalls: [{ id: "b", name: "next", arguments: "" }] },
        ],
      },
    );
    expect(reply.toolCalls).toEqual([{ id: "a", name: "next", arguments: "" }]);
    expect(server.requests[0].body.messages[0]).toMatchObject({
      content: "Well",
      tool_calls: [{ function: { arguments: "{}" } }],
    });
  });
});

describe("errors of openaiCompatible", () => {
  test("never show the key, though the server does", async () => {
    await expect(ask(refuses(401, `The key '${settings.apiKey}' is wrong`))).rejects.toThrow(
      /: 401 The key '…' is wrong$/,
    );
    await expect(ask(streams(`data: no JSON ${settings.apiKey}\n\n`))).rejects.toThrow(/no JSON …$/);
  });

  test("a quota that is used up does not come back", async () => {
    await expect(ask(refuses(429, "Pay first", {}, "insufficient_quota"))).rejects.toMatchObject({
      isFinal: true,
    });
    await expect(ask(refuses(429, "Slow down"))).rejects.toMatchObject({ isFinal: false });
  });

  test("say what else than an API has answered", async () => {
    const page: Answer = (response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>");
    await expect(ask(page)).rejects.toThrow("has answered with 'text/html' instead of a stream of events");
    const failing: Answer = (response) => response.writeHead(502).end("x".repeat(1_000));
    await expect(ask(failing)).rejects.toThrow(/: 502 x{500}…$/);
    const empty: Answer = (response) => response.writeHead(403).end();
    await expect(ask(empty)).rejects.toThrow(/: 403 Forbidden$/);
    await expect(ask(streams("data: null\n\n"))).rejects.toThrow("has sent what is no reply: null");
  });

  test("an error with a status within the stream is final as the status is", async () => {
    const told = (code: number): Answer => streams(`data: {"error":{"message":"No","code":${code}}}\n\n`);
    await expect(ask(told(400))).rejects.toMatchObject({ isFinal: true });
    await expect(ask(told(429))).rejects.toMatchObject({ isFinal: false });
  });

  test("a server that is not there is named", async () => {
    const model = openaiCompatible({ ...settings, baseUrl: "http://127.0.0.1:1/v1" });
    await expect(model.step(requestOf())).rejects.toThrow(
      /^model 'm' at http:\/\/127\.0\.0\.1:1\/v1\/chat\/completions: fetch failed: /,
    );
  });
});

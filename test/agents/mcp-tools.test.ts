/** Tools of an MCP server, called by an agent. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  CallToolRequestSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
  type CallToolResult,
  type Tool as McpTool,
} from "@modelcontextprotocol/sdk/types.js";
import { expect, onTestFinished, test } from "vitest";
import { Agent, mcpTools, scripted, Swarm, type Line } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";

type Call = (name: string, given: unknown, signal: AbortSignal) => CallToolResult | Promise<CallToolResult>;

const inputSchema = { type: "object" as const, properties: { n: { type: "number" } } };

/** A client of a server that lists these tools, a page at a time. */
async function clientOf(pages: readonly (readonly McpTool[])[], call: Call): Promise<Client> {
  const server = new Server({ name: "test", version: "1" }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
    const page = Number(params?.cursor ?? 0);
    return {
      tools: [...(pages[page] ?? [])],
      ...(page + 1 < pages.length && { nextCursor: String(page + 1) }),
    };
  });
  server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) =>
    call(params.name, params.arguments, signal),
  );
  const [here, there] = InMemoryTransport.createLinkedPair();
  const client = new Client({ name: "test", version: "1" });
  await Promise.all([client.connect(here), server.connect(there)]);
  onTestFinished(() => client.close());
  return client;
}

test("all pages of tools are listed, with effects by their hints", async () => {
  const described = { ...inputSchema, $schema: "http://json-schema.org/draft-07/schema#" };
  const pages = [
    [
      {
        name: "files/read",
        description: "Reads",
        inputSchema: described,
        annotations: { readOnlyHint: true },
      },
    ],
    [{ name: "put", inputSchema, annotations: { idempotentHint: true } }],
    [
      { name: "pay", inputSchema, annotations: { readOnlyHint: false } },
      { name: "post", inputSchema },
    ],
  ];
  const tools = await mcpTools(await clientOf(pages, () => ({ content: [] })));
  expect(tools).toMatchObject({
    files_read: { description: "Reads", parameters: inputSchema, effect: "read" },
    put: { description: "", effect: "idempotent" },
    pay: { effect: "once" },
    post: { effect: "once" },
  });
  expect(Object.keys(tools)).toEqual(["files_read", "put", "pay", "post"]);
  expect(tools["files_read"].parameters).not.toHaveProperty("$schema");
});

test("two tools that a model could not tell apart are refused", async () => {
  const client = await clientOf(
    [
      [
        { name: "a.b", inputSchema },
        { name: "a/b", inputSchema },
      ],
    ],
    () => ({ content: [] }),
  );
  await expect(mcpTools(client)).rejects.toThrow("two tools that a model would know as 'a_b'");
});

test("an agent calls them by the names that the server knows, and is told what they say", async () => {
  const answers: Record<string, CallToolResult> = {
    "say.all": {
      content: [
        { type: "text", text: "one" },
        { type: "image", data: "AAAA", mimeType: "image/png" },
        { type: "resource", resource: { uri: "file:///a", text: "two" } },
        { type: "resource_link", uri: "file:///b", name: "b" },
      ],
    },
    structured: { content: [], structuredContent: { n: 1 } },
    failing: { content: [{ type: "text", text: "out of order" }], isError: true },
  };
  const seen: unknown[] = [];
  const listed = [
    ...Object.keys(answers).map((name) => ({ name, inputSchema })),
    { name: "refusing", inputSchema },
    { name: "throwing", inputSchema, annotations: { idempotentHint: true } },
    { name: "mystery", inputSchema },
  ];
  const client = await clientOf([listed], (name, given) => {
    seen.push([name, given]);
    if (name === "refusing") throw new McpError(ErrorCode.InvalidParams, "n is missing");
    const answer = answers[name];
    if (answer === undefined) throw new Error("gone wrong");
    return answer;
  });
  const calls = [
    { name: "say_all", arguments: { n: 5 } },
    { name: "structured" },
    { name: "failing" },
    { name: "refusing" },
    { name: "throwing" },
  ];
  const lines: Line[] = [{ toolCalls: calls }, "done", { toolCalls: [{ name: "mystery" }] }];
  const agent = new Agent({ name: "Caller", model: scripted(lines), tools: await mcpTools(client) });
  await using bus = await connect("embedded::memory:");
  const swarm = await new Swarm(bus, { agents: [agent] }).start();
  const { messages, conversation } = await swarm.run(agent, "Go");
  expect(messages.filter(({ role }) => role === "tool").map(({ content }) => content)).toEqual([
    "one\n(image image/png, which cannot be shown)\ntwo\nfile:///b",
    '{"n":1}',
    "The tool failed: out of order",
    expect.stringContaining("n is missing"),
    expect.stringMatching(/^The tool failed: .*gone wrong$/),
  ]);
  expect(seen).toEqual([
    ["say.all", { n: 5 }],
    ["structured", {}],
    ["failing", {}],
    ["refusing", {}],
    ["throwing", {}],
  ]);
  // Nobody knows what it has done, and no hint says that it may run again.
  const lost = await swarm.run(agent, { messages: "Once more", conversation });
  expect(lost).toMatchObject({ outcome: "failed", reason: expect.stringMatching(/^unknown-outcome/) });
});

test("a call that is given up ends at the server as well", async () => {
  const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const client = await clientOf([[{ name: "wait", inputSchema }]], async (_name, _given, signal) => {
    signal.addEventListener("abort", () => ended.resolve());
    begun.resolve();
    await ended.promise;
    return { content: [] };
  });
  const { wait } = await mcpTools(client);
  const giveUp = new AbortController();
  const context = { signal: giveUp.signal } as Parameters<typeof wait.execute>[1];
  const calling = Promise.resolve(wait.execute(undefined, context));
  const abort = begun.promise.then(() => giveUp.abort(new Error("enough")));
  await expect(calling).rejects.toThrow("enough");
  await abort;
  await ended.promise;
});

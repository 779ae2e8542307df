import type { Effect } from "../tasks/index.ts";
import { tool, type Tool } from "./tool.ts";

/** What is used of a `Client` of `@modelcontextprotocol/sdk`, which is connected. Written out, so that the package is not needed here. */
export interface McpClient {
  listTools(page: { cursor?: string }): Promise<{ tools: McpTool[]; nextCursor?: string }>;
  callTool(
    call: { name: string; arguments: Record<string, unknown> },
    resultSchema: undefined,
    options: { signal: AbortSignal },
  ): Promise<object>;
}

interface McpTool {
  readonly name: string;
  readonly description?: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  readonly annotations?: { readonly readOnlyHint?: boolean; readonly idempotentHint?: boolean };
}

/**
 * The tools of an MCP server, as it lists them now, by their names with `_` for what models do not take:
 * `new Agent({ tools: { ...(await mcpTools(client)), … } })`. Each is an object like any other: `{ ...tools.pay, needsApproval: true }`.
 *
 * Its effect is what the server says: `read` with `readOnlyHint`, `idempotent` with `idempotentHint`, and else `once`. Hints are no more
 * than that: set the effect yourself where you do not trust the server.
 *
 * The client is yours to close, after the swarm.
 *
 * @throws TypeError when two of them would have one name; whatever the client throws
 */
export async function mcpTools(client: McpClient): Promise<Record<string, Tool<undefined>>> {
  const tools = new Map<string, Tool<undefined>>();
  for await (const described of allTools(client)) {
    const name = described.name.replaceAll(/[^a-zA-Z0-9_-]/g, "_");
    if (tools.has(name))
      throw new TypeError(`the MCP server has two tools that a model would know as '${name}'`);
    tools.set(name, toolOf(client, described));
  }
  return Object.fromEntries(tools);
}

async function* allTools(client: McpClient): AsyncGenerator<McpTool> {
  let cursor: string | undefined;
  do {
    const page = await client.listTools({ cursor });
    yield* page.tools;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
}

function toolOf(
  client: McpClient,
  { name, description = "", inputSchema, annotations }: McpTool,
): Tool<undefined> {
  const { $schema: _, ...parameters } = inputSchema;
  return tool({
    description,
    parameters,
    effect: effectOf(annotations),
    // What the arguments must be the server checks itself.
    execute: async (input: unknown, { signal }) => {
      try {
        const call = { name, arguments: input as Record<string, unknown> };
        return textOf(await client.callTool(call, undefined, { signal }));
      } catch (error) {
        return refusalIn(error);
      }
    },
  });
}

function effectOf({ readOnlyHint, idempotentHint }: McpTool["annotations"] = {}): Effect {
  if (readOnlyHint) return "read";
  return idempotentHint ? "idempotent" : "once";
}

/** https://modelcontextprotocol.io/specification/2025-06-18/server/tools#tool-result */
interface CallResult {
  readonly content?: readonly {
    readonly type: string;
    readonly text?: string;
    readonly uri?: string;
    readonly mimeType?: string;
    readonly resource?: { readonly uri: string; readonly text?: string };
  }[];
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}

/** A failure that the server tells of is an answer: thrown, it would leave open whether a tool that may run once has run. */
function textOf({ content = [], structuredContent, isError }: CallResult): string {
  const text = content.map(shown).join("\n");
  if (isError) return `The tool failed: ${text}`;
  return text === "" && structuredContent !== undefined ? JSON.stringify(structuredContent) : text;
}

function shown({
  type,
  text,
  uri,
  mimeType = "",
  resource,
}: NonNullable<CallResult["content"]>[number]): string {
  const said = text ?? resource?.text ?? resource?.uri ?? uri;
  return said ?? `(${[type, mimeType].join(" ").trim()}, which cannot be shown)`;
}

/** Method not found, invalid params (JSON-RPC 2.0 §5.1): nothing has run. */
const refusals: readonly unknown[] = [-32_601, -32_602];

/** What the model is told of it. @throws the error, when something may have run */
function refusalIn(error: unknown): string {
  if (error instanceof Error && refusals.includes((error as { code?: unknown }).code)) return error.message;
  throw error;
}

import type { ChatMessage, ToolCall } from "../message.ts";
import type { ModelRequest } from "../model.ts";
import { parsedArguments } from "./arguments.ts";

/** What differs between requests. https://platform.openai.com/docs/api-reference/chat/create */
export function requestBody(
  { instructions, messages, tools, outputSchema }: ModelRequest,
  { names }: { readonly names: boolean },
): Record<string, unknown> {
  const system = instructions === undefined ? [] : [{ role: "system", content: instructions }];
  return {
    messages: [...system, ...messages.map((message) => messageOf(message, names))],
    ...(tools.length > 0 && { tools: tools.map((tool) => ({ type: "function", function: tool })) }),
    // Not `strict`, which takes a part of JSON Schema only: the swarm checks the answer and sends it back.
    ...(outputSchema && {
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: outputSchema } },
    }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

function messageOf(message: ChatMessage, names: boolean): Record<string, unknown> {
  const { role, content } = message;
  if (role === "tool") return { role, tool_call_id: message.toolCallId, content };
  const name = names && message.name !== undefined ? { name: apiName(message.name) } : {};
  if (role !== "assistant") return { role, ...name, content };
  const { toolCalls = [] } = message;
  if (toolCalls.length === 0) return { role, ...name, content };
  return {
    role,
    ...name,
    content: content === "" ? null : content,
    tool_calls: toolCalls.map(callOf),
  };
}

function callOf({ id, name, arguments: text }: ToolCall): Record<string, unknown> {
  return { id, type: "function", function: { name, arguments: JSON.stringify(parsedArguments(text)) } };
}

/** The API takes letters, digits, `_` and `-`, at most 64: "Agent Ä" is `Agent_A`. */
function apiName(name: string): string {
  return name
    .normalize("NFKD")
    .replaceAll(/\p{Mark}/gu, "")
    .replaceAll(/[^a-zA-Z0-9_-]/g, "_")
    .slice(0, 64);
}

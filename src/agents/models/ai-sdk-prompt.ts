import type { ChatMessage, ToolCall, ToolMessage } from "../message.ts";
import { parsedArguments } from "./arguments.ts";

/** The parts of the AI SDK's prompt that conversations have, as both of its versions write them. */
export type AiSdkMessage =
  | { role: "system"; content: string }
  | { role: "user"; content: TextPart[] }
  | { role: "assistant"; content: (TextPart | CallPart)[] }
  | { role: "tool"; content: ResultPart[] };

interface TextPart {
  type: "text";
  text: string;
}

interface CallPart {
  type: "tool-call";
  toolCallId: string;
  toolName: string;
  input: unknown;
}

interface ResultPart {
  type: "tool-result";
  toolCallId: string;
  toolName: string;
  output: { type: "text"; value: string };
}

/** The AI SDK has no field for who has said it: agents' names are left out. */
export function promptOf(instructions: string | undefined, messages: readonly ChatMessage[]): AiSdkMessage[] {
  const system: AiSdkMessage[] =
    instructions === undefined ? [] : [{ role: "system", content: instructions }];
  return [...system, ...messages.flatMap(messageOf)];
}

function messageOf(message: ChatMessage): AiSdkMessage[] {
  const { role, content } = message;
  switch (role) {
    case "system":
      return [{ role, content }];
    case "user":
      return [{ role, content: [textPart(content)] }];
    case "tool":
      return [{ role, content: [resultPart(message)] }];
    default: {
      const parts = [
        ...(content === "" ? [] : [textPart(content)]),
        ...(message.toolCalls ?? []).map(callPart),
      ];
      // Providers refuse a message without parts, and parts without text.
      return parts.length === 0 ? [] : [{ role, content: parts }];
    }
  }
}

function textPart(text: string): TextPart {
  return { type: "text", text };
}

function callPart({ id, name, arguments: text }: ToolCall): CallPart {
  return { type: "tool-call", toolCallId: id, toolName: name, input: parsedArguments(text) };
}

function resultPart({ toolCallId, name, content }: ToolMessage): ResultPart {
  return { type: "tool-result", toolCallId, toolName: name, output: { type: "text", value: content } };
}

import type { ToolCall, Usage } from "../message.ts";
import { ModelError, type Model, type ModelReply, type ModelRequest } from "../model.ts";
import { guessedUsage } from "./guessed-usage.ts";

/** What a scripted model says: text, calls of tools, or what a function makes of the request. */
export type Line =
  | string
  | {
      readonly text?: string;
      readonly toolCalls?: readonly {
        readonly name: string;
        readonly arguments?: unknown;
        readonly id?: string;
      }[];
      readonly usage?: Usage;
    }
  | Error
  | ((request: ModelRequest) => Line | Promise<Line>);

/**
 * A model for tests and demonstrations: the n-th reply of an agent in a conversation is the n-th line, however often it is asked and
 * in whatever process. Behind the last line it repeats that.
 *
 * Text costs a token for each four characters unless the line says otherwise.
 */
export function scripted(
  lines: readonly Line[] | ((request: ModelRequest) => Line),
  name = "scripted",
): Model {
  return {
    name,
    async step(request) {
      const line = Array.isArray(lines)
        ? (lines as readonly Line[])[Math.min(answersIn(request), lines.length - 1)]
        : (lines as (request: ModelRequest) => Line);
      return replyOf(await resolved(line, request), request);
    },
  };
}

/** Each answer of the agent ends with a message of its own; what others have said is not counted. */
function answersIn({ messages }: ModelRequest): number {
  return messages.filter((message) => message.role === "assistant" && message.name === undefined).length;
}

async function resolved(line: Line | undefined, request: ModelRequest): Promise<Exclude<Line, Function>> {
  if (line === undefined) throw new ModelError("the script has no line", { isFinal: true });
  if (typeof line === "function") return resolved(await line(request), request);
  return line;
}

function replyOf(line: Exclude<Line, Function>, request: ModelRequest): ModelReply {
  if (line instanceof Error) throw line;
  const { text = "", toolCalls = [], usage } = typeof line === "string" ? { text: line } : line;
  for (const word of text.split(/(?<=\s)/)) if (word !== "") request.onText(word);
  const calls = toolCalls.map(({ name, id, arguments: given = {} }, index): ToolCall => ({
    id: id ?? `call_${request.messages.length}_${index}`,
    name,
    arguments: typeof given === "string" ? given : JSON.stringify(given),
  }));
  const reply = { text, toolCalls: calls };
  return { ...reply, usage: usage ?? guessedUsage(request, reply) };
}

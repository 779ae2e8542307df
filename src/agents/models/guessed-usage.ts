import type { Usage } from "../message.ts";
import type { ModelReply, ModelRequest } from "../model.ts";

/** For a model that does not count: a token for each four characters. */
export function guessedUsage(
  { instructions = "", messages, tools }: ModelRequest,
  { text, toolCalls }: Omit<ModelReply, "usage">,
): Usage {
  return {
    inputTokens: Math.ceil(
      (instructions.length +
        JSON.stringify(messages).length +
        (tools.length && JSON.stringify(tools).length)) /
        4,
    ),
    outputTokens: Math.ceil((text.length + (toolCalls.length && JSON.stringify(toolCalls).length)) / 4),
  };
}

import { createHash } from "node:crypto";
import type { ToolCall } from "../message.ts";
import type { ModelRequest } from "../model.ts";

/**
 * Gives an id to each call that has none, or one that was used before: some servers leave them out, and some count from 0 in each
 * reply. The same request gives the same ids.
 */
export function withCallIds(
  calls: readonly ToolCall[],
  { messages }: Pick<ModelRequest, "messages">,
): ToolCall[] {
  const used = new Set(
    messages.flatMap((message) =>
      message.role === "assistant" ? (message.toolCalls ?? []).map(({ id }) => id) : [],
    ),
  );
  let digest: string | undefined;
  return calls.map((call, index) => {
    let { id } = call;
    if (id === "" || used.has(id)) {
      digest ??= createHash("sha256").update(JSON.stringify(messages)).digest("hex").slice(0, 20);
      id = `call_${digest}_${index}`;
    }
    used.add(id);
    return { ...call, id };
  });
}

import type { ModelRequest } from "../../../src/agents/index.ts";

/** "Hello", and what is given. */
export function requestOf(more: Partial<ModelRequest> = {}): ModelRequest {
  return {
    instructions: undefined,
    messages: [{ role: "user", content: "Hello" }],
    tools: [],
    outputSchema: undefined,
    signal: new AbortController().signal,
    onText: () => {},
    ...more,
  };
}

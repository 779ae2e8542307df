/**
 * A call's arguments for a model to see again. Servers parse them, and refuse the conversation for ever when they cannot: what is no
 * JSON goes as `{ malformed: "…" }`. The tool's result says what was wrong with it.
 */
export function parsedArguments(text: string): unknown {
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return { malformed: text };
  }
}

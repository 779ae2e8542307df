import type { ChatMessage } from "./message.ts";

/** Chooses what of a conversation a model sees. What it leaves out stays in the conversation. */
export type HistoryPolicy = (messages: readonly ChatMessage[]) => readonly ChatMessage[];

/**
 * The last messages, and the first of all, which mostly says what it is about. A tool's result stays with the call that it answers:
 * models refuse one without the other.
 */
export function lastMessages(count: number): HistoryPolicy {
  return (messages) => {
    if (messages.length <= count) return messages;
    let from = messages.length - (count - 1);
    while (from < messages.length && messages[from].role === "tool") from++;
    return [messages[0], ...messages.slice(from)];
  };
}

/** As {@link lastMessages}, by characters instead: some four of them are a token. */
export function lastCharacters(most: number): HistoryPolicy {
  return (messages) => {
    let left = most - sizeOf(messages[0]);
    let count = 1;
    for (const message of messages.slice(1).toReversed()) {
      left -= sizeOf(message);
      if (left < 0) break;
      count++;
    }
    return lastMessages(Math.max(2, count))(messages);
  };
}

function sizeOf(message: ChatMessage): number {
  const calls = message.role === "assistant" ? (message.toolCalls ?? []) : [];
  return calls.reduce((size, call) => size + call.arguments.length, message.content.length);
}

/** What is said in a conversation, as models know it. */
export type ChatMessage = UserMessage | AssistantMessage | ToolMessage;

export interface UserMessage {
  readonly role: "user" | "system";
  readonly content: string;
  /** Who has said it: an agent, or nothing for a person. */
  readonly name?: string;
}

export interface AssistantMessage {
  readonly role: "assistant";
  readonly content: string;
  /** The agent. */
  readonly name?: string;
  readonly toolCalls?: readonly ToolCall[];
}

export interface ToolMessage {
  readonly role: "tool";
  readonly toolCallId: string;
  readonly name: string;
  readonly content: string;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text as the model has written it, which need not be well-formed. */
  readonly arguments: string;
}

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export const noUsage: Usage = { inputTokens: 0, outputTokens: 0 };

export function addUsage(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
  };
}

import type { ChatMessage, ToolCall, Usage } from "./message.ts";

/** A language model: one call, with the whole conversation, gives one reply. */
export interface Model {
  /** By which prices are looked up, and which traces show. */
  readonly name: string;
  /**
   * @throws ModelError when it gives no reply; the signal's reason. What may pass by itself (a rate limit, a server that is down)
   *   the adapter waits out as long as it can; after that the turn is tried again as a task is.
   */
  step(request: ModelRequest): Promise<ModelReply>;
}

export interface ModelRequest {
  /** What stands before the conversation. */
  readonly instructions: string | undefined;
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly ToolDescription[];
  /** JSON Schema of what the final answer must be. */
  readonly outputSchema: Readonly<Record<string, unknown>> | undefined;
  readonly signal: AbortSignal;
  /** Text as it comes. A model that does not stream calls it once, or never. */
  readonly onText: (delta: string) => void;
}

export interface ToolDescription {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface ModelReply {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly usage: Usage;
}

/** A model has given no reply, or one that cannot be understood. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  /** Another try cannot end better: the request is refused, or the key is wrong. */
  readonly isFinal: boolean;
  /** How long the API asks to be left alone, in milliseconds: the turn is not tried again before. Undefined: it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    {
      isFinal = false,
      retryAfterMs,
      cause,
    }: { isFinal?: boolean; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.isFinal = isFinal;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Dollars for a million tokens, by the model's name. */
export type Prices = Readonly<Record<string, { readonly input: number; readonly output: number }>>;

/** Undefined where the price is not known. */
export function costOf(model: string, usage: Usage, prices: Prices): number | undefined {
  const price = prices[model];
  if (price === undefined) return undefined;
  return (usage.inputTokens * price.input + usage.outputTokens * price.output) / 1_000_000;
}

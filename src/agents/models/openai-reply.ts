import type { ToolCall, Usage } from "../message.ts";
import type { ModelReply } from "../model.ts";

/** A part of a reply, or all of it where the server does not stream. Servers leave out what they like. */
export interface Chunk {
  readonly choices?:
    | readonly {
        readonly delta?: Delta | null;
        readonly message?: Delta | null;
        readonly finish_reason?: string | null;
      }[]
    | null;
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null;
  readonly error?: ApiError | string | null;
}

export interface ApiError {
  readonly message?: string;
  readonly code?: string | number | null;
}

interface Delta {
  readonly content?: string | null;
  /** What it says instead of an answer that a schema asks for. */
  readonly refusal?: string | null;
  readonly tool_calls?: readonly CallDelta[] | null;
}

interface CallDelta {
  readonly index?: number | null;
  readonly id?: string | null;
  readonly function?: {
    readonly name?: string | null;
    readonly arguments?: string | Readonly<Record<string, unknown>> | null;
  };
}

interface PartialCall {
  readonly index: number | undefined;
  id: string;
  name: string;
  arguments: string;
}

/** Puts a reply together from its parts. */
export class OpenAiReply {
  finishReason: string | undefined;
  usage: Usage | undefined;
  private text = "";
  private readonly calls: PartialCall[] = [];
  private readonly onText: (delta: string) => void;

  constructor(onText: (delta: string) => void) {
    this.onText = onText;
  }

  add({ choices, usage }: Chunk): void {
    if (usage) {
      this.usage = { inputTokens: usage.prompt_tokens ?? 0, outputTokens: usage.completion_tokens ?? 0 };
    }
    const choice = choices?.[0];
    if (choice === undefined) return;
    this.finishReason = choice.finish_reason ?? this.finishReason;
    const { content, refusal, tool_calls: calls } = choice.delta ?? choice.message ?? {};
    for (const delta of [content, refusal]) if (typeof delta === "string") this.say(delta);
    for (const delta of calls ?? []) this.addToCall(delta);
  }

  /** The ids of calls are as the server has given them, perhaps none. */
  result(): Omit<ModelReply, "usage"> {
    const toolCalls = this.calls.map(({ id, name, arguments: text }): ToolCall => ({
      id,
      name,
      arguments: text,
    }));
    return { text: this.text, toolCalls };
  }

  private say(delta: string): void {
    this.text += delta;
    this.onText(delta);
  }

  private addToCall(delta: CallDelta): void {
    const call = this.callOf(delta);
    call.id ||= delta.id ?? "";
    call.name ||= delta.function?.name ?? "";
    const more = delta.function?.arguments ?? "";
    // Some servers give the arguments as what they mean.
    call.arguments += typeof more === "string" ? more : JSON.stringify(more);
  }

  /** Calls are told apart by index, and where servers give none, or the same to all, by id; else each name begins one. */
  private callOf({ index, id, function: called }: CallDelta): PartialCall {
    const last =
      typeof index === "number" ? this.calls.findLast((call) => call.index === index) : this.calls.at(-1);
    const isOther = id ? last?.id !== "" && last?.id !== id : typeof index !== "number" && called?.name;
    if (last !== undefined && !isOther) return last;
    const call = { index: index ?? undefined, id: "", name: "", arguments: "" };
    this.calls.push(call);
    return call;
  }
}

import type { ToolCall, Usage } from "../message.ts";
import { ModelError, type Model, type ModelReply, type ModelRequest } from "../model.ts";
import { asModelError } from "./ai-sdk-error.ts";
import { promptOf, type AiSdkMessage } from "./ai-sdk-prompt.ts";
import { withCallIds } from "./call-ids.ts";
import { guessedUsage } from "./guessed-usage.ts";
import { Patience, type PatienceOptions, type Surroundings, type Try } from "./patience.ts";

/**
 * What is used of a `LanguageModelV3` (AI SDK 6) or `LanguageModelV4` (AI SDK 7), and how both are called alike. Written out, so that
 * neither the package `ai` nor its types are needed here.
 */
export interface AiSdkModel {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  doStream(options: AiSdkCall): PromiseLike<{ readonly stream: ReadableStream<{ readonly type: string }> }>;
}

interface AiSdkCall {
  prompt: AiSdkMessage[];
  tools?: { type: "function"; name: string; description: string; inputSchema: {} }[];
  responseFormat?: { type: "json"; schema: {} };
  temperature?: number;
  maxOutputTokens?: number;
  headers?: Record<string, string>;
  providerOptions?: Record<string, {}>;
  abortSignal: AbortSignal;
}

export interface AiSdkOptions extends PatienceOptions {
  /** Default: the model's own. */
  readonly temperature?: number;
  /** Default: the model's own. */
  readonly maxOutputTokens?: number;
  /** Sent with each request, by providers that use HTTP. */
  readonly headers?: Readonly<Record<string, string>>;
  /** By the provider's name, as its documentation says: `{ anthropic: { thinking: { type: "adaptive" } } }`. */
  readonly providerOptions?: Readonly<Record<string, Readonly<Record<string, {} | null>>>>;
}

/**
 * A model of the AI SDK, 6 or 7: what a provider gives (`openai("…")`, `anthropic("…")`, `google("…")`), or `wrapLanguageModel` made of
 * it. Replies are streamed. Where the provider does not count tokens, a token is reckoned for each four characters.
 *
 * @param surroundings - for tests
 * @throws TypeError when it is no model of these versions: a name is none, `gateway("…")` makes one of it
 */
export function aiSdk(model: AiSdkModel, options: AiSdkOptions = {}, surroundings?: Surroundings): Model {
  assertModel(model);
  const { modelId, provider } = model;
  const who = `model '${modelId}' of ${provider}`;
  const patience = new Patience(who, options, surroundings);
  return {
    name: modelId,
    step: (request) =>
      patience.ask(request, async (tools) => {
        try {
          return await ask(model, options, request, tools, who);
        } catch (error) {
          throw asModelError(error, who, patience.nowMs());
        }
      }),
  };
}

const versions: readonly unknown[] = ["v3", "v4"];

/** @throws TypeError */
function assertModel(model: unknown): asserts model is AiSdkModel {
  const { specificationVersion: version } = Object(model) as { specificationVersion?: unknown };
  if (versions.includes(version)) return;
  const what =
    typeof model === "string" ? `the name '${model}'` : `a model of the version '${String(version)}'`;
  throw new TypeError(
    `aiSdk takes a model of a provider of the AI SDK 6 or 7, such as openai("…") or gateway("…"), and not ${what}`,
  );
}

/**
 * By `doStream`, which every provider has and which is nearly the same in 6 and 7. `streamText` above it would have us load `ai`, run
 * its own retries, which do not know what is a wait for the queue, and read the arguments of calls, which we read ourselves.
 */
async function ask(
  model: AiSdkModel,
  { temperature, maxOutputTokens, headers, providerOptions }: AiSdkOptions,
  request: ModelRequest,
  { signal, heard, onText }: Try,
  who: string,
): Promise<ModelReply> {
  const { instructions, messages, tools, outputSchema } = request;
  const { stream } = await model.doStream({
    prompt: promptOf(instructions, messages),
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, parameters: inputSchema }) => ({
        type: "function",
        name,
        description,
        inputSchema,
      })),
    }),
    ...(outputSchema && { responseFormat: { type: "json", schema: outputSchema } }),
    temperature,
    maxOutputTokens,
    headers,
    providerOptions,
    abortSignal: signal,
  });
  let text = "";
  let usage: Usage | undefined;
  let isComplete = false;
  const calls: ToolCall[] = [];
  for await (const part of stream as AsyncIterable<Part>) {
    heard();
    switch (part.type) {
      case "text-delta":
        text += part.delta;
        onText(part.delta);
        break;
      case "tool-call":
        // The provider's own tools have run where the model did.
        if (!part.providerExecuted)
          calls.push({ id: part.toolCallId, name: part.toolName, arguments: part.input });
        break;
      case "error":
        throw part.error;
      case "finish":
        isComplete = isWhole(part, who);
        usage = usageOf(part.usage);
    }
  }
  if (!isComplete) throw new ModelError(`${who} has broken off its reply`);
  const reply = { text, toolCalls: withCallIds(calls, request) };
  return { ...reply, usage: usage ?? guessedUsage(request, reply) };
}

/** What is used of the stream. */
type Part =
  | { readonly type: "text-delta"; readonly delta: string }
  | {
      readonly type: "tool-call";
      readonly toolCallId: string;
      readonly toolName: string;
      readonly input: string;
      readonly providerExecuted?: boolean;
    }
  | { readonly type: "error"; readonly error: unknown }
  | Finish;

interface Finish {
  readonly type: "finish";
  readonly finishReason: { readonly unified: string; readonly raw: string | undefined };
  readonly usage: Record<"inputTokens" | "outputTokens", { readonly total: number | undefined }>;
}

/** Providers end a stream that was broken off with a reason that is none. @throws ModelError when the provider has stopped it */
function isWhole({ finishReason: { unified, raw } }: Finish, who: string): boolean {
  if (unified === "content-filter")
    throw new ModelError(`${who}: its content filter has stopped the reply`, { isFinal: true });
  return unified !== "error" && unified !== "interrupted" && !(unified === "other" && raw === undefined);
}

function usageOf({ inputTokens, outputTokens }: Finish["usage"]): Usage | undefined {
  if (inputTokens.total === undefined && outputTokens.total === undefined) return undefined;
  return { inputTokens: inputTokens.total ?? 0, outputTokens: outputTokens.total ?? 0 };
}

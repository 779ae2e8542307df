import { ModelError, type Model, type ModelReply, type ModelRequest } from "../model.ts";
import { withCallIds } from "./call-ids.ts";
import { guessedUsage } from "./guessed-usage.ts";
import { isFinalStatus, retryAfterMs } from "./http-status.ts";
import { OpenAiReply, type ApiError, type Chunk } from "./openai-reply.ts";
import { requestBody } from "./openai-request.ts";
import { Patience, type PatienceOptions, type Surroundings, type Try } from "./patience.ts";
import { eventData } from "./server-sent-events.ts";

export interface OpenAiCompatibleOptions extends PatienceOptions {
  /** Default: the environment's `OPENAI_MODEL`. */
  readonly model?: string;
  /** Up to the version. Default: the environment's `OPENAI_BASE_URL`, or `https://api.openai.com/v1`. */
  readonly baseUrl?: string;
  /** Default: the environment's `OPENAI_API_KEY`. Empty for a server that wants none. */
  readonly apiKey?: string;
  /** Sent with each request, beside or instead of the adapter's own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: the model's own. */
  readonly temperature?: number;
  /**
   * Whatever else the API takes (`max_completion_tokens`, `reasoning_effort`), or takes otherwise; `undefined` leaves out what this
   * adapter would send.
   */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Tells the model who has said what, by the field `name`. Default true; false for a server that refuses the field. */
  readonly names?: boolean;
  /** Default: Node's own. */
  readonly fetch?: typeof fetch;
}

/**
 * A model behind the chat completions API of OpenAI, which most others have, too: Ollama, vLLM, llama.cpp, LM Studio, OpenRouter, …
 * Replies are streamed. A reply that was cut off for its length is taken as it is. Where the server does not count tokens, a token is
 * reckoned for each four characters.
 *
 * @param surroundings - for tests
 * @throws TypeError when there is no model or no key, or the URL is none
 */
export function openaiCompatible(options: OpenAiCompatibleOptions = {}, surroundings?: Surroundings): Model {
  return new OpenAiCompatible(options, surroundings);
}

class OpenAiCompatible implements Model {
  readonly name: string;
  private readonly options: OpenAiCompatibleOptions;
  private readonly url: URL;
  private readonly apiKey: string;
  private readonly headers: Headers;
  /** How errors call it. Keys may be in the URL's query, which is left out. */
  private readonly who: string;
  private readonly patience: Patience;

  constructor(options: OpenAiCompatibleOptions, surroundings: Surroundings | undefined) {
    this.options = options;
    this.name = given("model", "OPENAI_MODEL", options.model || process.env["OPENAI_MODEL"]);
    this.url = completionsUrl(
      options.baseUrl || process.env["OPENAI_BASE_URL"] || "https://api.openai.com/v1",
    );
    this.apiKey =
      options.apiKey ??
      given(
        "key",
        "OPENAI_API_KEY",
        process.env["OPENAI_API_KEY"],
        `apiKey (apiKey: "" for a server that wants none)`,
      );
    this.headers = headersOf(this.apiKey, options.headers);
    this.who = `model '${this.name}' at ${this.url.origin}${this.url.pathname}`;
    this.patience = new Patience(this.who, options, surroundings);
  }

  async step(request: ModelRequest): Promise<ModelReply> {
    return this.patience.ask(request, async (tools) => {
      try {
        return await this.ask(request, tools);
      } catch (error) {
        if (error instanceof ModelError) throw error;
        throw new ModelError(`${this.who}: ${this.shown(reasonOf(error))}`, { cause: error });
      }
    });
  }

  private async ask(request: ModelRequest, { signal, heard, onText }: Try): Promise<ModelReply> {
    const { names = true, temperature, body, fetch: send = fetch } = this.options;
    const response = await send(this.url, {
      method: "POST",
      headers: this.headers,
      body: JSON.stringify({ model: this.name, ...requestBody(request, { names }), temperature, ...body }),
      signal,
    });
    heard();
    if (!response.ok) throw await this.refusal(response);
    const reply = new OpenAiReply(onText);
    for await (const chunk of this.chunksOf(response, heard)) reply.add(chunk);
    return this.complete(reply, request);
  }

  private complete(reply: OpenAiReply, request: ModelRequest): ModelReply {
    if (reply.finishReason === "content_filter")
      throw new ModelError(`${this.who}: its content filter has stopped the reply`, { isFinal: true });
    const { text, toolCalls } = reply.result();
    const result = { text, toolCalls: withCallIds(toolCalls, request) };
    return { ...result, usage: reply.usage ?? guessedUsage(request, result) };
  }

  private async *chunksOf(response: Response, heard: () => void): AsyncGenerator<Chunk> {
    const type = response.headers.get("content-type") ?? "";
    if (type.startsWith("application/json")) {
      yield this.parsed(await response.text());
      return;
    }
    if (!type.startsWith("text/event-stream")) {
      await response.body?.cancel();
      throw new ModelError(`${this.who} has answered with '${type}' instead of a stream of events`);
    }
    let isComplete = false;
    for await (const data of eventData(hearing(response.body!, heard))) {
      if (data.trim() === "[DONE]") return;
      const chunk = this.parsed(data);
      yield chunk;
      isComplete ||= chunk.choices?.[0]?.finish_reason != null;
    }
    // Some servers end without a [DONE].
    if (!isComplete) throw new ModelError(`${this.who} has broken off its reply`);
  }

  /** @throws ModelError when it is no JSON, or tells of an error */
  private parsed(text: string): Chunk {
    let chunk: Chunk | null;
    try {
      chunk = JSON.parse(text) as Chunk | null;
    } catch (error) {
      throw new ModelError(`${this.who} has sent what is no JSON: ${this.shown(text)}`, { cause: error });
    }
    if (typeof chunk !== "object" || chunk === null)
      throw new ModelError(`${this.who} has sent what is no reply: ${this.shown(text)}`);
    if (!chunk.error) return chunk;
    const { message, code } = apiError(chunk.error);
    throw new ModelError(`${this.who}: ${this.shown(message ?? text)}`, {
      isFinal: typeof code === "number" && isFinalStatus(code),
    });
  }

  private async refusal(response: Response): Promise<ModelError> {
    const { status, headers } = response;
    const text = await response.text();
    const { message = text, code } = errorIn(text);
    return new ModelError(`${this.who}: ${status} ${this.shown(message) || response.statusText}`, {
      // A quota that is used up is a 429 as well, and does not come back by itself.
      isFinal: isFinalStatus(status) || code === "insufficient_quota",
      retryAfterMs: retryAfterMs(headers, this.patience.nowMs()),
    });
  }

  /** Servers repeat what they were sent: the key must not get into logs, and no page of HTML either. */
  private shown(text: string): string {
    const safe = this.apiKey === "" ? text : text.replaceAll(this.apiKey, "…");
    return safe.length > 500 ? `${safe.slice(0, 500)}…` : safe;
  }
}

/** @throws TypeError when it is not there */
function given(what: string, variable: string, value: string | undefined, option = what): string {
  if (value) return value;
  throw new TypeError(
    `openaiCompatible has no ${what}: set ${variable} in the environment, or give it ${option}`,
  );
}

function headersOf(apiKey: string, more: Readonly<Record<string, string>> = {}): Headers {
  // Told here: `fetch` would show the key in its error.
  if (!/^[\x21-\x7e]*$/.test(apiKey))
    throw new TypeError("openaiCompatible has a key with characters that no key has: a space, a line break?");
  const headers = new Headers({ "content-type": "application/json", accept: "text/event-stream" });
  if (apiKey !== "") headers.set("authorization", `Bearer ${apiKey}`);
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  return headers;
}

function completionsUrl(base: string): URL {
  const url = URL.parse(base);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new TypeError(`'${base}' is no base URL of an API; one is https://api.openai.com/v1`);
  if (url.username !== "" || url.password !== "")
    throw new TypeError("openaiCompatible takes no user and password in the base URL: give them as headers");
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/chat/completions`;
  return url;
}

function errorIn(text: string): ApiError {
  try {
    const body = JSON.parse(text) as { error?: ApiError | string; message?: string } | null;
    return apiError(body?.error ?? body ?? {});
  } catch {
    return {};
  }
}

function apiError(error: ApiError | string): ApiError {
  return typeof error === "string" ? { message: error } : error;
}

async function* hearing(bytes: AsyncIterable<Uint8Array>, heard: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    heard();
    yield chunk;
  }
}

/** `fetch` says "fetch failed" and "terminated"; why is in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, cause } = error as Error & { cause?: Error & { code?: string } };
  const why = cause?.message || cause?.code;
  return why ? `${message}: ${why}` : message;
}

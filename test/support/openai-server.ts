/** A server of OpenAI's chat completions API that says what a test has written down. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { listenOnFreePort } from "./ports.ts";

interface ReceivedRequest {
  readonly path: string;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: {
    readonly model: string;
    readonly messages: readonly Record<string, unknown>[];
    readonly [field: string]: unknown;
  };
}

/** How the server answers one request. */
export type Answer = (response: ServerResponse, request: ReceivedRequest) => void;

export interface OpenAiServer {
  /** Up to `/v1`. */
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
}

/** Answers the n-th request with the n-th answer. It is stopped when the test ends. */
export async function startOpenAiServer(...answers: readonly Answer[]): Promise<OpenAiServer> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (part: string) => (text += part));
    request.on("end", () => {
      const { url: path = "", headers } = request;
      const received = { path, headers, body: JSON.parse(text) as ReceivedRequest["body"] };
      const answer = answers[requests.push(received) - 1] ?? refuses(418, "the test has no more answers");
      answer(response, received);
    });
  });
  const port = await listenOnFreePort(server);
  onTestFinished(async () => {
    server.closeAllConnections();
    await once(server.close(), "close");
  });
  return { url: `http://127.0.0.1:${port}/v1`, requests };
}

export const done = "data: [DONE]\n\n";

export function chunk(
  delta: Readonly<Record<string, unknown>>,
  finishReason: string | null = null,
  usage?: object,
): string {
  const choices = [{ index: 0, delta, finish_reason: finishReason }];
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices, ...(usage && { usage }) })}\n\n`;
}

function usageChunk(inputTokens: number, outputTokens: number): string {
  const usage = {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  };
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage })}\n\n`;
}

/** Sends these bytes as a stream of events, and ends. */
export function streams(...parts: readonly (string | Uint8Array)[]): Answer {
  return (response) => {
    begin(response);
    for (const part of parts) response.write(part);
    response.end();
  };
}

/** Text in parts, of 20 tokens after 10. */
export function says(...words: readonly string[]): Answer {
  return streams(
    chunk({ role: "assistant", content: "" }),
    ...words.map((content) => chunk({ content })),
    chunk({}, "stop"),
    usageChunk(10, 20),
    done,
  );
}

/** Calls of tools, beside each other, their arguments in pieces. */
export function calls(
  ...wanted: readonly { readonly id: string; readonly name: string; readonly arguments: string }[]
): Answer {
  const pieces = wanted.flatMap(({ arguments: text }, index) =>
    (text.match(/.{1,5}/gs) ?? []).map((piece) =>
      chunk({ tool_calls: [{ index, function: { arguments: piece } }] }),
    ),
  );
  return streams(
    chunk({ role: "assistant", content: null }),
    ...wanted.map(({ id, name }, index) =>
      chunk({ tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] }),
    ),
    ...pieces,
    chunk({}, "tool_calls"),
    usageChunk(10, 20),
    done,
  );
}

/** An error as the API tells it. */
export function refuses(
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
  code?: string,
): Answer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify({ error: { message, type: "error", param: null, code: code ?? null } }));
  };
}

/** Says this much, and the connection is gone. */
export function breaksOff(...words: readonly string[]): Answer {
  return (response) => {
    begin(response);
    for (const content of words) response.write(chunk({ content }));
    void afterTurns(20).then(() => response.destroy());
  };
}

/** Says this much, and nothing more. Without words not even that it has heard. */
export function fallsSilent(...words: readonly string[]): Answer {
  return (response) => {
    if (words.length === 0) return;
    begin(response);
    for (const content of words) response.write(chunk({ content }));
  };
}

/** The client is in this process: by then it has read what was written. An end that comes with the words would swallow them. */
export async function afterTurns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
}

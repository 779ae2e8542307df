/** What providers of the AI SDK do that the server of the contract cannot make them do. */
import { APICallError, LoadAPIKeyError, RetryError } from "ai";
import { expect, test } from "vitest";
import { aiSdk, type AiSdkModel, type ModelReply } from "../../../src/agents/index.ts";
import { requestOf } from "./request.ts";

type Call = Parameters<AiSdkModel["doStream"]>[0];

/** A provider's model that does this. */
function modelOf(
  doStream: (call: Call) => readonly object[] | AsyncIterable<object> | Promise<never>,
): AiSdkModel {
  return {
    specificationVersion: "v4",
    provider: "test",
    modelId: "m",
    doStream: async (call) => {
      const parts = await doStream(call);
      return { stream: ReadableStream.from(parts as Iterable<{ type: string }>) };
    },
  };
}

const finish = {
  type: "finish",
  finishReason: { unified: "stop", raw: "stop" },
  usage: { inputTokens: { total: 1 }, outputTokens: { total: 2 } },
};

const step = (model: AiSdkModel, timeout?: number): Promise<ModelReply> =>
  aiSdk(model, { retries: 0, timeout }).step(requestOf());

test("aiSdk says what it takes", () => {
  expect(() => aiSdk("openai/gpt-5" as never)).toThrow(
    /^aiSdk takes a model of a provider of the AI SDK 6 or 7, .* and not the name 'openai\/gpt-5'$/,
  );
  expect(() => aiSdk({ ...modelOf(() => []), specificationVersion: "v2" })).toThrow(
    "a model of the version 'v2'",
  );
});

test("options go to the provider", async () => {
  let seen: Call | undefined;
  const model = modelOf((call) => {
    seen = call;
    return [finish];
  });
  const options = {
    temperature: 0,
    maxOutputTokens: 5,
    headers: { a: "b" },
    providerOptions: { test: { c: 1 } },
  };
  const outputSchema = { type: "object" };
  await aiSdk(model, options).step(requestOf({ outputSchema }));
  expect(seen).toMatchObject({ ...options, responseFormat: { type: "json", schema: outputSchema } });
});

test("tools that ran at the provider are not run again", async () => {
  const call = { type: "tool-call", toolCallId: "a", toolName: "search", input: "{}" };
  const model = modelOf(() => [{ ...call, providerExecuted: true }, { ...call, toolCallId: "b" }, finish]);
  expect((await step(model)).toolCalls).toEqual([{ id: "b", name: "search", arguments: "{}" }]);
});

test("what was thought and said about nothing is left out of the prompt", async () => {
  let seen: Call | undefined;
  const model = modelOf((call) => {
    seen = call;
    return [finish];
  });
  await aiSdk(model).step(
    requestOf({
      messages: [
        { role: "system", content: "Now" },
        { role: "assistant", content: "" },
        { role: "assistant", content: "Well", toolCalls: [{ id: "a", name: "next", arguments: "" }] },
      ],
    }),
  );
  expect(seen?.prompt).toEqual([
    { role: "system", content: "Now" },
    {
      role: "assistant",
      content: [
        { type: "text", text: "Well" },
        { type: "tool-call", toolCallId: "a", toolName: "next", input: {} },
      ],
    },
  ]);
});

const callError = (statusCode: number | undefined, isRetryable?: boolean): Error =>
  new APICallError({ message: "No", url: "", requestBodyValues: {}, statusCode, isRetryable });

test.each([
  ["a key that is missing", new LoadAPIKeyError({ message: "No" }), true],
  ["a status that is final", callError(400), true],
  ["a status that passes", callError(503), false],
  ["what the provider would try again", callError(400, true), false],
  ["a failed call without a status", callError(undefined, false), true],
  ["a reply that cannot be read", callError(200, false), false],
  ["what retries have ended with", retried(callError(401)), true],
  ["and what may still pass", retried(callError(429)), false],
  ["another error", new Error("No"), false],
  ["what is no error", "No", false],
])("%s is final or is not", async (_, error, isFinal) => {
  const thrown = modelOf(() => Promise.reject(error));
  await expect(step(thrown)).rejects.toMatchObject({ name: "ModelError", isFinal, cause: expect.anything() });
  await expect(step(thrown)).rejects.toThrow(/^model 'm' of test: (\d{3} )?No$/);
  const told = modelOf(() => [{ type: "error", error }]);
  await expect(step(told)).rejects.toMatchObject({ name: "ModelError", isFinal });
});

function retried(error: Error): Error {
  return new RetryError({
    message: "Failed after 3 attempts",
    reason: "maxRetriesExceeded",
    errors: [error],
  });
}

test("a reply that ends without a reason was broken off", async () => {
  const ending = (unified: string, raw?: string): AiSdkModel =>
    modelOf(() => [{ ...finish, finishReason: { unified, raw } }]);
  for (const broken of [ending("other"), ending("error", "error"), modelOf(() => [])])
    await expect(step(broken)).rejects.toThrow("model 'm' of test has broken off its reply");
  expect(await step(ending("other", "eos"))).toMatchObject({ text: "" });
  expect(await step(ending("length", "length"))).toMatchObject({ text: "" });
});

test("a model that does not heed the signal is neither waited for nor listened to", async () => {
  const deaf = modelOf(() => new Promise<never>(() => {}));
  await expect(step(deaf, 100)).rejects.toThrow("model 'm' of test has said nothing for 100 ms");
  const speak = Promise.withResolvers<void>();
  const spoken = Promise.withResolvers<void>();
  async function* late(): AsyncGenerator<object> {
    await speak.promise;
    yield { type: "text-delta", delta: "Hello" };
    spoken.resolve();
  }
  const words: string[] = [];
  const model = modelOf(() => late());
  const asked = aiSdk(model, { retries: 0, timeout: 100 }).step(
    requestOf({ onText: (word) => words.push(word) }),
  );
  await expect(asked).rejects.toThrow("has said nothing");
  speak.resolve();
  await spoken.promise;
  expect(words).toEqual([]);
});

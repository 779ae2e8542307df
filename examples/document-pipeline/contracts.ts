import { z } from "zod";
import { defineTask } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"

const document = z.object({ name: z.string(), text: z.string() });

/** A whole document: split, its parts summarised, the summaries merged. */
export const documentTask = defineTask("document.summarise", {
  input: document,
  output: z.object({ name: z.string(), summary: z.string(), parts: z.number() }),
  queue: "documents",
});

/**
 * One part of one, which costs a call of the model. Parts have a queue and workers of their own: a document waits for its
 * parts, and what waits must not hold the places of what it waits for.
 */
export const partTask = defineTask("part.summarise", {
  input: z.object({ document: z.string(), number: z.number(), text: z.string() }),
  output: z.string(),
  queue: "parts",
  retry: { retries: 4, delay: 100, maxDelay: 1_000 },
  timeout: 5_000,
});

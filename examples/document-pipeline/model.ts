/** Stands in for a language model: slow, at times overloaded, and the same at each run of the example. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export class OverloadedError extends Error {
  override readonly name = "OverloadedError";
}

const seed = 1;
const callMs = 150;
/** One call of so many fails. */
const failsOneOf = 3;

/**
 * The sentence that has the most of the text's frequent words.
 *
 * @throws OverloadedError when another try may end better; the signal's reason
 */
export async function summarise(text: string, attempt: number, signal: AbortSignal): Promise<string> {
  await sleep(callMs, undefined, { signal });
  if (draw(`${seed} ${attempt} ${text}`) % failsOneOf === 0)
    throw new OverloadedError("the model is overloaded");
  const frequency = new Map<string, number>();
  for (const word of wordsOf(text)) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const score = (sentence: string): number => {
    const words = wordsOf(sentence);
    return words.reduce((sum, word) => sum + frequency.get(word)!, 0) / Math.sqrt(words.length || 1);
  };
  return sentencesOf(text).toSorted((a, b) => score(b) - score(a))[0] ?? "";
}

export function sentencesOf(text: string): string[] {
  return (text.match(/[^.!?]+[.!?]/g) ?? []).map((sentence) => sentence.replace(/\s+/g, " ").trim());
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z]{4,}/g) ?? [];
}

function draw(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE();
}

import { Fatal, type Bus, type Job } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"
import { documentTask, partTask } from "./contracts.ts";
import { sentencesOf, summarise } from "./model.ts";

/** Starts who does the documents and who does their parts; both end with the bus. */
export async function startWorkers(bus: Bus, say: (line: string) => void): Promise<void> {
  // Three at a time, and none held beside them: what memory and the model's rate limit allow.
  const parts = bus.worker({ concurrency: 3 }).on(partTask, async ({ document, number, text }, context) => {
    const { attempt, signal } = context;
    try {
      return await summarise(text, attempt, signal);
    } catch (error) {
      say(`${document}, part ${number}, attempt ${attempt}: ${(error as Error).message}`);
      throw error;
    }
  });

  const documents = bus.worker({ concurrency: 1 }).on(documentTask, async ({ name, text }, context) => {
    say(`${name} begins`);
    const paragraphs = await context.step("split", { effect: "read" }, () => split(name, text));
    const jobs: Job<string>[] = [];
    for (const [index, paragraph] of paragraphs.entries()) {
      const part = { document: name, number: index + 1, text: paragraph };
      jobs.push(await context.send(partTask, part));
    }
    // If this worker dies, the next attempt finds the parts that are done and sends none of them twice.
    const summaries = await Promise.all(jobs.map((job) => job.result({ signal: context.signal })));
    return { name, summary: summaries.join(" "), parts: summaries.length };
  });

  await Promise.all([parts.start(), documents.start()]);
}

/** @throws Fatal when there is nothing to summarise: no other attempt would end better */
function split(name: string, text: string): string[] {
  const paragraphs = text.split(/\n{2,}/).filter((paragraph) => sentencesOf(paragraph).length > 0);
  if (paragraphs.length === 0) throw new Fatal(`${name} has no sentence: is it text?`);
  return paragraphs;
}

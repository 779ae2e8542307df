/**
 * Documents are split, a model summarises their parts, and the summaries are merged. The model fails now and then, and one
 * document is no text at all. Everything runs in this process, on a data directory that is removed at the end:
 *
 *     npx node examples/document-pipeline/run.ts
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, TaskFailedError } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"
import { documentTask } from "./contracts.ts";
import { startWorkers } from "./workers.ts";

const directory = mkdtempSync(join(tmpdir(), "warren-documents-"));
try {
  await using bus = await connect(`embedded:${directory}`);
  // The outage is sent last and has the highest priority: it is done first.
  const jobs = [];
  for (const [name, priority] of [
    ["kettle", 1],
    ["minutes", 2],
    ["outage", 9],
  ] as const) {
    jobs.push(await bus.send(documentTask, { name, text: read(name) }, { priority }));
    say("sent", `${name}, with priority ${priority}`);
  }
  // Of the queues that the bus has met: here, that of the documents.
  await bus.alerts.on("fatal", {}, ({ letter }) =>
    say("alert", `${letter.type} is dead: ${letter.errors.at(-1)?.message}`),
  );
  await startWorkers(bus, (line) => say("worker", line));

  for (const job of jobs) {
    try {
      const { name, summary, parts } = await job.result({ timeout: 20_000 });
      say("done", `${name}, of ${parts} parts: ${summary}`);
    } catch (error) {
      if (!(error instanceof TaskFailedError)) throw error;
      say("dead", error.message);
    }
  }

  const letters = bus.deadLetters(documentTask);
  for (const { taskId, payload, reason, attempts } of await letters.browse()) {
    const { name, text } = payload as { name: string; text: string };
    say(
      "letter",
      `${name} (task ${taskId}): ${reason} at attempt ${attempts}; it begins with ${text.slice(0, 24)}…`,
    );
  }
  const count = await letters.redrive({
    where: { reason: "fatal" },
    patch: (payload) => {
      const { name, text } = payload as { name: string; text: string };
      return { name, text: Buffer.from(text, "base64").toString() };
    },
  });
  say("redrive", `${count} sent again, decoded`);
  // It is the same task still: who waits for its result waits on.
  const { name, summary, parts } = await jobs[1].result({ timeout: 20_000 });
  say("done", `${name}, of ${parts} parts: ${summary}`);
  say("letters", `${await letters.count()} are left`);
} finally {
  rmSync(directory, { recursive: true });
}

function read(name: string): string {
  return readFileSync(join(import.meta.dirname, "documents", `${name}.txt`), "utf8");
}

function say(what: string, text: string): void {
  console.log(`${what.padEnd(8)}${text}`);
}

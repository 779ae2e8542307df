/**
 * A sign-up that does not wait for its mail. Starts an API and a mailer as processes of their own, on a data directory
 * that is removed at the end:
 *
 *     npx node examples/signup-email/run.ts
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import people from "./people.json" with { type: "json" };

const directory = mkdtempSync(join(tmpdir(), "warren-signup-"));
const outbox = join(directory, "outbox");
const children: ChildProcess[] = [];

try {
  const api = await start("api");
  const jobs = new Map<string, string>();
  for (const person of people) {
    const begunMs = performance.now();
    const response = await fetch(`${api}/signup`, { method: "POST", body: JSON.stringify(person) });
    const { job, error } = (await response.json()) as { job?: string; error?: string };
    const took = `${Math.ceil(performance.now() - begunMs)} ms`;
    say(
      "people",
      `${person.to}: ${response.status} after ${took}, ${job === undefined ? error : `job ${job}`}`,
    );
    if (job !== undefined) jobs.set(job, person.to);
  }

  say("people", `${jobs.size} mails are to be sent, and no mailer runs yet`);
  await start("worker");
  for (const [id, to] of jobs) say("people", `${to}: ${await ended(`${api}/jobs/${id}`)}`);
  say("outbox", readdirSync(outbox).map(decodeURIComponent).join(", "));
} finally {
  for (const child of children.toReversed()) {
    child.kill("SIGTERM");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  rmSync(directory, { recursive: true });
}

/** Starts `<name>.ts` and resolves with the first line that it prints: it is ready then. */
async function start(name: "api" | "worker"): Promise<string> {
  const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`)], {
    env: { ...process.env, WARREN_URL: `embedded:${join(directory, "data")}`, OUTBOX: outbox, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => say(name, line));
  const [first] = (await Promise.race([once(lines, "line"), once(lines, "close")])) as string[];
  if (first === undefined) throw new Error(`${name}.ts ended before it was ready`);
  return first;
}

async function ended(url: string): Promise<string> {
  for (;;) {
    const { phase } = (await (await fetch(url)).json()) as { phase: string };
    if (phase === "completed" || phase === "dead" || phase === "cancelled") return phase;
    await sleep(100);
  }
}

function say(who: string, what: string): void {
  console.log(`${who.padEnd(7)} ${what}`);
}

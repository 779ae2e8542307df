/**
 * The mailer. Start as many as you like, on one machine with `embedded:`, on several with `amqp:`.
 *
 *     WARREN_URL=embedded:./data npx node examples/signup-email/worker.ts
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"
import { welcomeEmail } from "./contracts.ts";

const outbox = process.env["OUTBOX"] ?? "outbox";
mkdirSync(outbox, { recursive: true });

const bus = await connect(process.env["WARREN_URL"] ?? "embedded:./data");

// At SIGTERM the worker takes no more tasks, finishes those that it has, and lets the process end.
const worker = bus.worker({ concurrency: 3 }).on(welcomeEmail, async ({ name, to }, context) => {
  const { attempt, signal } = context;
  const file = await context.step("send", { effect: "idempotent" }, async ({ idempotencyKey }) => {
    await connectToMailServer(to, attempt, signal);
    // Named by the key: a mail that is sent again after a crash is the same file, not one more.
    const path = join(outbox, `${encodeURIComponent(idempotencyKey)}.txt`);
    writeFileSync(path, `To: ${to}\n\nHello ${name}, please confirm your address.\n`);
    return path;
  });
  console.log(`sent to ${to}${attempt === 1 ? "" : ` at attempt ${attempt}`}`);
  return { file };
});
await worker.start();
console.log(`waiting for ${worker.tasks.join(", ")}`);

/** Stands in for SMTP: slow always, and at a host whose name begins with `slow` not there at first. */
async function connectToMailServer(to: string, attempt: number, signal: AbortSignal): Promise<void> {
  await sleep(300, undefined, { signal });
  const host = to.split("@")[1];
  if (!host.startsWith("slow") || attempt > 1) return;
  console.log(`${host} does not answer`);
  throw new Error(`${host} does not answer`);
}

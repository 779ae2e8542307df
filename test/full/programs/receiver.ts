/**
 * Somebody else's service: `POST /<what>` has an effect, once for each `Idempotency-Key`, and answers some time after it. It says
 * `ready` with its port, and to the line `report` all calls and all effects in their order, as `what key`.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithParent, say } from "../../tasks/programs/say.ts";

/** Whoever calls may die before, while and after the effect is had. */
const longestMs = 20;
/** Some answers come when another worker has taken the task long since. */
const lateMs = 2_000;
const { lateShare = 0.02 } = JSON.parse(process.argv[2]) as { lateShare?: number };
const calls: string[] = [];
const effects = new Set<string>();

const server = createServer((request, response) => {
  const what = request.url!.slice(1);
  const key = String(request.headers["idempotency-key"]);
  // The caller knows that it was heard, and not what has come of it.
  response.flushHeaders();
  void perform(`${what} ${key}`).then((isNew) => response.end(JSON.stringify({ isNew })));
});
server.listen(0, "127.0.0.1", () => say("ready", { port: (server.address() as AddressInfo).port }));
process.stdin.on("data", () => say("report", { calls, effects: [...effects] }));
endWithParent();

async function perform(call: string): Promise<boolean> {
  await sleep(Math.random() * longestMs);
  calls.push(call);
  const isNew = !effects.has(call);
  effects.add(call);
  await sleep(Math.random() < lateShare ? lateMs : Math.random() * longestMs);
  return isNew;
}

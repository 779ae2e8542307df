/**
 * A process with workers, as the settings of its first argument say. It says `ready` when it takes tasks, and for each run of the
 * handler `began` and, when that returns, `ended`, with the task's id, value and attempt.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "./say.ts";
import { workOn, type Act, type Work, type WorkerSettings } from "./work.ts";

const { target, options, workers } = JSON.parse(process.argv[2]) as WorkerSettings;
endWithParent();
const bus = await connect(target, { ...options, logger: sayingLogger });
for (const { queue, act: always, retries, ...workerOptions } of workers) {
  const worker = bus.worker(workerOptions).on(workOn(queue, retries), async (input, context) => {
    const { value, ms = 0, act = "return" } = input as Work;
    const { taskId: id, attempt } = context;
    say("began", { id, value, attempt });
    await perform(always ?? act, ms, context.signal);
    say("ended", { id, value, attempt });
    return value * 2;
  });
  await worker.start();
}
say("ready");

async function perform(act: Act, ms: number, signal: AbortSignal): Promise<void> {
  if (act === "crash") process.kill(process.pid, "SIGKILL");
  if (act === "crash" || act === "hold") await sleep(2 ** 31 - 1, undefined, { signal });
  if (act === "sleep") await sleep(ms);
  if (act === "block") keepBusy(ms);
}

function keepBusy(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

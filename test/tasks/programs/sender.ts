/**
 * A process that sends tasks with growing values. It says `confirmed` with id and value for each that `send` has confirmed, and
 * `rejected` with the error for others. Told `stop`, or after its count of confirms, it waits for what is on its way and ends.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "./say.ts";
import { workOn, type SenderSettings } from "./work.ts";

const settings = JSON.parse(process.argv[2]) as SenderSettings;
const {
  target,
  options,
  queue,
  first,
  count = Number.POSITIVE_INFINITY,
  inFlight,
  pauseMs,
  workMs,
  result,
} = settings;
endWithParent();
const work = workMs === undefined ? {} : { act: "sleep", ms: workMs };
const stopping = new AbortController();
process.stdin.on("data", () => stopping.abort());
const bus = await connect(target, { ...options, logger: sayingLogger });
const task = workOn(queue);
let next = first;
let confirmed = 0;
say("ready");
await Promise.all(Array.from({ length: inFlight }, sendUntilStopped));
say("stopped", { confirmed });
// An embedded broker that serves here ends with its bus, in order.
await bus.close();
process.exit(0);

async function sendUntilStopped(): Promise<void> {
  while (!stopping.signal.aborted && confirmed < count) {
    const value = next++;
    try {
      const { id } = await bus.send(task, { value, ...work }, { result });
      confirmed++;
      say("confirmed", { id, value });
    } catch (error) {
      say("rejected", { value, error: (error as Error).message });
    }
    await sleep(pauseMs);
  }
}

// The generator on its own, against any AMQP 0-9-1 broker on this machine: node bench/load/main.ts --port 5672 --help
import { parseArgs } from "node:util";
import type { LoadPlan } from "./plan.ts";
import { runLoad, withQueues, type LoadResult } from "./run-load.ts";

const HELP = `Options (loopback, guest/guest):
  --port N           5672
  --publish-only     without consumers
  --drain            fills the queues with --count messages, then counts how fast they are consumed
  --size BYTES       16
  --persistent       delivery-mode 2
  --durable          durable queues
  --confirm WINDOW   publisher confirms, at most WINDOW open per connection
  --auto-ack         otherwise --prefetch 200 --ack-every 50
  --queues N         1, each with a publisher and a consumer connection
  --rate N           open loop, messages per second; prints latencies from the time a message was due
  --seconds S        3, after --warm-up 1
  --count N          instead of seconds: until N messages are through`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    port: { type: "string", default: "5672" },
    "publish-only": { type: "boolean" },
    drain: { type: "boolean", default: false },
    size: { type: "string", default: "16" },
    persistent: { type: "boolean", default: false },
    durable: { type: "boolean", default: false },
    confirm: { type: "string", default: "0" },
    "auto-ack": { type: "boolean", default: false },
    prefetch: { type: "string", default: "200" },
    "ack-every": { type: "string", default: "50" },
    queues: { type: "string", default: "1" },
    rate: { type: "string", default: "0" },
    seconds: { type: "string", default: "3" },
    "warm-up": { type: "string", default: "1" },
    count: { type: "string" },
  },
});

if (values.drain && !values.count) throw new Error("--drain needs --count");
if (values.help) console.log(HELP);
else console.log(JSON.stringify(await run(plan())));

function plan(): LoadPlan {
  return {
    port: Number(values.port),
    queues: Array.from({ length: Number(values.queues) }, (_, i) => `load-${i}`),
    roles: values["publish-only"] ? ["publisher"] : ["consumer", "publisher"],
    bodyBytes: Number(values.size),
    persistent: values.persistent,
    durable: values.durable,
    confirmWindow: Number(values.confirm),
    autoAck: values["auto-ack"],
    prefetch: Number(values.prefetch),
    ackEvery: Number(values["ack-every"]),
    ratePerSecond: Number(values.rate),
    length: values.count
      ? { messages: Number(values.count) }
      : { warmUpMs: Number(values["warm-up"]) * 1000, durationMs: Number(values.seconds) * 1000 },
  };
}

async function run(load: LoadPlan): Promise<LoadResult> {
  return withQueues(load, async () => {
    if (!values.drain) return runLoad(load);
    await runLoad({ ...load, roles: ["publisher"] });
    return runLoad({ ...load, roles: ["consumer"] });
  });
}

// A process of the benchmark: one of three agents.
import { Agent, scripted, Swarm } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";

const [target, which] = process.argv.slice(2);
const names = ["First", "Second", "Third"];
const place = Number(which);
const next = names.at(place + 1);
const agent = new Agent({
  name: names[place],
  concurrency: 50,
  handoffs: next === undefined ? [] : [next],
  model: scripted([
    next === undefined ? "Done." : { toolCalls: [{ name: `transfer_to_${next.toLowerCase()}` }] },
  ]),
});
const bus = await connect(target);
await new Swarm(bus, { agents: [agent] }).start();
process.send!("ready");
process.on("disconnect", () => process.exit());

/** kill -9 at each step of a conversation: what it promises holds, wherever it was. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Swarm, type RunEvent } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { eventually } from "../support/eventually.ts";
import type { Program } from "../support/program.ts";
import { startTaskProgram } from "../support/task-program.ts";
import type { OfficeSettings } from "./programs/office.ts";

/** WARREN_AGENT_CRASHES=n dies at each n-th boundary, WARREN_AGENT_FIRST_CRASH=n at this one first. */
const each = Number(process.env["WARREN_AGENT_CRASHES"] ?? 5);
const first = Number(process.env["WARREN_AGENT_FIRST_CRASH"] ?? 1 + (Date.now() % each));

test(
  `a conversation outlives a crash at each ${each}th of its steps, from the ${first}th on`,
  { timeout: 240_000 },
  async () => {
    const directory = dataDirectory();
    const { port } = await startBrokerProcess({ dataDir: join(directory, "broker") });
    const target = `amqp://guest:guest@127.0.0.1:${port}`;
    const options = { state: `sqlite:${join(directory, "state.db")}` };
    const receiver = startTaskProgram(new URL("../full/programs/receiver.ts", import.meta.url), {});
    const receiverPort = Number((await receiver.next("ready"))["port"]);
    const bus = await connect(target, options);
    onTestFinished(() => bus.close());
    const swarm = new Swarm(bus);

    const hasDied: boolean[] = [];
    for (let dieAt = first; hasDied.at(-1) !== false; dieAt += each) {
      const suffix = randomUUID().slice(0, 8);
      const settings: OfficeSettings = { target, options, receiverPort, suffix };
      const start = (more: Partial<OfficeSettings> = {}): Program =>
        startTaskProgram(new URL("programs/office.ts", import.meta.url), { ...settings, ...more });
      const office = start({ dieAt });
      let another: Program | undefined;
      let hasEnded = false;
      office.ended.then(
        () => (another = hasEnded ? undefined : start()),
        () => {},
      );
      // It may die before that.
      await office.next("ready").catch(() => {});
      const run = swarm.run(`triage ${suffix}`, { messages: "Write it!", maxTurns: 20 });
      void eventually(async () => {
        const approval = (await swarm.approvals.list()).find(
          ({ conversation }) => conversation === run.conversation,
        );
        if (approval) await swarm.approvals.resolve(approval.id, { approved: true });
        return approval;
      }).catch(() => {});
      const result = await run;
      hasEnded = true;
      hasDied.push(another !== undefined);
      await (another ?? office).kill();

      receiver.say("report");
      const { calls: all } = (await receiver.next("report")) as unknown as { calls: string[] };
      const calls = all.filter((call) => call.includes(suffix) || call.includes(run.conversation));
      const countOf = (what: string): number => calls.filter((call) => call.startsWith(`${what} `)).length;
      const events: RunEvent[] = [];
      for await (const event of run) events.push(event);
      const replies = events.flatMap((event) => (event.type === "reply" ? [event.turn] : []));
      const results = events.flatMap((event) => (event.type === "tool-result" ? [event.callId] : []));
      const models = calls.filter((call) => call.startsWith("model-"));
      const isDone = result.outcome === "completed";
      const promises = {
        "a model's call is repeated at most once for a crash":
          models.length - new Set(models).size <= (hasDied.at(-1) ? 1 : 0),
        "once is at most once": countOf("notify") <= 1 && countOf("publish") <= 1,
        "idempotent goes by one key": new Set(calls.filter((call) => call.startsWith("charge "))).size === 1,
        "no turn is told twice": replies.length === new Set(replies).size,
        "no call has two results": results.length === new Set(results).size,
        "what is completed has done all":
          !isDone ||
          (result.content === "It is published." &&
            countOf("notify") + countOf("publish") + replies.length === 7),
        "what is not completed says what nobody knows":
          isDone ||
          /^unknown-outcome: step 'tool .*nobody knows whether it was done/.test(result.reason ?? ""),
      };
      const broken = Object.entries(promises).filter(([, isKept]) => !isKept);
      expect({ dieAt, broken, ...(broken.length > 0 && { calls, result }) }).toEqual({ dieAt, broken: [] });
    }
    // The last went all the way.
    expect(hasDied.length).toBeGreaterThan(60 / each);
  },
);

/** kill -9 at each step of a conversation: what it promises holds, wherever it was. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Swarm, type RunEvent } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { eventually } from "../support/eventually.ts";
import { startTaskProgram } from "../support/task-program.ts";
import type { OfficeSettings } from "./programs/office.ts";

/** WARREN_AGENT_CRASHES=n dies at each n-th boundary only. */
const each = Number(process.env["WARREN_AGENT_CRASHES"] ?? 4);

test(`a conversation outlives a crash at every ${each}th of its steps`, { timeout: 240_000 }, async () => {
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
  for (let dieAt = 1; hasDied.at(-1) !== false; dieAt += each) {
    const suffix = randomUUID().slice(0, 8);
    const settings: OfficeSettings = { target, options, receiverPort, suffix };
    const office = startTaskProgram(new URL("programs/office.ts", import.meta.url), { ...settings, dieAt });
    await office.next("ready");
    let another: typeof office | undefined;
    let hasEnded = false;
    void office.ended.then(() => {
      if (!hasEnded) another = startTaskProgram(new URL("programs/office.ts", import.meta.url), settings);
    });
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
    const where = `died at ${dieAt}: ${result.reason ?? ""}\n${calls.join("\n")}`;
    const countOf = (what: string): number => calls.filter((call) => call.startsWith(`${what} `)).length;
    const crashes = hasDied.at(-1) ? 1 : 0;
    // A call of the model is repeated at most once for a crash.
    const models = calls.filter((call) => call.startsWith("model-"));
    expect(models.length - new Set(models).size, where).toBeLessThanOrEqual(crashes);
    // Once is at most once; where nobody knows whether it was, the run says so.
    expect(countOf("notify"), where).toBeLessThanOrEqual(1);
    expect(countOf("publish"), where).toBeLessThanOrEqual(1);
    // Idempotent: by one key, however often.
    expect(new Set(calls.filter((call) => call.startsWith("charge "))).size, where).toBe(1);
    const events: RunEvent[] = [];
    for await (const event of run) events.push(event);
    const replies = events.flatMap((event) => (event.type === "reply" ? [event.turn] : []));
    expect(replies, where).toEqual([...new Set(replies)]);
    const results = events.flatMap((event) => (event.type === "tool-result" ? [event.callId] : []));
    expect(results, where).toEqual([...new Set(results)]);
    if (result.outcome === "completed") {
      expect(result, where).toMatchObject({ content: "It is published.", agent: `writer ${suffix}` });
      expect([countOf("notify"), countOf("publish")], where).toEqual([1, 1]);
      expect(replies, where).toHaveLength(5);
    } else {
      expect(result.outcome, where).toBe("failed");
      expect(result.reason, where).toMatch(/unknown-outcome: step 'tool .*nobody knows whether it was done/);
    }
  }
  // The last went all the way.
  expect(hasDied.length).toBeGreaterThan(60 / each);
});

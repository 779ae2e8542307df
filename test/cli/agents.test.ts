/** `warren agents`, as people and scripts use it. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Agent, scripted, Swarm, tool, type SwarmOptions } from "../../src/agents/index.ts";
import { connect } from "../../src/tasks/index.ts";
import { runCommand } from "../support/command.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { eventually } from "../support/eventually.ts";

const greeter = new Agent({
  name: "Greeter",
  role: "Greets",
  model: scripted(({ messages }) => `Hello, ${messages.filter(({ role }) => role === "user").length}!`),
});
const payer = new Agent({
  name: "Payer",
  model: scripted([{ toolCalls: [{ name: "pay", arguments: { euro: 5 } }] }, "Done."]),
  tools: { pay: tool({ description: "Pays", needsApproval: true, parameters: {}, execute: () => "paid" }) },
});

async function started(options: SwarmOptions): Promise<Record<string, string>> {
  const url = `embedded:${join(dataDirectory(), "data")}`;
  const bus = await connect(url);
  onTestFinished(() => bus.close());
  await new Swarm(bus, options).start();
  return { WARREN_URL: url };
}

test("agents are listed, asked, and their conversations shown", async () => {
  const where = await started({ agents: [greeter] });
  const warren = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runCommand(["agents", ...args], where);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.trimEnd();
  };
  expect(await warren("list")).toMatch(
    /^agent +role +status +waiting +consumers +started\nGreeter +Greets +active +0 +1 +\d{4}-/,
  );
  expect(JSON.parse(await warren("status"))).toEqual({
    Greeter: {
      queue_name: "agent_greeter_queue",
      message_count: 0,
      consumer_count: 1,
      routing_key: "agent.greeter",
      status: "active",
    },
  });
  expect(await warren("send", "Greeter", "Hi")).toBe("Hello, 1!");
  const id = await warren("send", "Greeter", "Hi", "--no-wait");
  const said = await eventually(async () => {
    const text = await warren("history", id);
    return text.includes("Hello") ? text : undefined;
  });
  expect(said).toBe("user: Hi\nGreeter: Hello, 1!");
  expect(await warren("send", "Greeter", "And again", "--conversation", id)).toBe("Hello, 2!");
  expect(await warren("history")).toMatch(
    new RegExp(`^conversation +agent +status +turn +outcome +changed\\n${id} +Greeter +done +2 +completed`),
  );
  const missing = await runCommand(["agents", "send", "Nobody", "Hi"], where);
  expect([missing.code, missing.stderr]).toEqual([
    1,
    expect.stringMatching(
      /^no queue takes what is published to exchange 'agent_exchange' with key 'agent.nobody'/,
    ),
  ]);
});

test("calls are approved and refused", async () => {
  const where = await started({ agents: [payer] });
  const warren = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runCommand(["agents", ...args], where);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.trimEnd();
  };
  for (const [args, result] of [
    [[], "paid"],
    [["--refuse", "too much"], "A person has refused this call: too much"],
  ] as const) {
    const conversation = await warren("send", "Payer", "Pay!", "--no-wait");
    const approval = await eventually(async () => {
      const open = (await warren("approve", "--json")).split("\n").filter((line) => line !== "");
      return open.map((line) => JSON.parse(line) as { id: string; arguments: string }).at(0);
    });
    expect(approval).toMatchObject({ conversation, agent: "Payer", name: "pay", arguments: '{"euro":5}' });
    expect(await warren("approve", approval.id, ...args)).toMatch(/(approved|refused)$/);
    const said = await eventually(async () => {
      const text = await warren("history", conversation);
      return text.includes("Done.") ? text : undefined;
    });
    expect(said).toBe(`user: Pay!\nPayer calls pay({"euro":5})\npay: ${result}\nPayer: Done.`);
  }
});

test("a chat shows what is said, by whom, and asks for approval", async () => {
  const triage = new Agent({
    name: "Triage",
    handoffs: [payer],
    model: scripted([{ toolCalls: [{ name: "transfer_to_payer" }] }]),
  });
  const where = await started({ agents: [triage, payer] });
  const { code, stdout } = await runCommand(["agents", "chat", "Triage"], where, "Pay!\ny\n");
  expect(code).toBe(0);
  expect(stdout).toContain("Triage hands over to Payer");
  expect(stdout).toContain('calls pay({"euro":5})');
  expect(stdout).toContain("may it? [y/N]");
  expect(stdout).toMatch(/Done\.\n/);
  expect(stdout).toMatch(/Go on with --conversation [0-9a-f-]{36}\n$/);
});

test("agents need state, and the command says so", async () => {
  const { code, stderr } = await runCommand(["agents", "list"], { WARREN_URL: "amqp://127.0.0.1:1" });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/No AMQP broker answers/)]);
});

/** Kills a process of agents at the boundaries of a conversation, one after the other, and looks at what it promises. */
import { randomUUID } from "node:crypto";
import { expect, onTestFinished } from "vitest";
import { Swarm, type RunEvent, type RunResult } from "../../src/agents/index.ts";
import { connect, type Bus } from "../../src/tasks/index.ts";
import { eventually } from "../support/eventually.ts";
import type { Program } from "../support/program.ts";
import { startTaskProgram } from "../support/task-program.ts";
import { selectedPlaces, startPlace, type Place, type PlaceName } from "./places.ts";
import type { Boundary, OfficeOrder, OfficeSettings } from "./programs/office.ts";

export interface CrashSite {
  readonly place: PlaceName;
  /** The embedded broker runs in the process that is killed; else in another. */
  readonly isBroker: boolean;
}

/** With their names in tests. */
export const crashSites: [string, CrashSite][] = selectedPlaces.flatMap((place): [string, CrashSite][] =>
  place === "on an embedded broker"
    ? [
        [`${place} in the killed process`, { place, isBroker: true }],
        [`${place} in another process`, { place, isBroker: false }],
      ]
    : [[place, { place, isBroker: false }]],
);

/** Where it dies when it dies everywhere, among other places. */
export const boundaries: string[] = [
  "before input is recorded",
  "before turn is published",
  ...["model-triage", "look", "charge", "notify", "model-writer", "model-reviewer", "publish"].flatMap(
    (call) => [`before ${call}`, `in ${call}`, `after ${call}`],
  ),
  "before reply is recorded",
  "before tool-result of charge is recorded",
  "before tool-begun is recorded",
  "before tool-result of notify is recorded",
  "before tool-result of transfer_to_writer, handoff, next is recorded",
  "before asked is recorded",
  "before message is published",
  "before answer is published",
  "before answered is recorded",
  "before approval-requested of publish is recorded",
  "before approval is published",
  "before parked is recorded",
  "before approval-resolved is recorded",
  "before tool-result of publish is recorded",
  "before done is recorded",
  "before it is acknowledged",
];

/** Somebody who may be killed, and who takes over then. */
interface Offices {
  readonly office: Program;
  readonly standby: Program;
}

interface Round extends Offices {
  readonly bus: Bus;
  readonly receiver: Program;
  readonly suffix: string;
  readonly dieAt: Boundary | "while all wait" | "nowhere";
}

interface RoundResult {
  readonly hasDied: boolean;
  /** In their order. */
  readonly passed: readonly Boundary[];
}

/**
 * A conversation that gets through shows the boundaries; one for each `each`th of them, from the `first` on, dies there. Resolves with
 * where they have died.
 */
export async function crashAtBoundaries(site: CrashSite, each: number, first: number): Promise<string[]> {
  const place = await startPlace(site.place);
  const receiver = startTaskProgram(new URL("../full/programs/receiver.ts", import.meta.url), {
    lateShare: 0,
  });
  const receiverPort = Number((await receiver.next("ready"))["port"]);
  const suffix = randomUUID().slice(0, 8);
  const settings: OfficeSettings = { ...place, receiverPort, suffix };
  const startOffice = (): Program =>
    startTaskProgram(new URL("programs/office.ts", import.meta.url), settings);

  let bus = site.isBroker ? undefined : await connectTo(place);
  let [office, standby] = [startOffice(), startOffice()];
  const takeTurns = (): void => {
    const successor = standby;
    void office.ended.then(() => order(successor, { start: true }));
  };
  takeTurns();
  order(office, { start: true });
  await office.next("ready");
  const round = async (dieAt: Round["dieAt"]): Promise<RoundResult> => {
    bus ??= await connectTo(place);
    const result = await play({ office, standby, bus, receiver, suffix, dieAt });
    if (result.hasDied) {
      [office, standby] = [standby, startOffice()];
      takeTurns();
    }
    if (site.isBroker) {
      // Whoever is left is the broker then.
      await bus.close();
      bus = undefined;
    }
    return result;
  };

  const { passed } = await round("nowhere");
  const places: string[] = [];
  for (const dieAt of passed.filter((_, index) => index + 1 >= first && (index + 1 - first) % each === 0)) {
    // What comes first of two decides whether there is this boundary.
    for (let tries = 1; tries <= 3; tries++) {
      const { hasDied } = await round(dieAt);
      if (!hasDied) continue;
      places.push(dieAt.at);
      break;
    }
  }
  expect((await round("while all wait")).hasDied).toBe(true);
  return places;
}

async function connectTo({ target, options }: Place): Promise<Bus> {
  const bus = await connect(target, options);
  onTestFinished(() => bus.close());
  return bus;
}

function order(office: Program, what: OfficeOrder): void {
  office.say(JSON.stringify(what));
}

/** One conversation, through one crash. */
async function play(round: Round): Promise<RoundResult> {
  const { office, standby, bus, suffix, dieAt } = round;
  const conversation = randomUUID();
  const swarm = new Swarm(bus);
  order(office, { conversation, ...(typeof dieAt === "object" && { dieAt }) });
  await office.next("armed");
  const run = swarm.run(`triage ${suffix}`, {
    conversation,
    messages: `Write it! ${conversation}`,
    maxTurns: 20,
  });
  const events: RunEvent[] = [];
  for await (const event of run) {
    events.push(event);
    if (event.type !== "approval") continue;
    if (dieAt === "while all wait") {
      await eventually(async () => (await isWaiting(swarm, conversation)) || undefined);
      await office.kill();
    }
    // Two decide at once, and one of them may be late.
    const decide = (): Promise<void> => swarm.approvals.resolve(event.id, { approved: true });
    await Promise.any([decide(), decide()]);
  }
  const result = await run;
  // The last that it does is to say that the turn is over.
  const { turn } = events.at(-1) as RunEvent & { type: "done" };
  await bus
    .job(`${conversation}:${turn}`)
    .result({ timeout: 10_000 })
    .catch(() => {});
  order(office, {});
  const hasDied = await Promise.race([office.next("armed").then(() => false), office.ended.then(() => true)]);
  if (hasDied) await standby.next("ready");
  const passed = office.untaken("boundary") as unknown as Boundary[];
  await office.take("boundary", hasDied ? 0 : passed.length);
  await look({ ...round, conversation, hasDied, events, result });
  return { hasDied, passed };
}

async function isWaiting(swarm: Swarm, conversation: string): Promise<boolean> {
  return (await swarm.conversations()).some(({ id, status }) => id === conversation && status === "waiting");
}

interface Played extends Round {
  readonly conversation: string;
  readonly hasDied: boolean;
  readonly events: readonly RunEvent[];
  readonly result: RunResult;
}

/** What is promised, wherever it has died. */
async function look(played: Played): Promise<void> {
  const { bus, receiver, conversation, suffix, dieAt, hasDied, events, result } = played;
  receiver.say("report");
  const report = (await receiver.next("report")) as unknown as Record<"calls" | "effects", string[]>;
  const calls = report.calls.filter((call) => call.includes(conversation));
  const ofWhat = (what: string, all: readonly string[]): string[] =>
    all.filter((call) => call.startsWith(`${what} `) && call.includes(conversation));
  const models = calls.filter((call) => call.startsWith("model-"));
  const replies = events.flatMap((event) => (event.type === "reply" ? [event.turn] : []));
  const results = events.flatMap((event) => (event.type === "tool-result" ? [event.callId] : []));
  const diedAt = hasDied && typeof dieAt === "object" ? dieAt.at : "";
  const isUnknown = /(before|in|after) (notify|publish)$|tool-result of (notify|publish) is/.test(diedAt);
  const letters = isUnknown
    ? await eventually(async () => {
        const of = diedAt.includes("notify") ? "triage" : "writer";
        const found = await bus
          .deadLetters(`agent_${of}_${suffix}_queue`)
          .browse({ where: ({ taskId }) => taskId?.startsWith(conversation) ?? false });
        return found.length > 0 ? found.map(({ reason }) => reason) : undefined;
      })
    : [];
  const said = result.messages.map(({ role, content, ...more }) => {
    const name = "name" in more ? more.name : undefined;
    const line = role === "tool" ? `tool ${name}` : `${name ?? role}: ${content}`;
    return line
      .replace(conversation, "")
      .replace(new RegExp(`[ _]${suffix}`), "")
      .trim();
  });
  const promises = {
    "a call of a model is repeated at most once": models.length - new Set(models).size <= (hasDied ? 1 : 0),
    "once is at most once": ofWhat("notify", calls).length <= 1 && ofWhat("publish", calls).length <= 1,
    "what is idempotent has one effect": ofWhat("charge", report.effects).length === 1,
    "no turn is told twice": replies.length === new Set(replies).size,
    "no call has two results": results.length === new Set(results).size,
    "what nobody knows is said, and nothing else": isUnknown
      ? result.outcome === "failed" && /nobody knows whether it was done/.test(result.reason ?? "")
      : result.outcome === "completed",
    "what nobody knows is a dead letter": letters.join() === (isUnknown ? "unknown-outcome" : ""),
    "all was said once, and in order": isUnknown || said.join("\n") === transcript.join("\n"),
    "nothing was counted twice": isUnknown || result.usage.inputTokens === 60,
    "all was done": isUnknown || ofWhat("notify", calls).length + ofWhat("publish", calls).length === 2,
  };
  const broken = Object.entries(promises).flatMap(([promise, isKept]) => (isKept ? [] : [promise]));
  const seen = broken.length > 0 && { calls, result, said, letters, events };
  expect({ dieAt, hasDied, broken, ...seen }).toEqual({ dieAt, hasDied, broken: [] });
}

const transcript = [
  "user: Write it!",
  "triage:",
  "tool look",
  "tool charge",
  "tool notify",
  "triage:",
  "tool transfer_to_writer",
  "writer:",
  "tool review",
  "writer:",
  "tool publish",
  "writer: It is published.",
];

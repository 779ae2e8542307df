/**
 * What each backend is said to do, held against what it does, and against the table in docs/backends.md. With
 * WARREN_WRITE_DOCS=1 the table's columns are written anew: run oxfmt then.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectAmqplib } from "amqplib";
import { expect, test, vi } from "vitest";
import {
  CapabilityError,
  defineTask,
  type Bus,
  type Capabilities,
  type ConnectOptions,
  type Support,
} from "../../../src/tasks/index.ts";
import { describeEachBackend, type Backend, type BackendName } from "../../support/backends.ts";

const waiting = { timeout: 10_000, interval: 25 };

/** Each says whether the backend does it; how well only where that can be seen from outside. */
const probes: Record<
  Exclude<keyof Capabilities, "crashAttempts">,
  (bus: Bus, backend: Backend, options: ConnectOptions) => Promise<boolean | Support>
> = {
  async delay(bus, backend) {
    const task = taskOn(backend);
    bus.worker().on(task, () => Date.now());
    await (await bus.send(task, {})).result(waiting);
    const sentMs = Date.now();
    const job = await bus.send(task, {}, { delay: 100 });
    return ((await job.result(waiting)) as number) >= sentMs + 100;
  },
  async priority(bus, backend) {
    const task = taskOn(backend);
    const order: unknown[] = [];
    const jobs = [];
    for (const priority of [1, 9]) jobs.push(await bus.send(task, priority, { priority }));
    bus.worker({ concurrency: 1 }).on(task, (priority) => void order.push(priority));
    await Promise.all(jobs.map((job) => job.result(waiting)));
    return order[0] === 9;
  },
  async expiry(bus, backend) {
    const task = defineTask("probe", { ...taskOn(backend), ttl: 100 });
    await bus.send(task, {}, { result: false });
    const letters = bus.deadLetters(task);
    await vi.waitFor(
      async () => expect(await letters.browse()).toMatchObject([{ reason: "expired" }]),
      waiting,
    );
    return true;
  },
  async deadLetters(bus, backend) {
    const task = taskOn(backend);
    await dead(bus, task);
    return (await bus.deadLetters(task).browse())[0].reason === "failed";
  },
  async browse(bus, backend) {
    const task = taskOn(backend);
    await dead(bus, task);
    const look = async (): Promise<unknown[]> =>
      (await bus.deadLetters(task).browse()).map(({ taskId }) => taskId);
    const first = await look();
    return first.length === 1 && first[0] === (await look())[0];
  },
  async redrive(bus, backend) {
    const task = taskOn(backend);
    await dead(bus, task);
    await bus.deadLetters(task).redrive();
    const [{ ready, dead: left }] = await bus.status([task.queue as string]);
    return ready === 1 && left === 0;
  },
  async results(bus, backend) {
    const task = taskOn(backend);
    bus.worker().on(task, () => "done");
    const job = await bus.send(task, {});
    if ((await job.result(waiting)) !== "done") return "none";
    // Native: whoever knows the id may ask.
    return (await isGranted(async () => bus.job(job.id).result(waiting))) ? "native" : "emulated";
  },
  async cancel(bus, backend) {
    const task = taskOn(backend);
    const job = await bus.send(task, "cancelled");
    if (!(await isGranted(() => job.cancel()))) return false;
    const done: unknown[] = [];
    bus.worker({ concurrency: 1 }).on(task, (input) => void done.push(input));
    await (await bus.send(task, "other")).result(waiting);
    return done.join() === "other";
  },
  async state(bus, backend) {
    const job = await bus.send(taskOn(backend), {});
    return isGranted(async () => expect(await job.state()).toMatchObject({ phase: "queued" }));
  },
  async steps(bus, backend) {
    const task = taskOn(backend);
    bus.worker().on(task, (_input, context) => isGranted(() => context.step("one", () => 1)));
    return (await (await bus.send(task, {})).result(waiting)) as boolean;
  },
  async durability(bus, backend, options) {
    const task = taskOn(backend);
    await bus.send(task, {}, { result: false });
    await bus.close();
    const again = await backend.connect(options);
    const [{ ready }] = await again.status([task.queue as string]);
    return (
      ready === 1 && (backend.url === undefined || (await isPersistent(backend.url, task.queue as string)))
    );
  },
};

const names = Object.keys(probes) as (keyof typeof probes)[];
const withoutState: readonly BackendName[] = ["warren serve", "rabbitmq classic", "rabbitmq quorum"];

describeEachBackend("capabilities", (backend, name) => {
  test("it does what it is declared to do, and refuses what it is not", async () => {
    const { found, declared } = await probeAll(backend(), {});
    expect(found).toEqual(declared);
  });

  test.runIf(withoutState.includes(name))("the same without state", async () => {
    const { found, declared } = await probeAll(backend(), { state: "none" });
    expect(found).toEqual(declared);
  });

  test("docs/backends.md says the same", async () => {
    const { capabilities } = await backend().connect();
    const bare = withoutState.includes(name) ? await backend().connect({ state: "none" }) : undefined;
    const column = Object.entries(capabilities).map(([capability, support]) => {
      const without = bare?.capabilities[capability as keyof Capabilities] ?? support;
      return [capability, without === support ? support : `${support}; without state ${without}`] as const;
    });
    if (process.env["WARREN_WRITE_DOCS"] === "1") writeColumn(name, column);
    expect(readColumn(name)).toEqual(Object.fromEntries(column));
  });
});

type Findings = Record<string, boolean | Support>;

/** What the probes have found, and what they should have. */
async function probeAll(
  backend: Backend,
  options: ConnectOptions,
): Promise<{ found: Findings; declared: Findings }> {
  const bus = await backend.connect(options);
  const [found, declared]: Findings[] = [{}, {}];
  // Durability last: its probe closes the bus.
  for (const name of names) {
    const support = bus.capabilities[name];
    found[name] = await probes[name](bus, backend, options);
    // Where a probe cannot see how well it is done, it can see whether it is.
    declared[name] = typeof found[name] === "boolean" ? support !== "none" : support;
  }
  return { found, declared };
}

function taskOn(backend: Backend) {
  return defineTask("probe", { queue: backend.queueName("probe"), retry: false });
}

/** Brings a task to its dead letters and leaves no worker behind. */
async function dead(bus: Bus, task: ReturnType<typeof taskOn>): Promise<void> {
  await bus.send(task, {}, { result: false });
  const worker = bus.worker().on(task, () => {
    throw new Error("no");
  });
  await vi.waitFor(async () => expect(await bus.deadLetters(task).count()).toBe(1), waiting);
  await worker.close();
}

async function isGranted(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (error instanceof CapabilityError) return false;
    throw error;
  }
}

async function isPersistent(url: string, queue: string): Promise<boolean> {
  const connection = await connectAmqplib(url);
  const channel = await connection.createChannel();
  const message = await channel.get(queue, { noAck: true });
  await connection.close();
  return message !== false && (message.properties.deliveryMode as number) === 2;
}

const file = join(import.meta.dirname, "../../../docs/backends.md");
const begin = "<!-- written by test/contracts/transport/capabilities.test.ts -->";
const end = "<!-- end -->";
const headings: Record<BackendName, string> = {
  "embedded memory": "`embedded::memory:`",
  "embedded durable": "`embedded:./data`",
  "warren serve": "`amqp:` to Warren",
  "rabbitmq classic": "RabbitMQ, classic",
  "rabbitmq quorum": "RabbitMQ, quorum",
};

function readTable(): { before: string; rows: string[][]; after: string } {
  const text = readFileSync(file, "utf8");
  const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  const rows = text
    .slice(from, to)
    .trim()
    .split("\n")
    .map((line) => line.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
  return { before: text.slice(0, from), rows: rows.filter((_, index) => index !== 1), after: text.slice(to) };
}

function readColumn(name: BackendName): Record<string, string> {
  const { rows } = readTable();
  const column = rows[0].indexOf(headings[name]);
  return Object.fromEntries(rows.slice(1).map((row) => [row[0].replaceAll("`", ""), row[column]]));
}

function writeColumn(name: BackendName, cells: readonly (readonly [string, string])[]): void {
  const { before, rows, after } = readTable();
  const [heading] = rows;
  if (!heading.includes(headings[name])) heading.push(headings[name]);
  const column = heading.indexOf(headings[name]);
  for (const [capability, cell] of cells) {
    let row = rows.find(([first]) => first === `\`${capability}\``);
    if (row === undefined) rows.push((row = [`\`${capability}\``]));
    row[column] = cell;
  }
  const lines = rows.map((row) => `| ${heading.map((_, index) => row[index] ?? "").join(" | ")} |`);
  lines.splice(1, 0, `|${"---|".repeat(heading.length)}`);
  writeFileSync(file, `${before}\n\n${lines.join("\n")}\n\n${after}`);
}

/** `warren tasks`, `warren dlq` and `warren worker`, as people and scripts use them. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { connect, defineTask, Fatal, type Bus, type QueueReport } from "../../src/tasks/index.ts";
import { environment, program, runCommand, type Outcome } from "../support/command.ts";

const root = join(import.meta.dirname, "../..");

interface Place {
  /** What the commands are given to find the broker, and the state. */
  where: Record<string, string>;
  bus: Bus;
}

describe.concurrent.each(["embedded", "amqp"] as const)("warren tasks, dlq and worker [%s]", (kind) => {
  let place: Place;
  let broker: Broker | undefined;
  let count = 0;
  const directory = mkdtempSync(join(tmpdir(), "warren-cli-"));
  const queueName = (): string => `queue-${++count}`;

  beforeAll(async () => {
    if (kind === "embedded") {
      // The test's own process serves; the commands attach to it.
      const url = `embedded:${join(directory, "data")}`;
      place = { where: { WARREN_URL: url }, bus: await connect(url) };
    } else {
      broker = await startBroker({ port: 0 });
      const state = `sqlite:${join(directory, "state.db")}`;
      place = {
        where: { WARREN_URL: broker.url, WARREN_STATE: state },
        bus: await connect(broker.url, { state }),
      };
    }
  });
  afterAll(async () => {
    await place.bus.close();
    await broker?.stop();
    rmSync(directory, { recursive: true, maxRetries: 5 });
  });

  const warren = (...args: string[]): Promise<Outcome> => runCommand(args, place.where);
  const succeed = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await warren(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.trimEnd();
  };

  test("b4 c5 new_task sends tasks with a dot for each second of work, and two workers share them", async (context) => {
    const queue = queueName();
    const file = join(directory, `${queue}.mjs`);
    // A hundredth of a second instead of a second.
    writeFileSync(
      file,
      `import { defineTask } from ${JSON.stringify(pathToFileURL(join(root, "dist/tasks/index.js")).href)};
       import { setTimeout as sleep } from "node:timers/promises";
       const work = defineTask("work", { queue: ${JSON.stringify(queue)} });
       export default (worker) => worker.on(work, async ({ text }) => {
         const dots = text.split(".").length - 1;
         await sleep(dots * 10);
         return { text, dots, by: process.pid };
       });`,
    );
    const workers = [startWorker(file, place.where), startWorker(file, place.where)];
    context.onTestFinished(() => workers.forEach((worker) => worker.kill("SIGKILL")));
    for (const worker of workers) expect(await firstLine(worker)).toMatch(/^working on work; Ctrl\+C/);
    const texts = ["First.", "Second..", "Third...", "Fourth....", "Fifth....."];
    const sent = await Promise.all(
      texts.map((text) =>
        succeed("tasks", "send", "work", JSON.stringify({ text }), "--queue", queue, "--wait"),
      ),
    );
    const results = sent.map((text) => {
      const [id, result] = text.split("\n");
      expect(id).toMatch(/^[0-9a-f-]{36}$/);
      return JSON.parse(result) as { text: string; dots: number; by: number };
    });
    expect(results.map(({ text, dots }) => [text, dots])).toEqual(texts.map((text, i) => [text, i + 1]));
    const pids = workers.map(({ pid }) => pid);
    for (const { by } of results) expect(pids).toContain(by);
    // Both have been asked: the broker goes round.
    expect(new Set(results.map(({ by }) => by)).size).toBe(2);
    for (const worker of workers) {
      worker.kill("SIGTERM");
      expect(await once(worker, "exit")).toEqual([0, null]);
    }
  });

  test("b2 a task is sent and looked at, before, while and after a worker is at it", async () => {
    const queue = queueName();
    const id = await succeed("tasks", "send", "greet", '{"name":"Ada"}', "--queue", queue, "--priority", "7");
    const later = await succeed("tasks", "send", "greet", "--queue", queue, "--id", "greet-2", "--json");
    expect(JSON.parse(later)).toEqual({ id: "greet-2" });
    expect(await succeed("tasks", "status", queue)).toMatch(
      new RegExp(`^queue +ready +unacked +consumers +done/s +oldest +dead\n${queue} +2 +0 +0 +0.0 +.+ +0$`),
    );

    const { code, stderr } = await warren("tasks", "result", id, "--timeout", "100");
    expect([code, stderr]).toEqual([
      1,
      `no result of ${id} after 100 ms: no worker has begun it, or there is no such task\n`,
    ]);

    const priorities: unknown[] = [];
    const worker = place.bus.worker({ concurrency: 1 }).on(defineTask("greet", { queue }), (input) => {
      priorities.push(input);
      const { name } = input as { name?: string };
      return name && `Hello ${name}`;
    });
    await worker.start();
    expect(await succeed("tasks", "result", id)).toBe('"Hello Ada"');
    // A handler that returns nothing: JSON all the same.
    expect(await succeed("tasks", "result", "greet-2")).toBe("null");
    expect(priorities).toEqual([{ name: "Ada" }, {}]);
    const [report] = lines<QueueReport>(await succeed("tasks", "status", queue, "--json"));
    expect(report).toMatchObject({ queue, ready: 0, unacked: 0, consumers: 1, dead: 0 });
    const rows = lines<object>(
      await succeed("tasks", "list", "--queue", queue, "--phase", "completed", "--json"),
    );
    expect(rows).toHaveLength(2);
    expect(rows).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id, type: "greet", phase: "completed", attempt: 1 }),
      ]),
    );
    expect(await succeed("tasks", "list", "--queue", queue, "--limit", "1")).toMatch(
      /^id +type +queue +phase +attempt +started +error\n\S+ +greet .* completed +1 +\d{4}-\S+Z +-$/,
    );
    await worker.close();
  });

  test("a task is cancelled: it never begins", async () => {
    const queue = queueName();
    const id = await succeed("tasks", "send", "never", "--queue", queue, "--delay", "50");
    expect(await succeed("tasks", "cancel", id)).toBe(`${id} cancelled`);
    let runs = 0;
    const worker = place.bus.worker().on(defineTask("never", { queue }), () => void runs++);
    await worker.start();
    await vi.waitFor(async () => expect(await place.bus.status([queue])).toMatchObject([{ ready: 0 }]), {
      timeout: 15_000,
    });
    await sleep(100);
    await worker.close();
    expect(runs).toBe(0);
    expect(await warren("tasks", "result", id)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: `task ${id} was cancelled\n`,
    });

    const done = await place.bus.send(defineTask("never", { queue }), {});
    await using again = place.bus.worker().on(defineTask("never", { queue }), () => "done");
    await again.start();
    await done.result({ timeout: 15_000 });
    expect(await warren("tasks", "cancel", done.id)).toMatchObject({
      code: 1,
      stderr: `task ${done.id} had ended before\n`,
    });
  });

  test("d14 dead letters are listed, shown, sent again with another payload, and discarded", async () => {
    const queue = queueName();
    const task = defineTask("mail", { queue, retry: false });
    const [first, second, third] = await place.bus.sendMany(task, [{ to: "a" }, { to: "b" }, { to: "c" }]);
    const worker = place.bus.worker({ concurrency: 1 }).on(task, (input) => {
      const { to } = input as { to: string };
      if (to === "b") throw new Fatal("b has moved");
      if (to !== "ok") throw new Error(`nobody called ${to}`);
      return to;
    });
    await worker.start();
    const letters = place.bus.deadLetters(task);
    await vi.waitFor(async () => expect(await letters.count()).toBe(3), { timeout: 15_000 });

    const table = await succeed("dlq", "list", queue);
    expect(table).toMatch(/^id +type +reason +queue +attempts +died +last error\n/);
    expect(table).toMatch(new RegExp(`${second.id} +mail +fatal +${queue} +1 +\\d{4}-\\S+Z +b has moved`));
    const listed = lines<{ taskId: string }>(
      await succeed("dlq", "list", queue, "--reason", "failed", "--since", "2026-01-31T12:00", "--json"),
    );
    expect(listed.map(({ taskId }) => taskId)).toEqual([first.id, third.id]);
    expect(JSON.parse(await succeed("dlq", "show", queue, "--id", second.id))).toMatchObject({
      taskId: second.id,
      payload: { to: "b" },
      errors: [{ attempt: 1, name: "Fatal", message: "b has moved" }],
    });

    // No progress bar where nobody looks.
    expect(
      await succeed("dlq", "redrive", queue, "--id", first.id, "--set", '{"to":"ok"}', "--rate", "50"),
    ).toBe("1 sent again");
    expect(await succeed("tasks", "result", first.id, "--timeout", "15000")).toBe('"ok"');

    const refused = await warren("dlq", "discard", queue);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^this would discard all letters: say which .*or --all\n$/);
    expect(await letters.count()).toBe(2);
    expect(await succeed("dlq", "discard", queue, "--reason", "fatal", "--json")).toBe('{"discarded":1}');
    expect(await succeed("dlq", "discard", queue, "--all")).toBe("1 discarded");
    expect(await letters.count()).toBe(0);
    await worker.close();
  });

  test("d14 letters are found and sent again where the queue was described in another way", async () => {
    const [name, failed] = [queueName(), queueName()];
    const deadLetter = { exchange: `${name}.agent_dlx`, routingKey: failed, queue: failed };
    const task = defineTask("agent", { queue: { name, ttl: 300_000, deadLetter }, retry: false });
    const job = await place.bus.send(task, {});
    const worker = place.bus.worker().on(task, () => {
      throw new Error("no");
    });
    await worker.start();
    await vi.waitFor(async () => expect(await place.bus.deadLetters(task).count()).toBe(1), {
      timeout: 15_000,
    });
    await worker.close();
    const where = ["--dead-letter-queue", failed];
    expect(lines<object>(await succeed("dlq", "list", name, ...where, "--json"))).toMatchObject([
      { taskId: job.id, reason: "failed", queue: name },
    ]);
    expect(await succeed("dlq", "redrive", name, ...where, "--json")).toBe('{"redriven":1}');
    expect(await place.bus.status([name])).toMatchObject([{ ready: 1, dead: 0 }]);
  });

  test("a result that will never be says why", async () => {
    const queue = queueName();
    const task = defineTask("broken", { queue, retry: false });
    await using worker = place.bus.worker().on(task, () => {
      throw new Error("out of paper");
    });
    await worker.start();
    const { code, stdout, stderr } = await warren("tasks", "send", "broken", "--queue", queue, "--wait");
    expect([code, stderr]).toEqual([1, "Error: out of paper\n"]);
    const id = stdout.trim();
    // The worker of a queue takes its default policy from its task, not from who sends.
    expect(await warren("tasks", "result", id)).toMatchObject({ code: 1, stderr: "Error: out of paper\n" });
  });
});

describe("warren tasks, dlq and worker", () => {
  const directory = mkdtempSync(join(tmpdir(), "warren-cli-"));
  const memory = { WARREN_URL: "embedded::memory:" };
  const notHandlers = join(directory, "handlers.mjs");
  beforeAll(() => writeFileSync(notHandlers, "export const handlers = [];"));
  afterAll(() => rmSync(directory, { recursive: true }));

  test.concurrent.each<[string, string[], Record<string, string>, RegExp]>([
    [
      "no broker",
      ["tasks", "send", "greet"],
      { WARREN_URL: "amqp://127.0.0.1:1" },
      /^No AMQP broker answers at 127\.0\.0\.1:1\. Is it running\? `warren serve` starts one/,
    ],
    ["no URL", ["tasks", "status"], { WARREN_URL: "redis://x" }, /^'redis:\/\/x' is nothing to connect to/],
    ["bad JSON", ["tasks", "send", "greet", "{to: me}"], memory, /^the payload is no JSON: .*Quote it/],
    ["bad JSON in --set", ["dlq", "redrive", "q", "--set", "[1]"], memory, /^--set takes a JSON object/],
    ["a limit that is none", ["dlq", "list", "q", "--limit", "many"], memory, /--limit .*whole number/],
    ["a priority that is none", ["tasks", "send", "x", "--priority", "300"], memory, /^priority is 300/],
    ["a phase that is none", ["tasks", "list", "--phase", "gone"], memory, /--phase .*active, retrying/],
    ["a time that is none", ["dlq", "list", "q", "--since", "then"], memory, /^'then' is no time/],
    ["a queue's name that is none", ["tasks", "status", "#"], memory, /'#' cannot be a task queue's name/],
    ["no such file", ["worker", "./nowhere.js"], memory, /^Cannot load \.\/nowhere\.js: Cannot find/],
    ["a file without a function", ["worker", notHandlers], memory, /must export a function as its default/],
  ])("says in a line what is wrong: %s", async (_name, args, where, message) => {
    const { code, stdout, stderr } = await runCommand(args, where);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("says what needs state where there is none", async () => {
    const broker = await startBroker({ port: 0 });
    onTestFinished(() => broker.stop());
    const commands = [["list"], ["result", "1"], ["cancel", "1"]];
    const where = { WARREN_URL: broker.url };
    for (const outcome of commands.map((args) => runCommand(["tasks", ...args], where))) {
      const { code, stderr } = await outcome;
      expect([code, stderr]).toEqual([
        1,
        expect.stringMatching(/needs state that all processes share: .*postgres/),
      ]);
    }
  });
});

function startWorker(file: string, where: Record<string, string>): ChildProcess {
  const args = [program, "worker", file, "--concurrency", "1", "--log-level", "warn"];
  return spawn(process.execPath, args, { env: { ...environment, ...where } });
}

async function firstLine({ stderr }: ChildProcess): Promise<string> {
  const [text] = (await once(stderr!.setEncoding("utf8"), "data")) as [string];
  return text;
}

function lines<T>(text: string): T[] {
  return text.split("\n").map((line) => JSON.parse(line) as T);
}

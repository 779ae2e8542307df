/** The examples, and the programs in docs/tasks.md, run as their readers would. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import register from "../examples/support-swarm/agents.ts";
import { Swarm } from "../src/agents/index.ts";
import { startBroker } from "../src/broker/index.ts";
import { connect } from "../src/tasks/index.ts";
import { python } from "./support/peers.ts";

const root = join(import.meta.dirname, "..");
const environment = {
  PATH: process.env["PATH"],
  // Half of the time that a program takes to start is compiling.
  NODE_COMPILE_CACHE: join(tmpdir(), "warren-test-compile-cache"),
};

describe("examples", () => {
  test("b2 b3 signup-email: the API answers before any mailer runs, and each gets one mail", async () => {
    const lines = await run(join(root, "examples/signup-email/run.ts"));
    const answers = lines.filter((line) => /^people .* after \d+ ms/.test(line));
    expect(answers).toHaveLength(7);
    const accepted = answers.filter((line) => line.includes(": 202 after"));
    expect(accepted).toHaveLength(6);
    expect(answers.at(-1)).toContain("not an address: 400 after");
    const readyAt = lines.indexOf("worker  waiting for email.welcome");
    expect(lines.indexOf(accepted.at(-1)!)).toBeLessThan(readyAt);
    const sent = lines.slice(readyAt).filter((line) => line.startsWith("worker  sent to "));
    expect(sent).toHaveLength(5);
    expect(lines).toContain("worker  sent to grace@slow.example at attempt 2");
    expect(lines.filter((line) => line.endsWith(": completed"))).toHaveLength(5);
    expect(lines.at(-1)!.match(/\S+@\S+\.txt/g)).toHaveLength(5);
  });

  test("d8 d11 d14 document-pipeline: by priority, through failures, and a dead letter patched and sent again", async () => {
    const lines = await run(join(root, "examples/document-pipeline/run.ts"));
    const begun = lines.filter((line) => line.endsWith(" begins"));
    expect(begun).toEqual(["outage", "minutes", "kettle", "minutes"].map((name) => `worker  ${name} begins`));
    expect(lines.filter((line) => line.endsWith("the model is overloaded"))).toHaveLength(3);
    expect(lines).toContain("alert   document.summarise is dead: minutes has no sentence: is it text?");
    expect(lines).toContain("dead    Fatal: minutes has no sentence: is it text?");
    expect(lines).toContainEqual(expect.stringMatching(/^letter {2}minutes \(task .*\): fatal at attempt 1/));
    expect(lines).toContain("redrive 1 sent again, decoded");
    expect(lines.filter((line) => line.startsWith("done "))).toEqual([
      expect.stringMatching(/^done {4}kettle, of 3 parts: .*kettle/),
      expect.stringMatching(/^done {4}outage, of 2 parts: .*order/),
      expect.stringMatching(/^done {4}minutes, of 2 parts: .*budget/),
    ]);
    expect(lines.at(-1)).toBe("letters 0 are left");
  });

  test("d17 support-swarm: a question goes from triage over research to a reviewed answer", async () => {
    const bus = await connect("embedded::memory:");
    onTestFinished(() => bus.close());
    const swarm = new Swarm(bus);
    register(swarm);
    await swarm.start();
    const { content, agent, messages } = await swarm.run(
      "Triage",
      "My lantern flickers. What about batteries?",
    );
    expect(agent).toBe("Writer");
    expect(content).toMatch(/^Thank you for asking! The lantern runs on three AA cells/);
    expect(messages).toContainEqual({
      role: "tool",
      name: "review",
      toolCallId: expect.anything(),
      content: "OK",
    });
    expect((await swarm.run("Triage", "Hello!")).content).toMatch(/^Hello! What can I do for you\?/);
  });

  test("embedded-broker: two workers share the tasks", async () => {
    const lines = await run(join(root, "examples/embedded-broker.ts"));
    expect(lines.filter((line) => /^worker (one|two) did task \d$/.test(line))).toHaveLength(6);
  });

  test("retries-and-dead-letters: three attempts, then the failed ones", async () => {
    const lines = await run(join(root, "examples/retries-and-dead-letters.ts"));
    expect(lines.filter((line) => line.startsWith("impossible, attempt"))).toHaveLength(3);
    expect(lines.at(-1)).toBe("impossible has failed: rejected in agent_tasks");
  });
});

interface DocumentedPrograms {
  readonly directory: string;
  /** The programs' output, line by line. */
  readonly program: (name: string, ...args: string[]) => Promise<string[]>;
}

/** The programs in a document, in a folder where the package that they import is this one. Call it in a `describe`. */
function programsOf(document: string): DocumentedPrograms {
  const directory = mkdtempSync(join(tmpdir(), "warren-docs-"));
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
  beforeAll(() => {
    const exports = {
      ".": "./src/tasks/index.ts",
      "./agents": "./src/agents/index.ts",
      "./testing": "./src/testing/index.ts",
    };
    write("package.json", JSON.stringify({ name: "warrenmq", type: "module", exports }));
    for (const name of ["src", "node_modules"]) symlinkSync(join(root, name), join(directory, name));
    const compilerOptions = { declaration: false, isolatedDeclarations: false, types: ["node"] };
    cpSync(join(root, "tsconfig.json"), join(directory, "base.json"));
    write("tsconfig.json", JSON.stringify({ extends: "./base.json", compilerOptions, include: ["*.ts"] }));
    const text = readFileSync(join(root, document), "utf8");
    for (const [, code, name] of text.matchAll(/^```(?:ts|python)\n((?:\/\/|#) (\S+)\n[^]*?)^```$/gm))
      write(name, code);
    // What has no name is not run.
    expect(text.match(/^```(ts|python)$/gm)).toHaveLength(
      text.match(/^```(ts|python)\n(\/\/|#) \S+$/gm)!.length,
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, maxRetries: 5 }));

  test("its programs are sound", async () => {
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    expect(await run(compiler, { args: ["--noEmit", "-p", directory] })).toEqual([]);
  });
  return { directory, program: (name, ...args) => run(join(directory, name), { cwd: directory, args }) };
}

describe("docs/agents.md", () => {
  const { directory, program } = programsOf("docs/agents.md");

  test("a2 a14 a15 a16 the first agents: a handoff, an answer, and how the queues are", async () => {
    const lines = await program("first-agents.ts");
    expect(lines[0]).toBe("Agent B (completed): You said: I want to talk to agent B.");
    expect(lines.join("\n")).toContain("queue_name: 'agent_agent_a_queue'");
  });

  test("agents as processes of their own ask each other", async () => {
    for (const name of ["Adder", "Doubler"]) {
      const worker = spawn(process.execPath, [join(directory, "worker.ts"), name], {
        cwd: directory,
        env: environment,
      });
      onTestFinished(() => void worker.kill("SIGKILL"));
      expect(String((await once(worker.stdout, "data"))[0])).toBe(`${name} is ready\n`);
    }
    expect(await program("ask.ts")).toEqual(["42"]);
  });

  test("a run tells what happens", async () => {
    expect(await program("events.ts")).toEqual(
      expect.arrayContaining(['calls price({"item":"lamp"})', "completed: A lamp is 20 euro."]),
    );
  });

  test("d17 a call waits for a decision", async () => {
    expect(await program("approvals.ts")).toEqual(["It is paid."]);
  });
});

describe("docs/tasks.md", () => {
  const { directory, program } = programsOf("docs/tasks.md");

  test("d1 the first program greets", async () => {
    expect(await program("first.ts")).toEqual(["Hello Ada"]);
  });

  test("a sender and a worker as processes of their own", async () => {
    const worker = spawn(process.execPath, [join(directory, "worker.ts")], {
      cwd: directory,
      env: environment,
    });
    onTestFinished(() => void worker.kill("SIGKILL"));
    expect(String((await once(worker.stdout, "data"))[0])).toBe("working\n");
    const lines = await program("send.ts");
    expect(lines).toEqual([expect.stringMatching(/^[0-9a-f-]{36} \w+$/), "Ada-1"]);
    worker.kill("SIGTERM");
    await once(worker, "exit");
  });

  test("dead letters are seen, alerted of, patched and sent again", async () => {
    expect(await program("letters.ts")).toEqual(
      expect.arrayContaining([
        "alert: failed",
        "Error: the amount is -7",
        "true { amount: -7 } failed 1",
        "1 paid 7",
      ]),
    );
  });

  test("a16 steps are done once though the task runs twice", async () => {
    expect(await program("steps.ts")).toEqual(["ring", "7"]);
  });

  test("what waits and what runs is cancelled", async () => {
    const lines = await program("cancel.ts");
    expect(lines).toEqual(["true cancelled", expect.stringMatching(/^task \S+ was cancelled$/)]);
  });

  test("the test of a reminder passes", async () => {
    expect(await program("greeting.test.ts")).toContainEqual(expect.stringMatching(/pass 1$/));
  });

  test("d2 d6 state and a pika producer, at a broker of its own", async () => {
    const broker = await startBroker({ port: 0 });
    onTestFinished(() => broker.stop());
    const env = { ...environment, WARREN_URL: broker.url };
    expect(await run(join(directory, "state.ts"), { cwd: directory, env })).toEqual(["native"]);
    const worker = spawn(process.execPath, [join(directory, "agent.ts")], { cwd: directory, env });
    onTestFinished(() => void worker.kill("SIGKILL"));
    const done = once(worker.stdout, "data");
    const [id] = await run(join(directory, "producer.py"), { command: python, env });
    expect(String((await done)[0])).toBe(`${id} { page: 1 }\n`);
  });
});

interface RunOptions {
  readonly command?: string;
  readonly args?: readonly string[];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end and resolves with the lines that it has printed. @throws Error when it ends badly or after 20 s */
function run(file: string, options: RunOptions = {}): Promise<string[]> {
  const { command = process.execPath, args = [], cwd = tmpdir(), env = environment } = options;
  return new Promise((resolve, reject) => {
    execFile(command, [file, ...args], { cwd, env, timeout: 20_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
      else resolve(stdout.trimEnd() === "" ? [] : stdout.trimEnd().split("\n"));
    });
  });
}

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "amqplib";
import { describe, expect, onTestFinished, test } from "vitest";
import { runCommand } from "../support/command.ts";
import { eventually } from "../support/eventually.ts";
import { isSupported } from "../../src/cli/node-version.ts";
import { resolveSettings } from "../../src/cli/serve-settings.ts";

const program = join(import.meta.dirname, "../../dist/cli/main.js");

interface Served {
  child: ChildProcess;
  /** What it greeted with. */
  greeting: string;
  amqpUrl: string;
  healthUrl: string;
}

/** Runs `warren serve` on free ports until the test ends. */
async function serve(args: string[], environment: Record<string, string> = {}): Promise<Served> {
  const data = mkdtempSync(join(tmpdir(), "warren-data-"));
  onTestFinished(() => rmSync(data, { recursive: true, maxRetries: 5 }));
  const child = run(["serve", "--port", "0", "--http-port", "0", "--data", data, ...args], environment);
  let greeting = "";
  for await (const chunk of child.stderr!.setEncoding("utf8")) {
    greeting += chunk;
    if (greeting.includes("Ctrl+C")) break;
  }
  const amqpUrl = /amqp:\/\/\S+/.exec(greeting)?.[0] ?? "";
  const healthUrl = /http:\/\/\S+\/health/.exec(greeting)?.[0] ?? "";
  return { child, greeting, amqpUrl, healthUrl };
}

function run(args: string[], environment: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...environment } });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return child;
}

async function failure(args: string[], environment: Record<string, string> = {}): Promise<string> {
  const child = run(args, environment);
  let text = "";
  for await (const chunk of child.stderr!.setEncoding("utf8")) text += chunk;
  if (child.exitCode === null) await once(child, "exit");
  expect(child.exitCode).toBe(1);
  return text;
}

describe("warren serve", () => {
  test("runs a file's agents beside itself, says how to talk to them, and ends them with itself", async () => {
    const agents = join(import.meta.dirname, "../../examples/support-swarm/agents.ts");
    const { child, greeting } = await serve(["--demo", agents], { OPENAI_API_KEY: "" });
    const [, url, state] = /export WARREN_URL='(.*?)' WARREN_STATE='(.*?)'/.exec(greeting)!;
    const where = { WARREN_URL: url, WARREN_STATE: state };
    // They need a moment to be there.
    const answer = await eventually(async () => {
      const { code, stdout } = await runCommand(
        ["agents", "send", "Triage", "How long does a parcel take?"],
        where,
      );
      return code === 0 ? stdout : undefined;
    });
    expect(answer).toContain("A parcel takes two days within the country");
    child.kill("SIGTERM");
    await once(child, "exit");
    expect(child.exitCode).toBe(0);
  });

  test("--no-demo leaves the agents out", async () => {
    const { child, greeting } = await serve(["--demo", "nowhere.ts", "--no-demo"]);
    expect(greeting).not.toContain("agents");
    child.kill("SIGTERM");
    await once(child, "exit");
    expect(child.exitCode).toBe(0);
  });

  test("b8 one command starts the broker with a default user and password from the environment", async () => {
    const { amqpUrl } = await serve([], { RABBITMQ_DEFAULT_USER: "user", RABBITMQ_DEFAULT_PASS: "password" });
    const url = amqpUrl.replace("//", "//user:password@");
    const connection = await connect(url);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    channel.sendToQueue(queue, Buffer.from("from the environment"));
    await expect.poll(async () => (await channel.get(queue)) || undefined).toBeDefined();
    await connection.close();
    await expect(connect(amqpUrl.replace("//", "//guest:guest@"))).rejects.toThrow(/403|ACCESS_REFUSED/);
  });

  test("greets with its URLs and what to try, answers /health, and drains on SIGTERM", async () => {
    const { child, greeting, amqpUrl, healthUrl } = await serve(["--memory"]);
    expect(greeting).toMatch(/is ready[\s\S]*Try next/);
    const connection = await connect(amqpUrl);
    const forced = once(connection, "close");
    const health = await fetch(healthUrl);
    expect([health.status, await health.json()]).toEqual([200, expect.objectContaining({ connections: 1 })]);
    const apiUrl = /http:\/\/\S+\/api/.exec(greeting)![0];
    const authorization = `Basic ${Buffer.from("guest:guest").toString("base64")}`;
    const overview = await fetch(`${apiUrl}/overview`, { headers: { authorization } });
    expect(await overview.json()).toMatchObject({ object_totals: { connections: 1 } });
    connection.on("error", () => {});
    child.kill("SIGTERM");
    const [exitCode] = (await once(child, "exit")) as [number];
    expect(exitCode).toBe(0);
    expect(String(await forced)).toContain("CONNECTION_FORCED");
  });

  test("stops in order when the signal comes twice at once, as under npm", async () => {
    const { child } = await serve([]);
    child.kill("SIGTERM");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("stops when asked to, although nobody reads its log any more", async () => {
    const { child } = await serve([]);
    child.stdout!.destroy();
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("takes settings from a file, and a flag over the environment over the file", async () => {
    const directory = mkdtempSync(join(tmpdir(), "warren-config-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const file = join(directory, "warren.json");
    writeFileSync(file, JSON.stringify({ port: 1, httpPort: 2, user: "from-file", password: "p" }));
    const environment = { WARREN_PORT: "10", WARREN_USER: "from-environment", WARREN_MEMORY: "true" };
    const resolved = resolveSettings({ port: "100" }, environment, file);
    expect(resolved).toMatchObject({
      port: 100,
      httpPort: 2,
      user: "from-environment",
      password: "p",
      memory: true,
    });

    const limits = resolveSettings({ memoryLimit: "2GiB" }, { WARREN_DISK_FREE_LIMIT: "50 MB" }, undefined);
    expect(limits).toMatchObject({ memoryLimit: 2 ** 31, diskFreeLimit: 50_000_000 });
    expect(() => resolveSettings({ memoryLimit: "much" }, {}, undefined)).toThrow(
      /--memory-limit: 'much' is not a size/,
    );

    writeFileSync(file, JSON.stringify({ prot: 5672 }));
    expect(() => resolveSettings({}, {}, file)).toThrow(/unknown setting "prot".*port/);
    writeFileSync(file, "port = 5672");
    expect(() => resolveSettings({}, {}, file)).toThrow(/is not JSON/);
  });

  test.each<[string, string[], Record<string, string>, RegExp]>([
    ["a port that is none", ["--port", "70000"], {}, /--port: '70000' is not a port/],
    ["a port that is none, in the environment", [], { WARREN_PORT: "many" }, /WARREN_PORT: 'many'/],
    ["guest beyond this machine", ["--host", "0.0.0.0"], {}, /user guest and password guest/],
    ["a file that is not there", ["--config", "/nowhere.json"], {}, /Cannot read .*\/nowhere\.json/],
    ["an unknown log level", ["--log-level", "loud"], {}, /'loud' is not a log level/],
  ])("refuses %s with a message that says so", async (_name, args, environment, message) => {
    expect(await failure(["serve", ...args], environment)).toMatch(message);
  });

  test("says which Node it needs", () => {
    expect(["20.20.2", "22.12.0", "22.13.0", "24.0.1", "26.1.0"].map(isSupported)).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
  });
});

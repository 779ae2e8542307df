import { fork } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "../base/index.ts";
import type { Broker } from "../broker/index.ts";
import type { ServeSettings } from "./serve-settings.ts";

/** Agents in a process of their own, beside a broker. */
export interface Demo {
  /** How to talk to them. */
  readonly greeting: string;
  /** Lets them finish the turns that have begun. */
  stop(): Promise<void>;
}

/** Runs `warren agents run` with the file; what the agents know is kept beside the broker's data. */
export function startDemo(
  file: string,
  broker: Broker,
  { user, password, data, memory }: ServeSettings,
  logger: Logger,
): Demo {
  const url = broker.url.replace(
    /\/\/(.*@)?/,
    `//${encodeURIComponent(user)}:${encodeURIComponent(password)}@`,
  );
  const state = `sqlite:${memory ? join(tmpdir(), `warren-demo-${process.pid}.db`) : resolve(data, "agents.db")}`;
  const environment = { WARREN_URL: url, WARREN_STATE: state };
  // With a channel between them, by whose end it notices that this process has died.
  const child = fork(process.argv[1], ["agents", "run", file, "--log-level", "warn"], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "inherit", "pipe", "ipc"],
    // Ctrl+C is for the broker, which ends it first.
    detached: true,
  });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = once(child, "exit");
  child.once("exit", (code) => {
    if (code !== 0) logger.error({ file, code, said: said.trim() }, "the demo's agents have ended");
  });
  return {
    greeting: greetingOf(environment),
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await ended;
    },
  };
}

function greetingOf(environment: Record<string, string>): string {
  const exports = Object.entries(environment).map(([name, value]) => `${name}='${value}'`);
  const who = process.env["OPENAI_API_KEY"]
    ? "a language model"
    : "a script; set OPENAI_API_KEY for a language model";
  return `  A swarm of agents is here, too (${who}). Talk to it, in another terminal:
    export ${exports.join(" ")}
    npx warren agents chat Triage
    npx warren agents list

  --no-demo leaves it out.

`;
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { buffer, text } from "node:stream/consumers";
import type { BrokerUnderTest } from "./brokers.ts";

export interface ToolResult {
  exitCode: number | null;
  stdout: Buffer;
  stderr: string;
}

/** Runs one of the command-line tools of rabbitmq-c against the broker, with `input` on its standard input. */
export async function runAmqpTool(
  broker: BrokerUnderTest,
  tool: string,
  args: readonly string[],
  input: string | Buffer = "",
): Promise<ToolResult> {
  const connection = [
    `--server=${broker.host}`,
    `--port=${broker.port}`,
    `--vhost=${broker.vhost}`,
    `--username=${broker.username}`,
    `--password=${broker.password}`,
  ];
  const child = spawn(tool, [...args, ...connection]);
  const closed = once(child, "close");
  // A tool that fails early does not read its input.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr), closed]);
  return { exitCode: child.exitCode, stdout, stderr };
}

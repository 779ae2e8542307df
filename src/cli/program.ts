import { createRequire } from "node:module";
import { Command } from "commander";
import { addAgentsCommand } from "./agents.ts";
import { addChangeVerbs } from "./change-verbs.ts";
import { addCheckDataCommand } from "./check-data.ts";
import { addDeclareVerbs } from "./declare-verbs.ts";
import { addDlqCommand } from "./dlq.ts";
import { addListVerbs } from "./list-verbs.ts";
import { addMessageVerbs } from "./message-verbs.ts";
import { addServeCommand } from "./serve.ts";
import { addStatusVerbs } from "./status-verbs.ts";
import { addTasksCommand } from "./tasks.ts";
import { addWorkerCommand } from "./worker.ts";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

export function createProgram(): Command {
  const program = new Command("warren")
    .description("Reliable messaging for AI agents and background tasks.")
    .version(version);
  addServeCommand(program, version);
  addCheckDataCommand(program);
  addTasksCommand(program);
  addDlqCommand(program);
  addWorkerCommand(program);
  addAgentsCommand(program);
  addStatusVerbs(program);
  addListVerbs(program);
  addChangeVerbs(program);
  addDeclareVerbs(program);
  addMessageVerbs(program);
  return program;
}

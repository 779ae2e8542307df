import { nameOf, type Agent } from "./agent.ts";
import type { ToolDescription } from "./model.ts";
import { normalised } from "./names.ts";

const parameters = { type: "object", properties: {}, additionalProperties: false } as const;

/** A tool for each agent that this one may hand over to, named as @openai/agents names them. */
export function handoffTools(agent: Agent): ToolDescription[] {
  return (agent.options.handoffs ?? []).map((other) => {
    const role = typeof other === "string" ? "" : other.role;
    return {
      name: toolName(nameOf(other)),
      description: `Hands the conversation over to ${nameOf(other)}${role === "" ? "" : ` (${role})`}, who goes on with it.`,
      parameters,
    };
  });
}

/** The agent that the tool hands over to; undefined when it is another tool. */
export function handoffName(agent: Agent, tool: string): string | undefined {
  const to = (agent.options.handoffs ?? []).find((other) => toolName(nameOf(other)) === tool);
  return to && nameOf(to);
}

/** Models take letters, digits, `_` and `-`. */
function toolName(agent: string): string {
  return `transfer_to_${normalised(agent).replaceAll(/[^a-z0-9_-]/g, "_")}`;
}

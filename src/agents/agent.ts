import type { Logger, RetryOptions, Schema, Context as TaskContext } from "../tasks/index.ts";
import type { ChatMessage } from "./message.ts";
import type { Guardrail } from "./guardrail.ts";
import type { HistoryPolicy } from "./history.ts";
import type { Model } from "./model.ts";
import { assertName } from "./names.ts";
import { jsonSchemaOf, tool, type AnyTool, type Tool } from "./tool.ts";

/** What a conversation may use, of one agent or of all. Checked before each call of a model. */
export interface Budget {
  /** Input and output together. */
  readonly tokens?: number;
  /** By the swarm's prices; a model without a price is refused where this is set. */
  readonly usd?: number;
}

/** What a code agent gets: the JSON that was sent, and where it stands. */
export interface AgentMessage {
  /** What was said last, by somebody else. */
  readonly content: string;
  /** All that was said so far. */
  readonly messages: readonly ChatMessage[];
  readonly contextVariables: Readonly<Record<string, unknown>>;
  /** The agent that has handed over, sent or asked; undefined for whoever is no agent. */
  readonly from: string | undefined;
  readonly to: string;
  readonly conversation: string;
  /** How many more turns the run may take. */
  readonly turnsLeft: number;
  /** What else the sender has put into the message, as it came. */
  readonly body: unknown;
}

/** What a code agent does with a message: its answer, or to whom it hands over. Text is an answer. */
export interface AgentReply {
  readonly content?: string;
  readonly contextVariables?: Readonly<Record<string, unknown>>;
  readonly handoff?: Agent | string;
}

export interface HandlerContext {
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Remembers what it did: another attempt, or a rerun after {@link ask}, does not do it again. The turn waits for what was begun. */
  readonly step: TaskContext["step"];
  /**
   * Asks another agent, in a conversation of its own, and gives its answer. No delivery is held meanwhile: the handler ends here
   * and runs anew when the answer has come, so that what has an effect before an `ask` belongs into a {@link step}.
   *
   * @throws AskError when the other did not answer
   */
  readonly ask: (agent: Agent | string, text: string) => Promise<string>;
}

export type AgentHandler = (
  message: AgentMessage,
  context: HandlerContext,
) => AgentReply | string | undefined | void | Promise<AgentReply | string | undefined | void>;

export interface AgentOptions {
  /** How it is found, whatever process it lives in. */
  readonly name: string;
  /** What it is for, in a few words: others see it when they choose whom to hand over to. */
  readonly role?: string;
  readonly model?: Model;
  /** What the model is told before the conversation; made anew for each call when it is a function. */
  readonly instructions?: string | ((contextVariables: Readonly<Record<string, unknown>>) => string);
  readonly tools?: Readonly<Record<string, AnyTool>>;
  /** Whom it may hand the conversation to. */
  readonly handoffs?: readonly (Agent | string)[];
  /** What its final answer must be, as JSON. One that is not goes back to the model with what is wrong. */
  readonly outputSchema?: Schema;
  readonly guardrails?: { readonly input?: readonly Guardrail[]; readonly output?: readonly Guardrail[] };
  /** What it may use in one conversation. */
  readonly budget?: Budget;
  /** What of the conversation the model sees. Default: {@link lastMessages}(200). */
  readonly history?: HistoryPolicy;
  /** Plain code instead of a model. */
  readonly handler?: AgentHandler;
  /** Conversations that it works on at a time in this process. Default 1. */
  readonly concurrency?: number;
  /** What happens when a turn fails, as for a task. Default: 3 retries, exponential with full jitter. */
  readonly retry?: RetryOptions | false;
}

/** One that takes part in conversations, by a model or by code. It does nothing by itself: a {@link Swarm} runs it. */
export class Agent {
  readonly name: string;
  readonly role: string;
  readonly options: AgentOptions;
  readonly topics: Set<string> = new Set();
  /** JSON Schema of its output; undefined when it says what it likes. */
  readonly outputJsonSchema: Readonly<Record<string, unknown>> | undefined;

  constructor(options: AgentOptions);
  constructor(name: string, role: string, options?: Omit<AgentOptions, "name" | "role">);
  /** @throws TypeError when the name cannot be a queue's, or it has neither model nor handler, or both */
  constructor(
    nameOrOptions: AgentOptions | string,
    role?: string,
    more: Omit<AgentOptions, "name" | "role"> = {},
  ) {
    const options =
      typeof nameOrOptions === "string" ? { ...more, name: nameOrOptions, role } : nameOrOptions;
    const { name, model, handler, outputSchema } = options;
    assertName("an agent", name);
    if (model && handler)
      throw new TypeError(`agent '${name}' has a model and a handler; it can have one of them`);
    this.name = name;
    this.role = options.role ?? "";
    this.options = options;
    this.outputJsonSchema =
      outputSchema && jsonSchemaOf(outputSchema, `outputSchema of agent '${name}'`, "output");
  }

  /** What is broadcast to the topic comes to this agent, too. Before it is registered. */
  subscribe(topic: string): this {
    assertName("a topic", topic);
    this.topics.add(topic);
    return this;
  }

  /**
   * A tool by which a model asks this agent. The answer comes as the tool's result; meanwhile the conversation waits, and holds
   * nothing.
   */
  asTool(description: string = this.role): AskTool {
    const parameters = {
      type: "object",
      properties: { text: { type: "string", description: "What to ask." } },
      required: ["text"],
    };
    const execute = (): never => {
      throw new Error(`agent '${this.name}' is asked by the swarm`);
    };
    return { ...tool({ description, parameters, execute }), asks: this.name };
  }
}

export interface AskTool extends Tool<undefined> {
  /** The agent's name. */
  readonly asks: string;
}

export function nameOf(agent: Agent | string): string {
  return typeof agent === "string" ? agent : agent.name;
}

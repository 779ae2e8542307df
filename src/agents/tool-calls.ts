import { createHash, randomUUID } from "node:crypto";
import {
  CancelledError,
  CapabilityError,
  ConnectionLostError,
  Retry,
  ShutdownError,
  UnknownOutcomeError,
  UnroutableError,
  validate,
  ValidationError,
  type Effect,
  type StateTransaction,
} from "../tasks/index.ts";
import type { AskTool } from "./agent.ts";
import { approvalIdOf } from "./approvals.ts";
import type { Conversation, PendingCall } from "./conversation.ts";
import type { Entry, Limits, Variables } from "./entries.ts";
import { handoffName } from "./handoff.ts";
import { isAgain, later } from "./redelivery.ts";
import type { AnyTool } from "./tool.ts";
import type { TurnParts } from "./turn.ts";

interface Outcome {
  readonly content: string;
  readonly isError?: true;
  readonly contextVariables?: Variables;
}

type Commit = (decide: (now: Conversation) => readonly Entry[]) => Promise<void>;

/** Runs what a model has called. INVARIANT 22: in order, reads beside each other, effects by the ledger. */
export class ToolCalls {
  private readonly parts: TurnParts;
  private readonly commit: Commit;
  private readonly turn: number;
  /** Aborted when the turn is lost, or its run has ended. */
  private signal: AbortSignal;

  constructor(parts: TurnParts, commit: Commit) {
    this.parts = parts;
    this.signal = parts.task.signal;
    this.commit = commit;
    this.turn = parts.conversation.turn;
  }

  /** All but handoffs, which come last, until they have a result or wait. */
  async run(signal: AbortSignal): Promise<void> {
    const { conversation } = this.parts;
    this.signal = signal;
    do await this.runOnce();
    while (!conversation.isWaiting && conversation.pendingCalls.some(({ name }) => !this.isHandoff(name)));
  }

  /** Results are recorded one by one. */
  private async runOnce(): Promise<void> {
    const calls = this.parts.conversation.pendingCalls.filter(({ name }) => !this.isHandoff(name));
    const reads = new Map<string, Promise<Outcome>>();
    for (const call of calls) {
      if (!this.isFreeRead(call)) continue;
      const reading = this.execute(call);
      // Told where it is waited for.
      reading.catch(() => {});
      reads.set(call.id, reading);
    }
    for (const call of calls) {
      const outcome = await (reads.get(call.id) ?? this.outcomeOf(call));
      if (!outcome) continue;
      const result = { ...this.result(call, outcome.content, outcome.isError), ...pick(outcome) };
      // A call has one result, whoever was first.
      await this.commit((now) => (now.pendingCalls.some(({ id }) => id === call.id) ? [result] : []));
    }
  }

  handoffs(): PendingCall[] {
    return this.parts.conversation.pendingCalls.filter(({ name }) => this.isHandoff(name));
  }

  result(
    { id, name }: PendingCall,
    content: string,
    isError?: boolean,
  ): Extract<Entry, { kind: "tool-result" }> {
    return {
      kind: "tool-result",
      turn: this.turn,
      callId: id,
      name,
      content,
      ...(isError && { isError: true }),
    };
  }

  /** Begins a conversation with another agent, whose answer will be the call's. */
  async ask(callId: string, agent: string, text: string): Promise<void> {
    const { conversation, agent: own } = this.parts;
    const known =
      conversation.asked(callId) ?? conversation.pendingCalls.find(({ id }) => id === callId)?.asked;
    const child = known?.conversation ?? childOf(conversation.id, callId);
    if (known === undefined)
      await this.record({ kind: "asked", turn: this.turn, callId, agent, conversation: child, text });
    const { contextVariables, turnsLeft, limits, handoffs, usage, usd } = conversation;
    // What is left is for both, and for all that are asked beside each other: who asks in a circle comes to an end.
    const shares = this.asksBeside(callId);
    const left: Limits = {
      ...limits,
      maxTurns: turnsLeft,
      maxHandoffs: limits.maxHandoffs - handoffs,
      ...(limits.tokens !== undefined && {
        tokens: Math.max(0, Math.floor((limits.tokens - usage.inputTokens - usage.outputTokens) / shares)),
      }),
      ...(limits.usd !== undefined && { usd: Math.max(0, limits.usd - usd) / shares }),
    };
    const asker = { conversation: conversation.id, agent: own.name, callId };
    const messages = [{ role: "user" as const, name: own.name, content: text }];
    try {
      await this.parts.send(
        agent,
        {
          kind: "message",
          conversation: child,
          messages,
          contextVariables,
          limits: left,
          asker,
          from: own.name,
        },
        { id: randomUUID() },
      );
    } catch (error) {
      if (!(error instanceof UnroutableError)) throw error;
      const content = `there is no agent '${agent}'`;
      await this.record({ kind: "answered", callId, outcome: "unknown-agent", content });
    }
  }

  /** How many are asked at once, this one among them, as far as is known. */
  private asksBeside(callId: string): number {
    const { conversation } = this.parts;
    const called = conversation.pendingCalls.filter((call) => {
      const tool = this.toolOf(call);
      return tool !== undefined && "asks" in tool && call.answer === undefined;
    });
    const isCall = called.some(({ id }) => id === callId);
    return isCall ? called.length : Math.max(1, conversation.openAsks);
  }

  private record(entry: Entry): Promise<void> {
    return this.commit(() => [entry]);
  }

  private isHandoff(name: string): boolean {
    return handoffName(this.parts.agent, name) !== undefined;
  }

  private toolOf({ name }: PendingCall): AnyTool | undefined {
    const tools = this.parts.agent.options.tools ?? {};
    return Object.hasOwn(tools, name) ? tools[name] : undefined;
  }

  private isFreeRead(call: PendingCall): boolean {
    const tool = this.toolOf(call);
    return tool?.effect === "read" && !tool.needsApproval && !("asks" in tool);
  }

  /** Undefined: it waits. */
  private async outcomeOf(call: PendingCall): Promise<Outcome | undefined> {
    const tool = this.toolOf(call);
    if (tool === undefined) return this.execute(call);
    if ("asks" in tool) return this.askedBy(call, tool as AskTool);
    const { approval } = call;
    if (approval?.approved !== undefined && !approval.approved) {
      return failed(`A person has refused this call${approval.reason ? `: ${approval.reason}` : "."}`);
    }
    if (approval === undefined && (await this.needsApproval(call, tool))) {
      await this.requestApproval(call);
      return undefined;
    }
    // Recorded, and perhaps not sent.
    if (approval && approval.approved === undefined) {
      await this.expireApproval(approval.id, approval.expiresAtMs);
      return undefined;
    }
    return this.execute(call);
  }

  private async askedBy(call: PendingCall, { asks }: AskTool): Promise<Outcome | undefined> {
    if (call.answer) {
      const { outcome, content } = call.answer;
      return outcome === "completed"
        ? { content }
        : failed(`${asks} gave no answer (${outcome}): ${content}`);
    }
    const input = parsed(call);
    if ("wrong" in input) return failed(input.wrong);
    const { text } = input.value as { text?: unknown };
    await this.ask(call.id, asks, typeof text === "string" ? text : call.arguments);
    return undefined;
  }

  private async needsApproval(
    call: PendingCall,
    { needsApproval = false, inputSchema }: AnyTool,
  ): Promise<boolean> {
    if (typeof needsApproval === "boolean") return needsApproval;
    const input = await readInput(call, inputSchema);
    // Nothing that cannot run need be approved.
    return !("wrong" in input) && needsApproval(input.value as never);
  }

  private async requestApproval({ id: callId, name, arguments: given }: PendingCall): Promise<void> {
    const { conversation, clock, approvalTimeoutMs } = this.parts;
    const approvalId = approvalIdOf(conversation.id, callId);
    const expiresAtMs = clock.nowMs() + approvalTimeoutMs;
    await this.record({
      kind: "approval-requested",
      turn: this.turn,
      approvalId,
      callId,
      name,
      arguments: given,
      expiresAtMs,
    });
    await this.expireApproval(approvalId, expiresAtMs);
  }

  private async expireApproval(approvalId: string, expiresAtMs: number): Promise<void> {
    const { conversation, agent, clock } = this.parts;
    await this.parts.send(
      agent.name,
      { kind: "approval", conversation: conversation.id, approvalId },
      { id: `${approvalId}:expiry`, delay: Math.max(1, expiresAtMs - clock.nowMs()) },
    );
  }

  private async execute(call: PendingCall): Promise<Outcome> {
    // Whatever has become of the tool since.
    if (call.isBegun) throw this.isBegun(call);
    const tool = this.toolOf(call);
    if (tool === undefined) {
      const names = Object.keys(this.parts.agent.options.tools ?? {});
      return failed(`There is no tool '${call.name}'. There are: ${names.join(", ") || "none"}.`);
    }
    const input = await readInput(call, tool.inputSchema);
    if ("wrong" in input) return failed(input.wrong);
    let variables: Variables | undefined;
    const setContext = (changes: Variables): void => {
      variables = { ...variables, ...changes };
    };
    const work = async (transaction?: StateTransaction): Promise<Outcome> => {
      const context = this.contextOf(call, setContext, transaction);
      try {
        const value = await tool.execute(input.value as never, context);
        const content = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
        return { content, ...(variables && { contextVariables: variables }) };
      } catch (error) {
        throw new ToolFailure(error);
      }
    };
    try {
      const attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
      };
      return await this.parts.scope.run(`execute_tool ${call.name}`, { attributes }, () =>
        this.byEffect(call, tool.effect, work),
      );
    } catch (error) {
      // What went wrong in a tool is the model's to deal with; what went wrong around it is not.
      if (!(error instanceof ToolFailure)) throw error;
      return this.failure(call, error.cause);
    }
  }

  /** INVARIANT 16. What a call has done is known by its result in the journal, whoever's turn it is then. */
  private async byEffect(
    call: PendingCall,
    effect: Effect,
    work: (transaction?: StateTransaction) => Promise<Outcome>,
  ): Promise<Outcome> {
    const { task } = this.parts;
    this.signal.throwIfAborted();
    if (effect === "transactional")
      return task.step(`tool ${call.id}`, { effect }, ({ transaction }) => work(transaction));
    if (effect !== "once") return work();
    await this.begin(call);
    try {
      return await work();
    } catch (error) {
      // An error does not say how far it came.
      throw unknownOutcome(call, (error as ToolFailure).cause);
    }
  }

  /** Whoever has begun has died, unless this is but a copy of what is at work. */
  private isBegun(call: PendingCall): Error {
    return isAgain(this.parts.task) ? unknownOutcome(call) : later();
  }

  /** @throws UnknownOutcomeError when somebody has begun before; Retry when somebody is at it */
  private async begin(call: PendingCall): Promise<void> {
    let isBegun = false;
    await this.commit((now) => {
      isBegun = now.pendingCalls.find(({ id }) => id === call.id)?.isBegun ?? false;
      return isBegun ? [] : [{ kind: "tool-begun", turn: this.turn, callId: call.id }];
    });
    if (isBegun) throw this.isBegun(call);
  }

  private contextOf(
    { id: toolCallId, name }: PendingCall,
    setContext: (changes: Variables) => void,
    transaction: StateTransaction | undefined,
  ): Parameters<AnyTool["execute"]>[1] {
    const { conversation, agent } = this.parts;
    return {
      conversation: conversation.id,
      agent: agent.name,
      toolCallId,
      contextVariables: conversation.contextVariables,
      setContext,
      idempotencyKey: `${conversation.id}:${toolCallId}`,
      signal: this.signal,
      get transaction() {
        if (transaction) return transaction;
        throw new CapabilityError(`the tool '${name}' is not transactional: give it effect: "transactional"`);
      },
    };
  }

  private failure({ name }: PendingCall, error: unknown): Outcome {
    if (notForTheModel.some((kind) => error instanceof kind)) throw error;
    this.signal.throwIfAborted();
    const message = error instanceof Error ? error.message : String(error);
    this.parts.logger.warn({ tool: name, agent: this.parts.agent.name, error: message }, "a tool has failed");
    return failed(`The tool failed: ${message}`);
  }
}

/** As long however deep: ids are parts of message ids, which have 255 bytes. */
function childOf(conversation: string, callId: string): string {
  const [root] = conversation.split("/");
  const path = createHash("sha256")
    .update(JSON.stringify([conversation, callId]))
    .digest("hex");
  return `${root}/${path.slice(0, 32)}`;
}

/** The tool itself has thrown `cause`. */
class ToolFailure extends Error {
  constructor(cause: unknown) {
    super("a tool has failed", { cause });
  }
}

/** What a tool may throw that is not for the model. */
const notForTheModel = [Retry, UnknownOutcomeError, ConnectionLostError, CancelledError, ShutdownError];

type Read = { readonly value: unknown } | { readonly wrong: string };

function parsed({ name, arguments: text }: PendingCall): Read {
  try {
    return { value: JSON.parse(text === "" ? "{}" : text) as unknown };
  } catch (error) {
    return { wrong: `The arguments of '${name}' are no JSON: ${(error as Error).message}` };
  }
}

async function readInput(call: PendingCall, schema: AnyTool["inputSchema"]): Promise<Read> {
  const input = parsed(call);
  if ("wrong" in input || schema === undefined) return input;
  try {
    return { value: await validate(schema, input.value, `arguments of '${call.name}'`) };
  } catch (error) {
    if (error instanceof ValidationError) return { wrong: `They are not as they must be: ${error.message}` };
    throw error;
  }
}

function unknownOutcome({ id, name }: PendingCall, cause?: unknown): UnknownOutcomeError {
  return new UnknownOutcomeError(
    `the tool '${name}' has begun with call ${id}, and nobody knows whether it was done. It is not done again: look at its receiver.`,
    { cause },
  );
}

function failed(content: string): Outcome {
  return { content, isError: true };
}

function pick({ contextVariables }: Outcome): { contextVariables?: Variables } {
  return contextVariables === undefined ? {} : { contextVariables };
}

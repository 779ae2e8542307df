import type { Asker, Entry, Limits, Outcome, Trace, Variables } from "./entries.ts";
import {
  addUsage,
  noUsage,
  type AssistantMessage,
  type ChatMessage,
  type ToolCall,
  type Usage,
} from "./message.ts";
import { normalised } from "./names.ts";

type EntryOf<Kind extends Entry["kind"]> = Extract<Entry, { kind: Kind }>;

/** A call of the last reply that has no result yet. */
export interface PendingCall extends ToolCall {
  /** Somebody has begun with it, which must not be done twice. */
  readonly isBegun?: true;
  /** Undefined when nobody has been asked. */
  readonly approval?: {
    readonly id: string;
    readonly approved?: boolean;
    readonly reason?: string;
    readonly expiresAtMs: number;
  };
  readonly asked?: { readonly agent: string; readonly conversation: string };
  readonly answer?: { readonly outcome: Outcome; readonly content: string };
}

/** What the entries of a conversation's journal add up to. */
export class Conversation {
  readonly id: string;
  /** Entries so far. */
  length = 0;
  /** `ready`: it has an input, and nobody's turn has come yet. */
  status: "new" | "ready" | "running" | "waiting" | "done" = "new";
  /** Whose turn it is, or was last. */
  agent = "";
  turn = 0;
  messages: ChatMessage[] = [];
  contextVariables: Variables = {};
  /** Of the run. */
  limits: Limits = { maxTurns: 0, maxHandoffs: 0 };
  asker: Asker | undefined;
  /** Of the run, whoever lets it go on. */
  trace: Trace | undefined;
  from: string | undefined;
  body: unknown;
  /** Of its agents, and of those that they have asked. */
  usage: Usage = noUsage;
  usd = 0;
  outcome: Outcome | undefined;
  content = "";
  reason: string | undefined;
  /** The turn at which the run began; turns of it are counted from there. */
  firstTurn = 0;
  handoffs = 0;
  /** How often an output was sent back since the last input. */
  rejections = 0;
  /** The turn of the last reply. */
  repliedTurn = 0;
  /** The last reply has called tools, and is no answer. */
  hasCalled = false;
  /** The turn before the one that has to do with what was said last, or was handed over. */
  inputTurn = 0;
  /** Of the turn. */
  attempt = 1;
  /** It was cancelled before anything was said. */
  isUnwanted = false;
  /** The turn whose input the guardrails have seen. */
  guardedTurn = 0;
  private calls = new Map<string, PendingCall>();
  /** What handlers have asked, and got, since the last input. */
  private readonly answers = new Map<string, EntryOf<"asked"> & { answer?: EntryOf<"answered"> }>();
  /** What handlers have done since the last input, by the step's name. */
  readonly steps: Map<string, unknown> = new Map();
  /** Who has asked, by the call's id. */
  private readonly unanswered = new Map<string, string>();
  /** By the agent, as queues see its name: whoever hands over may write it otherwise. */
  private readonly usageByAgent = new Map<string, { usage: Usage; usd: number }>();
  private readonly inputs = new Set<string>();
  private inbox: EntryOf<"input">[] = [];

  constructor(id: string) {
    this.id = id;
  }

  get turnsTaken(): number {
    return this.turn - this.firstTurn;
  }

  get turnsLeft(): number {
    return Math.max(0, this.limits.maxTurns - this.turnsTaken);
  }

  /** Nothing keeps it from going on, and nobody has said so yet. */
  get needsNext(): boolean {
    return this.status === "ready" || (this.status === "waiting" && !this.isWaiting);
  }

  /** Somebody has said something that the agents have not seen yet. */
  get hasInbox(): boolean {
    return this.inbox.length > 0;
  }

  /** In the order in which the model has made them. */
  get pendingCalls(): PendingCall[] {
    return [...this.calls.values()];
  }

  /** What is waited for: approvals and answers. */
  get isWaiting(): boolean {
    const isOpen = ({ approval, asked, answer }: PendingCall): boolean =>
      (approval !== undefined && approval.approved === undefined) ||
      (asked !== undefined && answer === undefined);
    return this.pendingCalls.some(isOpen) || [...this.answers.values()].some(({ answer }) => !answer);
  }

  /** What handlers have asked, and have no answer to yet. */
  get openAsks(): number {
    return [...this.answers.values()].filter(({ answer }) => !answer).length;
  }

  /** A turn has parked, and the one after it goes on with it. */
  private get isResuming(): boolean {
    return this.calls.size > 0 || (this.answers.size > 0 && this.repliedTurn < this.turn);
  }

  /** What an agent has asked others counts as its own. */
  usageOf(agent: string): { readonly usage: Usage; readonly usd: number } {
    return this.usageByAgent.get(normalised(agent)) ?? { usage: noUsage, usd: 0 };
  }

  hasInput(id: string): boolean {
    return this.inputs.has(id);
  }

  /** What a handler has asked by this id. */
  asked(callId: string): (EntryOf<"asked"> & { answer?: EntryOf<"answered"> }) | undefined {
    return this.answers.get(callId);
  }

  /** Somebody was asked by this id, and what has become of it is not known yet: also when the run has not waited for it. */
  isUnanswered(callId: string): boolean {
    return this.unanswered.has(callId);
  }

  approval(id: string): PendingCall | undefined {
    return this.pendingCalls.find(({ approval }) => approval?.id === id);
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.length++;
      this.applyOne(entry);
    }
  }

  private applyOne(entry: Entry): void {
    switch (entry.kind) {
      case "input":
        this.inputs.add(entry.id);
        if (this.status === "new" || this.status === "done") this.beginRun(entry);
        else this.inbox.push(entry);
        return;
      case "next":
        // Whoever waits for an answer goes on with what it has asked; what was said meanwhile comes after that.
        if (!this.isResuming) for (const input of this.inbox.splice(0)) this.takeIn(input);
        this.turn = entry.turn;
        this.attempt = 1;
        this.agent = entry.agent;
        this.status = "running";
        return;
      case "reply":
        this.replied(entry);
        return;
      case "tool-begun":
        this.change(entry.callId, { isBegun: true });
        return;
      case "tool-result":
        this.calls.delete(entry.callId);
        this.setContext(entry.contextVariables);
        this.messages.push({
          role: "tool",
          toolCallId: entry.callId,
          name: entry.name,
          content: entry.content,
        });
        return;
      case "handoff":
        this.handoffs++;
        // What its handler has asked and done is that agent's own: the next one begins anew.
        this.forgetHandler(entry.turn);
        return;
      case "guardrail":
        this.guarded(entry);
        return;
      case "approval-requested": {
        const { callId, approvalId: id, expiresAtMs } = entry;
        this.change(callId, { approval: { id, expiresAtMs } });
        return;
      }
      case "approval-resolved": {
        const call = this.approval(entry.approvalId);
        const { approved, reason } = entry;
        if (call) this.change(call.id, { approval: { ...call.approval!, approved, reason } });
        return;
      }
      case "asked":
        this.unanswered.set(entry.callId, this.agent);
        if (this.calls.has(entry.callId)) this.change(entry.callId, { asked: entry });
        else this.answers.set(entry.callId, entry);
        return;
      case "parked":
        this.status = "waiting";
        return;
      case "unwanted":
        this.isUnwanted = true;
        return;
      case "answered":
        this.count(this.unanswered.get(entry.callId) ?? this.agent, entry.usage, entry.usd);
        this.unanswered.delete(entry.callId);
        if (this.calls.has(entry.callId)) this.change(entry.callId, { answer: entry });
        else if (this.answers.has(entry.callId))
          this.answers.set(entry.callId, { ...this.answers.get(entry.callId)!, answer: entry });
        return;
      case "step":
        this.steps.set(entry.name, entry.result);
        return;
      case "done":
        this.status = "done";
        this.outcome = entry.outcome;
        this.content = entry.content;
        this.reason = entry.reason;
        this.abandonCalls();
        return;
      case "turn-restarted":
        this.attempt = entry.attempt;
        return;
      case "text-delta":
    }
  }

  private beginRun(input: EntryOf<"input">): void {
    this.isUnwanted = false;
    this.firstTurn = this.turn;
    this.handoffs = 0;
    this.outcome = undefined;
    this.limits = input.limits;
    this.asker = input.asker;
    this.trace = input.trace;
    this.status = "ready";
    this.takeIn(input);
  }

  private takeIn({ messages, contextVariables, from, body }: EntryOf<"input">): void {
    this.messages.push(...messages);
    this.setContext(contextVariables);
    this.from = from;
    this.body = body;
    this.rejections = 0;
    this.forgetHandler(this.turn);
  }

  private forgetHandler(turn: number): void {
    this.inputTurn = turn;
    this.answers.clear();
    this.steps.clear();
  }

  private replied({ turn, agent, text, toolCalls, usage, usd, contextVariables }: EntryOf<"reply">): void {
    this.repliedTurn = turn;
    this.hasCalled = toolCalls.length > 0;
    this.count(agent, usage, usd);
    this.setContext(contextVariables);
    this.messages.push({
      role: "assistant",
      name: agent,
      content: text,
      ...(toolCalls.length > 0 && { toolCalls }),
    });
    this.calls = new Map(toolCalls.map((call) => [call.id, call]));
  }

  private count(agent: string, usage: Usage = noUsage, usd = 0): void {
    this.usage = addUsage(this.usage, usage);
    this.usd += usd;
    const before = this.usageOf(agent);
    this.usageByAgent.set(normalised(agent), {
      usage: addUsage(before.usage, usage),
      usd: before.usd + usd,
    });
  }

  private guarded({ turn, side, rewrite, reject }: EntryOf<"guardrail">): void {
    if (side === "input") this.guardedTurn = turn;
    if (rewrite !== undefined) this.rewriteLast(side === "input" ? "user" : "assistant", rewrite);
    if (side === "output" && reject !== undefined) {
      this.rejections++;
      this.messages.push({ role: "system", content: reject });
    }
  }

  private rewriteLast(role: ChatMessage["role"], content: string): void {
    const at = this.messages.findLastIndex((message) => message.role === role);
    if (at >= 0) this.messages[at] = { ...(this.messages[at] as AssistantMessage), content };
  }

  /** A model must not meet a call without a result when the conversation goes on some day. */
  private abandonCalls(): void {
    for (const { id, name, approval } of this.calls.values()) {
      const content =
        approval && approval.approved !== true
          ? "The run ended before this was approved: it was not done."
          : "The run ended before the result was known: it may have been done.";
      this.messages.push({ role: "tool", toolCallId: id, name, content });
    }
    this.calls.clear();
  }

  private change(callId: string, changes: Partial<PendingCall>): void {
    const call = this.calls.get(callId);
    if (call) this.calls.set(callId, { ...call, ...changes });
  }

  private setContext(changes: Variables | undefined): void {
    if (changes !== undefined) this.contextVariables = { ...this.contextVariables, ...changes };
  }
}

import type { Clock } from "../base/index.ts";
import { noUsage, type AssistantMessage, type ChatMessage, type Usage } from "./message.ts";
import { Conversation } from "./conversation.ts";
import type { ConversationLog, RecordedEntry } from "./conversation-log.ts";
import type { Outcome, Variables } from "./entries.ts";
import { tookTooLong } from "./turn.ts";

/** How a run has ended. */
export interface RunResult {
  readonly conversation: string;
  readonly outcome: Outcome;
  /** The answer; empty unless the outcome is `completed` or `refused`. */
  readonly content: string;
  /** Why, where it is not `completed`. */
  readonly reason?: string;
  /** Of the whole conversation. */
  readonly messages: readonly ChatMessage[];
  /** Who had the last turn. */
  readonly agent: string;
  readonly contextVariables: Variables;
  /** Of the whole conversation, and of what its agents have asked others; `usd` as far as prices are known. */
  readonly usage: Usage & { readonly usd: number };
}

/**
 * What happens in a conversation, as it is told. `sequence` counts what is recorded: whoever comes back reads on behind the last that it
 * has seen. Text deltas are provisional: a `turn-restarted` takes back those of its turn.
 */
export type RunEvent = { readonly sequence: number; readonly atMs: number } & (
  | { readonly type: "message"; readonly messages: readonly ChatMessage[]; readonly from?: string }
  | { readonly type: "turn"; readonly turn: number; readonly agent: string }
  | { readonly type: "text-delta"; readonly turn: number; readonly text: string }
  | {
      readonly type: "reply";
      readonly turn: number;
      readonly agent: string;
      readonly message: AssistantMessage;
      readonly usage: Usage;
    }
  | {
      readonly type: "tool-call";
      readonly turn: number;
      readonly callId: string;
      readonly name: string;
      readonly arguments: string;
    }
  | {
      readonly type: "tool-result";
      readonly turn: number;
      readonly callId: string;
      readonly name: string;
      readonly content: string;
      readonly isError: boolean;
    }
  | { readonly type: "handoff"; readonly turn: number; readonly from: string; readonly to: string }
  | {
      readonly type: "guardrail";
      readonly turn: number;
      readonly side: "input" | "output";
      readonly names: readonly string[];
      readonly reject?: string;
    }
  | {
      readonly type: "approval";
      readonly id: string;
      readonly name: string;
      readonly arguments: string;
      readonly expiresAtMs: number;
    }
  | {
      readonly type: "approval-resolved";
      readonly id: string;
      readonly approved: boolean;
      readonly reason?: string;
    }
  | {
      readonly type: "asked";
      readonly turn: number;
      readonly agent: string;
      readonly text: string;
      readonly conversation: string;
    }
  | {
      readonly type: "answered";
      readonly outcome: Outcome;
      readonly content: string;
      /** What the answer has cost, with all that was asked for it. */
      readonly usage: Usage & { readonly usd: number };
    }
  | { readonly type: "turn-restarted"; readonly turn: number; readonly attempt: number }
  | { readonly type: "dead"; readonly turn: number; readonly reason: string }
  | {
      readonly type: "done";
      readonly turn: number;
      readonly outcome: Outcome;
      readonly content: string;
      readonly reason?: string;
    }
);

/** So often at least it is looked, should nobody tell. */
const lookAgainMs = 1_000;
/** Agents end a run that is late themselves, if they are there. */
const graceMs = 1_000;

export interface RunParts {
  readonly log: ConversationLog;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  /** When it must have ended, in milliseconds since 1970, also where no agent takes it. */
  readonly deadlineMs?: number;
  /** What this run is the answer to; undefined: all that was said. */
  readonly inputId: string | undefined;
  /** Resolves when the message is safe with the broker. */
  readonly sent: Promise<void>;
}

/**
 * A run of agents: `await` it for its result, iterate over it for what happens meanwhile, both as often as you like. It goes on
 * whether or not anybody looks.
 */
export class Run implements PromiseLike<RunResult>, AsyncIterable<RunEvent> {
  readonly conversation: string;
  /** Resolves when the message is safe with the broker. @throws PublishError; UnroutableError when there is no such agent */
  readonly sent: Promise<void>;
  private readonly parts: RunParts;
  private ended: Promise<RunResult> | undefined;

  constructor(conversation: string, parts: RunParts) {
    this.conversation = conversation;
    this.parts = parts;
    this.sent = parts.sent;
    // Told to whoever awaits the run.
    this.sent.catch(() => {});
  }

  /** Resolves when the run has ended, however it has. @throws what {@link sent} throws; the signal's reason */
  result(): Promise<RunResult> {
    return (this.ended ??= this.follow());
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a run is awaited for its result
  then<A = RunResult, B = never>(
    onFulfilled?: ((result: RunResult) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.result().then(onFulfilled, onRejected);
  }

  [Symbol.asyncIterator](): AsyncGenerator<RunEvent> {
    return this.events();
  }

  /**
   * What has happened and what happens, from the run's beginning, or behind the event of a sequence. Ends with `done`, or when the
   * run's time is over and nobody has taken it.
   */
  async *events(after = 0): AsyncGenerator<RunEvent> {
    await this.sent;
    const { inputId } = this.parts;
    let isOurs = inputId === undefined;
    let hasEnded = false;
    for await (const { entry, isLast } of this.entries()) {
      isOurs ||= entry.kind === "input" && entry.id === inputId;
      if (isOurs && entry.sequence > after) yield* eventsOf(entry);
      // What a run has cost may be known later than its end.
      hasEnded = entry.kind === "done" || (hasEnded && entry.kind !== "input");
      if (isOurs && hasEnded && (isLast || inputId !== undefined)) return;
    }
  }

  private async follow(): Promise<RunResult> {
    await this.sent;
    const { inputId } = this.parts;
    const conversation = new Conversation(this.conversation);
    for await (const { entry, isLast } of this.entries()) {
      conversation.apply([entry]);
      if (conversation.status !== "done") continue;
      if (inputId === undefined ? isLast : conversation.hasInput(inputId)) break;
    }
    if (conversation.status === "done") return resultOf(conversation);
    return {
      ...resultOf(conversation),
      outcome: "timeout",
      content: "",
      reason: conversation.status === "new" ? "no agent has taken it in time" : tookTooLong,
    };
  }

  private async *entries(): AsyncGenerator<{ entry: RecordedEntry; isLast: boolean }> {
    const { log, clock, signal, deadlineMs } = this.parts;
    let last = 0;
    for (;;) {
      signal?.throwIfAborted();
      // Asked for before it is looked: nothing is missed in between.
      const changed = log.changed(this.conversation, lookAgainMs);
      changed.catch(() => {});
      const entries = await log.entries(this.conversation, last);
      for (const entry of entries) {
        last = entry.sequence;
        yield { entry, isLast: entry === entries.at(-1) };
      }
      await raceAbort(changed, signal);
      if (deadlineMs !== undefined && clock.nowMs() > deadlineMs + graceMs) return;
    }
  }
}

function resultOf(conversation: Conversation): RunResult {
  const { id, outcome, content, reason, messages, agent, contextVariables, usage, usd } = conversation;
  return {
    conversation: id,
    outcome: outcome!,
    content,
    ...(reason !== undefined && { reason }),
    messages,
    agent,
    contextVariables,
    usage: { ...usage, usd },
  };
}

function* eventsOf(entry: RecordedEntry): Generator<RunEvent> {
  const { sequence, atMs } = entry;
  const at = { sequence, atMs };
  switch (entry.kind) {
    case "input":
      yield {
        ...at,
        type: "message",
        messages: entry.messages,
        ...(entry.from !== undefined && { from: entry.from }),
      };
      return;
    case "next":
      yield { ...at, type: "turn", turn: entry.turn, agent: entry.agent };
      return;
    case "reply": {
      const { turn, agent, text, toolCalls, usage } = entry;
      const message = {
        role: "assistant" as const,
        name: agent,
        content: text,
        ...(toolCalls.length > 0 && { toolCalls }),
      };
      yield { ...at, type: "reply", turn, agent, message, usage };
      for (const { id: callId, name, arguments: given } of toolCalls)
        yield { ...at, type: "tool-call", turn, callId, name, arguments: given };
      return;
    }
    case "tool-result": {
      const { turn, callId, name, content, isError = false } = entry;
      yield { ...at, type: "tool-result", turn, callId, name, content, isError };
      return;
    }
    case "approval-requested": {
      const { approvalId: id, name, arguments: given, expiresAtMs } = entry;
      yield { ...at, type: "approval", id, name, arguments: given, expiresAtMs };
      return;
    }
    case "approval-resolved": {
      const { approvalId: id, approved, reason } = entry;
      yield { ...at, type: "approval-resolved", id, approved, ...(reason !== undefined && { reason }) };
      return;
    }
    case "asked": {
      const { turn, agent, text, conversation } = entry;
      yield { ...at, type: "asked", turn, agent, text, conversation };
      return;
    }
    case "answered": {
      const { outcome, content, usage = noUsage, usd = 0 } = entry;
      yield { ...at, type: "answered", outcome, content, usage: { ...usage, usd } };
      return;
    }
    case "text-delta":
      yield { ...at, type: "text-delta", turn: entry.turn, text: entry.text };
      return;
    case "turn-restarted":
      yield { ...at, type: "turn-restarted", turn: entry.turn, attempt: entry.attempt };
      return;
    case "handoff":
      yield { ...at, type: "handoff", turn: entry.turn, from: entry.from, to: entry.to };
      return;
    case "guardrail": {
      const { turn, side, names, reject } = entry;
      yield { ...at, type: "guardrail", turn, side, names, ...(reject !== undefined && { reject }) };
      return;
    }
    // Of no use to who looks.
    case "tool-begun":
    case "step":
      return;
    case "done": {
      const { turn, outcome, content, reason } = entry;
      if (outcome === "failed") yield { ...at, type: "dead", turn, reason: reason ?? "" };
      yield { ...at, type: "done", turn, outcome, content, ...(reason !== undefined && { reason }) };
    }
  }
}

/** @throws the signal's reason */
async function raceAbort(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

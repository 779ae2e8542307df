/** What the journal of a conversation holds, in order. It is all that is kept of one: what it is like now is what these add up to. */
import type { ChatMessage, ToolCall, Usage } from "./message.ts";

export type Entry =
  /** Somebody says something. Begins a run, unless one goes on. */
  | {
      readonly kind: "input";
      /** Of the delivery that brought it: one that comes again is known by it. */
      readonly id: string;
      readonly messages: readonly ChatMessage[];
      readonly contextVariables?: Variables;
      readonly from?: string;
      readonly limits: Limits;
      /** Who waits for the answer. */
      readonly asker?: Asker;
      /** That the run belongs to: headers of W3C trace context. */
      readonly trace?: Trace;
      /** What came, where it is no more than text. */
      readonly body?: unknown;
    }
  /** It is this agent's turn. What was said meanwhile is part of the conversation now. */
  | { readonly kind: "next"; readonly turn: number; readonly agent: string }
  /** An attempt at the turn has died; what it has streamed does not count. */
  | {
      readonly kind: "turn-restarted";
      readonly turn: number;
      readonly attempt: number;
      readonly error?: string;
    }
  /** Of the reply that is coming; the reply itself holds all of it. */
  | { readonly kind: "text-delta"; readonly turn: number; readonly attempt: number; readonly text: string }
  | {
      readonly kind: "reply";
      readonly turn: number;
      readonly agent: string;
      readonly text: string;
      readonly toolCalls: readonly ToolCall[];
      readonly usage: Usage;
      readonly usd?: number;
      readonly contextVariables?: Variables;
    }
  /** A call that must not be made twice is about to be made. */
  | { readonly kind: "tool-begun"; readonly turn: number; readonly callId: string }
  | {
      readonly kind: "tool-result";
      readonly turn: number;
      readonly callId: string;
      readonly name: string;
      readonly content: string;
      readonly isError?: true;
      readonly contextVariables?: Variables;
    }
  | { readonly kind: "handoff"; readonly turn: number; readonly from: string; readonly to: string }
  /** A guardrail has changed what was said last, or sends it back. */
  | {
      readonly kind: "guardrail";
      readonly turn: number;
      readonly side: "input" | "output";
      readonly names: readonly string[];
      readonly rewrite?: string;
      readonly reject?: string;
    }
  /** A call waits for a person. */
  | {
      readonly kind: "approval-requested";
      readonly turn: number;
      readonly approvalId: string;
      readonly callId: string;
      readonly name: string;
      readonly arguments: string;
      readonly expiresAtMs: number;
    }
  | {
      readonly kind: "approval-resolved";
      readonly approvalId: string;
      readonly approved: boolean;
      readonly reason?: string;
    }
  /** A call, or a handler, waits for another agent. */
  | {
      readonly kind: "asked";
      readonly turn: number;
      readonly callId: string;
      readonly agent: string;
      readonly conversation: string;
      readonly text: string;
    }
  | {
      readonly kind: "answered";
      readonly callId: string;
      readonly outcome: Outcome;
      readonly content: string;
      /** What the answer has cost, with all that was asked for it. */
      readonly usage?: Usage;
      readonly usd?: number;
    }
  /** What a handler has done, and will not do again in this run. */
  | { readonly kind: "step"; readonly turn: number; readonly name: string; readonly result: unknown }
  /** The turn is over, and waits for people or agents. */
  | { readonly kind: "parked"; readonly turn: number }
  /** Somebody does not want any more what was not begun yet. */
  | { readonly kind: "unwanted" }
  /** The run has ended. */
  | {
      readonly kind: "done";
      readonly turn: number;
      readonly agent: string;
      readonly outcome: Outcome;
      readonly content: string;
      readonly reason?: string;
    };

export type Trace = Readonly<Record<string, string>>;

export type Variables = Readonly<Record<string, unknown>>;

/**
 * How a run ends. `completed`: with an answer. `refused`: a guardrail did not let the input in. `guardrail`: the agent's answer was
 * sent back too often. `unknown-agent`: it was handed to one that is not there. `handoff-loop`, `max-turns`, `budget`, `timeout`: it
 * would have gone on. `approval-expired`: nobody has decided. `cancelled`; `failed`: a turn has failed as often as it may.
 */
export type Outcome =
  | "completed"
  | "refused"
  | "guardrail"
  | "unknown-agent"
  | "handoff-loop"
  | "max-turns"
  | "budget"
  | "timeout"
  | "approval-expired"
  | "cancelled"
  | "failed";

export interface Limits {
  /** Of all agents together. Default 10. */
  readonly maxTurns: number;
  /** Default 10. */
  readonly maxHandoffs: number;
  /** When it must have ended, in milliseconds since 1970. */
  readonly deadlineMs?: number;
  readonly tokens?: number;
  readonly usd?: number;
  /** Of its messages in the agents' queues. */
  readonly priority?: number;
}

/** A conversation that goes on when another has ended. */
export interface Asker {
  readonly conversation: string;
  readonly agent: string;
  readonly callId: string;
}

/** What comes to an agent's queue. */
import { Fatal } from "../tasks/index.ts";
import type { ChatMessage, Usage } from "./message.ts";
import type { Asker, Limits, Outcome, Variables } from "./entries.ts";

export type AgentDelivery = MessageDelivery | TurnDelivery | AnswerDelivery | ApprovalDelivery | EndDelivery;

/** Somebody says something: a program, a person, another agent. */
export interface MessageDelivery {
  readonly kind: "message";
  readonly messages: readonly ChatMessage[];
  readonly contextVariables: Variables;
  readonly limits?: Partial<Limits>;
  readonly asker?: Asker;
  readonly from?: string;
  readonly conversation: string;
  /** As it came, for programs of others. */
  readonly body?: unknown;
}

/** It is the agent's turn. */
interface TurnDelivery {
  readonly kind: "turn";
  readonly conversation: string;
  readonly turn: number;
}

/** What was asked is answered. */
interface AnswerDelivery {
  readonly kind: "answer";
  readonly conversation: string;
  readonly callId: string;
  readonly outcome: Outcome;
  readonly content: string;
  /** What it has cost. */
  readonly usage: Usage;
  readonly usd: number;
}

/** A person has decided, or has not in time. */
interface ApprovalDelivery {
  readonly kind: "approval";
  readonly conversation: string;
  readonly approvalId: string;
  /** Undefined: the time is over. */
  readonly approved?: boolean;
  readonly reason?: string;
}

/** The run is to end, if it has not by itself: it was cancelled, or its time is over. */
interface EndDelivery {
  readonly kind: "end";
  readonly conversation: string;
  /** The run that is meant. */
  readonly firstTurn?: number;
  readonly outcome: "cancelled" | "timeout";
}

interface Routing {
  readonly from?: string;
  readonly to: string;
  readonly conversation: string;
  readonly turns_left?: number;
}

/** A delivery as JSON: what it says in words that other programs can read, what is ours beside it. */
export interface WireDelivery {
  readonly kind: AgentDelivery["kind"];
  readonly content?: string;
  readonly messages?: readonly ChatMessage[];
  readonly context_variables?: Variables;
  readonly routing: Routing;
  readonly turn?: number;
  readonly limits?: Partial<Limits>;
  readonly asker?: Asker;
  readonly answer?: Omit<AnswerDelivery, "kind" | "conversation">;
  readonly approval?: Omit<ApprovalDelivery, "kind" | "conversation">;
  readonly end?: Omit<EndDelivery, "kind" | "conversation">;
}

export function encodeDelivery(
  delivery: AgentDelivery,
  to: string,
  seen: { content?: string; contextVariables?: Variables; turnsLeft?: number; from?: string } = {},
): WireDelivery {
  const { kind, conversation } = delivery;
  const from = (kind === "message" ? delivery.from : undefined) ?? seen.from;
  const routing: Routing = {
    ...(from !== undefined && { from }),
    to,
    conversation,
    ...(seen.turnsLeft !== undefined && { turns_left: seen.turnsLeft }),
  };
  const common = {
    kind,
    routing,
    ...(seen.content !== undefined && { content: seen.content }),
    ...(seen.contextVariables !== undefined && { context_variables: seen.contextVariables }),
  };
  switch (delivery.kind) {
    case "message": {
      const { messages, contextVariables, limits, asker } = delivery;
      const content = messages.at(-1)?.content ?? "";
      return { ...common, content, messages, context_variables: contextVariables, limits, asker };
    }
    case "turn":
      return { ...common, turn: delivery.turn };
    case "answer": {
      const { callId, outcome, content, usage, usd } = delivery;
      return { ...common, answer: { callId, outcome, content, usage, usd } };
    }
    case "approval": {
      const { approvalId, approved, reason } = delivery;
      return { ...common, approval: { approvalId, approved, reason } };
    }
    default: {
      const { firstTurn, outcome } = delivery;
      return { ...common, end: { firstTurn, outcome } };
    }
  }
}

/**
 * What was sent, by us or by a program that knows only that agents take JSON: `{"role": "user", "content": "…"}`, `{"messages": […]}`,
 * text, or anything else, which is then what is said. `id` names what says no conversation.
 */
export function decodeDelivery(payload: unknown, id: string): AgentDelivery {
  const wire = isObject(payload) ? (payload as Partial<WireDelivery> & Record<string, unknown>) : {};
  const routing = isObject(wire.routing) ? (wire.routing as Partial<Routing>) : {};
  const conversation = typeof routing.conversation === "string" ? routing.conversation : id;
  switch (wire.kind) {
    case "turn":
      return { kind: "turn", conversation, turn: checked(Number(wire.turn), Number.isInteger, "turn") };
    case "answer": {
      const { callId, outcome, content, usage, usd } = checked(wire.answer, isObject, "answer");
      return {
        kind: "answer",
        conversation,
        callId: checked(callId, isText, "answer.callId"),
        outcome: checked(outcome, isText, "answer.outcome"),
        content: checked(content, isText, "answer.content"),
        usage: { inputTokens: count(usage?.inputTokens), outputTokens: count(usage?.outputTokens) },
        usd: count(usd),
      };
    }
    case "approval": {
      const { approvalId, approved, reason } = checked(wire.approval, isObject, "approval");
      return {
        kind: "approval",
        conversation,
        approvalId: checked(approvalId, isText, "approval.approvalId"),
        approved: checked(
          approved,
          (value) => value === undefined || typeof value === "boolean",
          "approval.approved",
        ),
        ...(isText(reason) && { reason }),
      };
    }
    case "end": {
      const { firstTurn, outcome } = checked(wire.end, isObject, "end");
      return {
        kind: "end",
        conversation,
        firstTurn: checked(
          firstTurn,
          (value) => value === undefined || Number.isInteger(value),
          "end.firstTurn",
        ),
        outcome: outcome === "timeout" ? "timeout" : "cancelled",
      };
    }
    default:
      return {
        kind: "message",
        conversation,
        messages: messagesOf(payload, wire),
        contextVariables: isObject(wire.context_variables) ? wire.context_variables : {},
        limits: isObject(wire.limits) ? wire.limits : undefined,
        asker: askerOf(wire.asker),
        from: typeof routing.from === "string" ? routing.from : undefined,
        ...(wire.kind === undefined && { body: payload }),
      };
  }
}

function messagesOf(
  payload: unknown,
  { messages, content, role }: Partial<WireDelivery> & { role?: unknown },
): ChatMessage[] {
  if (Array.isArray(messages) && messages.length > 0 && messages.every(isMessage)) return messages;
  if (typeof content === "string") {
    return [{ role: role === "system" ? "system" : "user", content }];
  }
  return [{ role: "user", content: typeof payload === "string" ? payload : JSON.stringify(payload) }];
}

function askerOf(asker: unknown): Asker | undefined {
  if (asker === undefined) return undefined;
  const { conversation, agent, callId } = checked(asker as Partial<Asker>, isObject, "asker");
  return {
    conversation: checked(conversation, isText, "asker.conversation"),
    agent: checked(agent, isText, "asker.agent"),
    callId: checked(callId, isText, "asker.callId"),
  };
}

/** @throws Fatal: nobody else will make more of it */
function checked<T>(value: T, isRight: (value: unknown) => boolean, what: string): NonNullable<T> {
  if (isRight(value)) return value as NonNullable<T>;
  throw new Fatal(`an agent's message has ${JSON.stringify(value) ?? "nothing"} for ${what}`);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** What says nothing of its cost has none. */
function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}

function isMessage(value: unknown): value is ChatMessage {
  return (
    isObject(value) &&
    typeof value["content"] === "string" &&
    ["user", "system", "assistant", "tool"].includes(value["role"] as string)
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

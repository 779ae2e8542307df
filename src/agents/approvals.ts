import type { PendingCall } from "./conversation.ts";
import type { ConversationLog } from "./conversation-log.ts";
import type { AgentDelivery } from "./delivery.ts";

/** A call of a tool that a person has to decide about. */
export interface Approval {
  readonly id: string;
  readonly conversation: string;
  readonly agent: string;
  /** The tool's name. */
  readonly name: string;
  /** JSON text as the model has written it. */
  readonly arguments: string;
  /** Milliseconds since 1970; then the run ends as `approval-expired`. */
  readonly expiresAtMs: number;
}

export interface Decision {
  readonly approved: boolean;
  /** For the model, where it is refused. */
  readonly reason?: string;
}

/** Decisions that agents wait for, from whatever process they are made. Nothing is held meanwhile. */
export class Approvals {
  private readonly log: ConversationLog;
  private readonly send: (agent: string, delivery: AgentDelivery) => Promise<void>;

  constructor(log: ConversationLog, send: (agent: string, delivery: AgentDelivery) => Promise<void>) {
    this.log = log;
    this.send = send;
  }

  /** What waits for a decision, of the conversations that were changed last. */
  async list(conversations = 1000): Promise<Approval[]> {
    const known = await this.log.list(conversations);
    const open = await Promise.all(known.map(async ({ id }) => this.ofConversation(id)));
    return open.flat();
  }

  /**
   * Resolves when the decision is safe with the broker. The first decision holds.
   *
   * @throws Error when nothing waits for it: it was decided, has expired, or never was
   */
  async resolve(id: string, { approved, reason }: Decision): Promise<void> {
    const conversation = conversationOf(id);
    const approval = (await this.ofConversation(conversation)).find((open) => open.id === id);
    if (approval === undefined)
      throw new Error(`nothing waits for the approval ${id}: it was decided, has expired, or never was`);
    await this.send(approval.agent, {
      kind: "approval",
      conversation,
      approvalId: id,
      approved,
      ...(reason !== undefined && { reason }),
    });
  }

  private async ofConversation(id: string): Promise<Approval[]> {
    const conversation = await this.log.load(id);
    const isOpen = ({ approval }: PendingCall): boolean =>
      approval !== undefined && approval.approved === undefined;
    return conversation.pendingCalls.filter(isOpen).map(({ name, arguments: given, approval }) => ({
      id: approval!.id,
      conversation: id,
      agent: conversation.agent,
      name,
      arguments: given,
      expiresAtMs: approval!.expiresAtMs,
    }));
  }
}

export function approvalIdOf(conversation: string, callId: string): string {
  return `${conversation}#${encodeURIComponent(callId)}`;
}

function conversationOf(approvalId: string): string {
  return approvalId.slice(0, Math.max(0, approvalId.lastIndexOf("#")));
}

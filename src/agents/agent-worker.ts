import type { Clock, Logger } from "../base/index.ts";
import {
  defineTask,
  UnroutableError,
  type Bus,
  type Context as TaskContext,
  type DyingTask,
  type Task,
  type Worker,
} from "../tasks/index.ts";
import type { Agent } from "./agent.ts";
import type { Conversation } from "./conversation.ts";
import type { ConversationLog } from "./conversation-log.ts";
import { decodeDelivery, encodeDelivery, type AgentDelivery, type MessageDelivery } from "./delivery.ts";
import type { Entry, Limits, Outcome, Trace } from "./entries.ts";
import type { Prices } from "./model.ts";
import { queueName, routingKey, topicKey } from "./names.ts";
import { isAgain, isCopy, later } from "./redelivery.ts";
import type { Scope, Tracing } from "./tracing.ts";
import { tookTooLong, Turn } from "./turn.ts";

export interface AgentWorkerParts {
  readonly bus: Bus;
  readonly agent: Agent;
  readonly log: ConversationLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly prices: Prices;
  readonly approvalTimeoutMs: number;
  readonly tracing: Promise<Tracing>;
  /** Of a run that says none, from now on. */
  defaultLimits(): Limits;
  /** Of the agent that is sent to, whoever it is. */
  taskFor(agent: string): Task;
}

/** The task that an agent's queue carries. `isOwn`: the agent lives here, and its queue is declared here. */
export function agentTask(name: string, exchange: string, agent: Agent | undefined): Task {
  const keys = [...(agent?.topics ?? [])].map(topicKey);
  return defineTask("agent", {
    queue: {
      name: queueName(name),
      binding: { exchange, routingKeys: [routingKey(name), ...keys] },
      passive: agent === undefined,
    },
    retry: agent?.options.retry,
  });
}

/** Takes what comes to an agent's queue. */
export class AgentWorker {
  readonly agent: Agent;
  readonly task: Task;
  readonly worker: Worker;
  private readonly parts: AgentWorkerParts;

  constructor(parts: AgentWorkerParts) {
    const { agent, bus } = parts;
    this.parts = parts;
    this.agent = agent;
    this.task = parts.taskFor(agent.name);
    this.worker = bus
      .worker({ concurrency: agent.options.concurrency ?? 1 })
      .on(this.task, (payload, context) => this.handle(payload, context))
      .onUntyped(this.task)
      .onDead((task) => this.died(task));
  }

  private async handle(payload: unknown, task: TaskContext): Promise<void> {
    const delivery = decodeDelivery(payload, task.taskId);
    const conversation = await this.parts.log.load(delivery.conversation);
    // The journal's time is over: approvals and ends may come that late.
    if (delivery.kind !== "message" && conversation.status === "new") return;
    const { turn, status } = conversation;
    await this.take(delivery, conversation, task);
    const hasMoved = conversation.turn > turn || (conversation.status === "done" && status !== "done");
    // What is recorded and perhaps not published is published again: a delivery that comes again finds that nothing is left to be done.
    // Otherwise a turn that is at work elsewhere would be begun beside it.
    const hasEnded = delivery.kind === "end" && conversation.status === "done";
    if (hasMoved || hasEnded || isAgain(task)) await this.goOn(conversation, delivery, task, hasMoved);
  }

  private async take(delivery: AgentDelivery, conversation: Conversation, task: TaskContext): Promise<void> {
    const { log } = this.parts;
    switch (delivery.kind) {
      case "message":
        await this.takeIn(delivery, conversation, task);
        break;
      case "turn":
        // A turn that comes by another id than its own could be at work elsewhere at the same time.
        if (task.taskId === turnId(conversation) && isAtWork(conversation, task)) {
          if (isCopy(task)) throw later();
          await this.takeTurn(conversation, task);
        }
        break;
      case "answer":
        await log.commit(conversation, (now) =>
          now.isUnanswered(delivery.callId) ? [answered(delivery)] : undefined,
        );
        break;
      case "approval":
        await this.decide(delivery, conversation);
        break;
      case "end":
        await log.commit(conversation, (now) =>
          now.status === "done" || (delivery.firstTurn !== undefined && delivery.firstTurn !== now.firstTurn)
            ? undefined
            : [this.done(now, delivery.outcome, delivery.outcome === "timeout" ? tookTooLong : "")],
        );
    }
    await log.commit(conversation, (now) =>
      now.needsNext
        ? [{ kind: "next", turn: now.turn + 1, agent: now.status === "ready" ? this.agent.name : now.agent }]
        : undefined,
    );
  }

  /** What begins a run is a span where its sender has none: all turns of the run are of one trace. */
  private async takeIn(
    delivery: MessageDelivery,
    conversation: Conversation,
    { taskId, headers }: TaskContext,
  ): Promise<void> {
    const id = idOfInput(delivery, taskId);
    const take = async (scope: Scope): Promise<void> => {
      await this.parts.log.commit(conversation, (now) =>
        now.hasInput(id)
          ? undefined
          : [
              this.inputOf(delivery, id, scope.headers),
              ...(now.isUnwanted ? [this.done(now, "cancelled", "")] : []),
            ],
      );
    };
    const scope = (await this.parts.tracing).scope(headers);
    if (scope.headers["traceparent"] !== undefined) return take(scope);
    const attributes = { "messaging.system": "rabbitmq", "gen_ai.conversation.id": conversation.id };
    await scope.run(`process ${routingKey(this.agent.name)}`, { kind: "consumer", attributes }, take);
  }

  private async decide(
    { approvalId, approved, reason }: Extract<AgentDelivery, { kind: "approval" }>,
    conversation: Conversation,
  ): Promise<void> {
    await this.parts.log.commit(conversation, (now) => {
      const call = now.approval(approvalId);
      if (call === undefined || call.approval!.approved !== undefined) return undefined;
      if (approved !== undefined) return [{ kind: "approval-resolved", approvalId, approved, reason }];
      return [this.done(now, "approval-expired", `nobody has approved or refused '${call.name}' in time`)];
    });
  }

  /**
   * Publishes what the conversation needs to go on elsewhere. A turn's id is its own, so that twice is once; all else is known by what it
   * says.
   */
  private async goOn(
    conversation: Conversation,
    delivery: AgentDelivery,
    task: TaskContext,
    isNew: boolean,
  ): Promise<void> {
    if (delivery.kind === "message" && conversation.limits.deadlineMs !== undefined)
      await this.watchDeadline(conversation, task);
    if (conversation.status === "running" && (isNew || !(await this.isKnownToBeSent(conversation)))) {
      try {
        await this.send(conversation.agent, turnDelivery(conversation), task, conversation, {
          id: turnId(conversation),
        });
      } catch (error) {
        if (!(error instanceof UnroutableError)) throw error;
        const { turn } = conversation;
        await this.parts.log.commit(conversation, (now) =>
          now.status === "running" && now.turn === turn
            ? [this.done(now, "unknown-agent", `there is no agent '${now.agent}'`)]
            : undefined,
        );
      }
    }
    if (conversation.status === "done") await this.tellAsker(conversation);
  }

  /** INVARIANT 21: somebody has begun the turn, and may be at work on it. */
  private async isKnownToBeSent(conversation: Conversation): Promise<boolean> {
    const { attempt } = await this.parts.bus.job(turnId(conversation)).state();
    return attempt > 0;
  }

  private async watchDeadline(conversation: Conversation, task: TaskContext): Promise<void> {
    const { clock } = this.parts;
    const { id, firstTurn, limits } = conversation;
    await this.send(
      this.agent.name,
      { kind: "end", conversation: id, firstTurn, outcome: "timeout" },
      task,
      conversation,
      { id: `${id}:${firstTurn}:deadline`, delay: Math.max(1, limits.deadlineMs! - clock.nowMs()) },
    );
  }

  private async tellAsker({ id, asker, outcome, content, reason, usage, usd }: Conversation): Promise<void> {
    if (asker === undefined) return;
    const { conversation, callId, agent } = asker;
    const said = outcome === "completed" ? content : (reason ?? "");
    const answer = { callId, outcome: outcome!, content: said, usage, usd };
    try {
      await this.parts.bus.send(
        this.parts.taskFor(agent),
        encodeDelivery({ kind: "answer", conversation, ...answer }, agent, { content }),
        { result: false },
      );
    } catch (error) {
      if (!(error instanceof UnroutableError)) throw error;
      this.parts.logger.warn({ conversation: id, agent }, "the agent that has asked is gone");
    }
  }

  private async takeTurn(conversation: Conversation, task: TaskContext): Promise<void> {
    const { name } = this.agent;
    const attributes = {
      "gen_ai.operation.name": "invoke_agent",
      "gen_ai.agent.name": name,
      "gen_ai.conversation.id": conversation.id,
    };
    const scope = (await this.parts.tracing).scope(conversation.trace ?? task.headers);
    await scope.run(`invoke_agent ${name}`, { kind: "consumer", attributes }, (inside) =>
      this.turnOf(conversation, task, inside).run(),
    );
  }

  private turnOf(conversation: Conversation, task: TaskContext, scope: Scope): Turn {
    const { agent, log, clock, logger, prices, approvalTimeoutMs } = this.parts;
    return new Turn({
      agent,
      conversation,
      log,
      task,
      clock,
      logger,
      prices,
      approvalTimeoutMs,
      scope,
      send: (to, delivery, options) =>
        this.send(to, delivery, task, conversation, { ...options, headers: scope.headers }),
    });
  }

  private async send(
    to: string,
    delivery: AgentDelivery,
    task: TaskContext,
    { contextVariables, turnsLeft, messages, limits, trace }: Conversation,
    options: { readonly id: string; readonly delay?: number; readonly headers?: Trace },
  ): Promise<void> {
    const content = messages.at(-1)?.content;
    const wire = encodeDelivery(delivery, to, {
      content,
      contextVariables,
      turnsLeft,
      from: this.agent.name,
    });
    const { priority } = limits;
    await task.send(this.parts.taskFor(to), wire, { headers: trace, ...options, result: false, priority });
  }

  private inputOf(
    { messages, contextVariables, limits, asker, from, body }: MessageDelivery,
    id: string,
    trace: Trace,
  ): Entry {
    return {
      kind: "input",
      id,
      messages,
      contextVariables,
      limits: limitsWithin(this.parts.defaultLimits(), limits),
      ...(from !== undefined && { from }),
      ...(asker !== undefined && { asker }),
      ...(trace["traceparent"] !== undefined && { trace }),
      ...(body !== undefined && { body }),
    };
  }

  /** A turn has failed as often as it may: the run has ended, and says so. */
  private async died({ id, payload, error, reason }: DyingTask): Promise<void> {
    const { log, logger } = this.parts;
    let delivery: AgentDelivery;
    try {
      delivery = decodeDelivery(payload, id);
    } catch {
      // It is no agent's message: no conversation knows of it.
      return;
    }
    // Without these the run would never go on; without the others it does.
    const isNeeded = delivery.kind === "turn" || delivery.kind === "message" || delivery.kind === "answer";
    if (!isNeeded) return;
    try {
      const conversation = await log.load(delivery.conversation);
      await log.commit(conversation, (now) => {
        const failed = this.done(now, "failed", `${reason}: ${error.message}`);
        // Whoever waits for what has come of it looks for it in the journal.
        if (delivery.kind === "message" && !now.hasInput(idOfInput(delivery, id)))
          return [this.inputOf(delivery, idOfInput(delivery, id), {}), failed];
        if (now.status === "done" || now.status === "new") return undefined;
        if (delivery.kind === "turn" && delivery.turn !== now.turn) return undefined;
        return [failed];
      });
      if (conversation.status === "done") await this.tellAsker(conversation);
    } catch (another) {
      // The letter has what was to be done. It must not come back here for ever.
      logger.error(
        { conversation: delivery.conversation, error: (another as Error).message },
        "a run has failed, and its journal or its asker could not be told",
      );
    }
  }

  private done({ turn, agent }: Conversation, outcome: Outcome, reason: string): Entry {
    return { kind: "done", turn, agent, outcome, content: "", ...(reason !== "" && { reason }) };
  }
}

/** What waits is at work again where it has died: somebody may be recorded as asked who was not told. */
function isAtWork({ status }: Conversation, task: TaskContext): boolean {
  return status === "running" || (status === "waiting" && isAgain(task));
}

/** What a message may use, which anybody may have sent: our own limits where it says none. */
function limitsWithin(own: Limits, asked: Partial<Limits> = {}): Limits {
  const given = Object.entries(asked).filter(([, value]) => Number.isFinite(value) && value >= 0);
  return { ...own, ...Object.fromEntries(given) };
}

function answered({
  callId,
  outcome,
  content,
  usage,
  usd,
}: Extract<AgentDelivery, { kind: "answer" }>): Entry {
  return { kind: "answered", callId, outcome, content, usage, usd };
}

/** What is asked is published again by who does not know that it was: it is known by who asks. */
function idOfInput({ asker }: MessageDelivery, taskId: string): string {
  return asker === undefined ? taskId : `${asker.conversation}:${asker.callId}`;
}

/** By which it is done once, however often it is published. */
function turnId({ id, turn }: Conversation): string {
  return `${id}:${turn}`;
}

function turnDelivery({ id, turn }: Conversation): AgentDelivery {
  return { kind: "turn", conversation: id, turn };
}

import type { Clock, Logger } from "../base/index.ts";
import { Fatal, Retry, UnknownOutcomeError, type Context as TaskContext } from "../tasks/index.ts";
import { nameOf, type Agent, type AgentReply } from "./agent.ts";
import { AskError } from "./ask-error.ts";
import type { Conversation } from "./conversation.ts";
import type { ConversationLog } from "./conversation-log.ts";
import { DeltaWriter } from "./delta-writer.ts";
import type { AgentDelivery } from "./delivery.ts";
import type { Entry, Outcome } from "./entries.ts";
import { checkAll } from "./guardrail.ts";
import { EndWatch } from "./end-watch.ts";
import { handoffName, handoffTools } from "./handoff.ts";
import { lastMessages } from "./history.ts";
import { noUsage, type ChatMessage } from "./message.ts";
import {
  costOf,
  ModelError,
  type ModelReply,
  type ModelRequest,
  type Prices,
  type ToolDescription,
} from "./model.ts";
import { withCallIds } from "./models/call-ids.ts";
import { normalised } from "./names.ts";
import { isAgain, later } from "./redelivery.ts";
import type { Scope } from "./tracing.ts";
import { ToolCalls } from "./tool-calls.ts";
import { validateOutput } from "./validate-output.ts";

export interface TurnParts {
  readonly agent: Agent;
  readonly conversation: Conversation;
  readonly log: ConversationLog;
  readonly task: TaskContext;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly prices: Prices;
  readonly approvalTimeoutMs: number;
  readonly scope: Scope;
  /** The same when it is sent again. @throws UnroutableError when there is no such agent */
  send(
    to: string,
    delivery: AgentDelivery,
    options: { readonly id: string; readonly delay?: number },
  ): Promise<void>;
}

/** An output that was sent back so often is not asked for again. */
const mostRejections = 3;

/** Of a run whose time is over. */
export const tookTooLong = "it took longer than it may";

/** Somebody else has taken this turn, or it has ended: what was found here does not count. */
class Superseded extends Error {}
/** The handler waits for another agent. */
class Waiting extends Error {}

/**
 * One turn of an agent: a model's reply, or a handler's, and what it leads to. Each thing that has happened is in the journal before
 * the next is begun, so that another attempt goes on where this one died; the model is asked again only for a reply that was not
 * recorded.
 */
export class Turn {
  private readonly parts: TurnParts;
  private readonly turn: number;
  private readonly calls: ToolCalls;
  /** Of the turn: as often as it was begun. */
  private attempt: number;

  constructor(parts: TurnParts) {
    this.parts = parts;
    this.attempt = parts.task.attempt;
    this.turn = parts.conversation.turn;
    this.calls = new ToolCalls(parts, (decide) => this.commit(decide));
  }

  /** Resolves when the conversation stands where somebody else, or nobody, has to go on. */
  async run(): Promise<void> {
    try {
      await this.restarted();
      await this.take();
    } catch (error) {
      if (!(error instanceof Superseded)) throw error;
      this.parts.logger.debug(
        { conversation: this.parts.conversation.id, turn: this.turn },
        "turn was taken over, or has ended",
      );
    }
  }

  private async take(): Promise<void> {
    const { conversation, agent } = this.parts;
    // Calls of a reply that was recorded by an attempt before, or that have waited.
    if (conversation.pendingCalls.length > 0 && !(await this.finishCalls())) return;
    if (conversation.repliedTurn !== this.turn) {
      const limit = this.limitReached();
      if (limit) return this.end(...limit);
      if (!(await this.inputIsWelcome())) return;
      if (agent.options.handler) await this.runHandler();
      else await this.askModel();
      if (conversation.status !== "running" || conversation.turn !== this.turn) return;
      if (conversation.pendingCalls.length > 0 && !(await this.finishCalls())) return;
    }
    if (conversation.hasCalled) await this.commit(() => [this.next(agent.name)]);
    else await this.answer();
  }

  /** False when the turn ends with them: somebody is waited for, or another agent goes on. */
  private async finishCalls(): Promise<boolean> {
    if (!(await this.runCalls())) return false;
    const { conversation, agent } = this.parts;
    if (conversation.isWaiting) {
      await this.park();
      return false;
    }
    const [handoff, ...others] = this.calls.handoffs();
    if (handoff === undefined) return true;
    const to = handoffName(agent, handoff.name)!;
    const results: Entry[] = [
      this.calls.result(handoff, JSON.stringify({ assistant: to })),
      ...others.map((call) => this.calls.result(call, "Only one handoff at a time is possible.", true)),
    ];
    await this.commit(() => [...results, ...this.handedOver(to)]);
    return false;
  }

  /** False when the run has ended meanwhile: what has not begun by then does not. */
  private async runCalls(): Promise<boolean> {
    const { conversation, log, clock, task } = this.parts;
    const watch = new EndWatch(conversation, log, clock, task.signal);
    try {
      await this.calls.run(watch.signal);
      return true;
    } catch (error) {
      if (!watch.hasEnded || error instanceof UnknownOutcomeError) throw error;
      await this.ended();
      return false;
    } finally {
      watch.stop();
    }
  }

  /** As the turn's last act: what was waited for may have come meanwhile. */
  private async park(): Promise<void> {
    await this.commit((now) => [
      now.isWaiting ? { kind: "parked", turn: this.turn } : this.next(this.parts.agent.name),
    ]);
  }

  private handedOver(to: string): Entry[] {
    const { conversation, agent } = this.parts;
    const { handoffs, limits } = conversation;
    const handoff: Entry = { kind: "handoff", turn: this.turn, from: agent.name, to };
    if (handoffs < limits.maxHandoffs) return [handoff, this.next(to)];
    return [handoff, this.done("handoff-loop", "", `handed over more than ${limits.maxHandoffs} times`)];
  }

  private async askModel(): Promise<void> {
    const { agent, conversation, log, task, clock, prices, scope } = this.parts;
    const { model, tools = {}, history = lastMessages(200), instructions } = agent.options;
    if (!model) throw new Fatal(`agent '${agent.name}' has neither a model nor a handler`);
    const deltas = new DeltaWriter(clock, (text) =>
      this.commit(() => [{ kind: "text-delta", turn: this.turn, attempt: this.attempt, text }]),
    );
    const watch = new EndWatch(conversation, log, clock, task.signal);
    let reply: ModelReply;
    try {
      const attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model.name,
        "gen_ai.conversation.id": conversation.id,
      };
      const request: ModelRequest = {
        instructions:
          typeof instructions === "function" ? instructions(conversation.contextVariables) : instructions,
        messages: asSeenBy(agent, history(conversation.messages)),
        tools: [
          ...Object.entries(tools).map(([name, { description, parameters }]): ToolDescription => ({
            name,
            description,
            parameters,
          })),
          ...handoffTools(agent),
        ],
        outputSchema: agent.outputJsonSchema,
        signal: watch.signal,
        onText: (delta) => deltas.add(delta),
      };
      reply = await scope.run(`chat ${model.name}`, { kind: "client", attributes }, async (span) => {
        const answer = await watch.race(model.step(request));
        span.set({
          "gen_ai.usage.input_tokens": answer.usage.inputTokens,
          "gen_ai.usage.output_tokens": answer.usage.outputTokens,
        });
        return answer;
      });
    } catch (error) {
      if (watch.hasEnded) return this.ended();
      throw error instanceof ModelError ? asTaskError(error) : error;
    } finally {
      watch.stop();
      await deltas.close();
    }
    const { text, usage } = reply;
    // What a call has done is known by its id: none may come twice, not even one that the model has been shown no more.
    const toolCalls = withCallIds(reply.toolCalls, conversation);
    await this.say({
      kind: "reply",
      turn: this.turn,
      agent: agent.name,
      text,
      toolCalls,
      usage,
      usd: costOf(model.name, usage, prices),
    });
  }

  /** A turn has one reply, whoever was first. @throws Superseded, Retry */
  private async say(reply: Entry, after?: (now: Conversation) => readonly Entry[]): Promise<void> {
    let isFirst = true;
    await this.commit((now) => {
      isFirst = now.repliedTurn !== this.turn;
      return isFirst ? [reply, ...(after?.(now) ?? [])] : [];
    });
    // Whoever was first may have died since: it is looked at again, not taken for done.
    if (!isFirst) throw later();
  }

  private async runHandler(): Promise<void> {
    const { agent, conversation, log, clock, task } = this.parts;
    const watch = new EndWatch(conversation, log, clock, task.signal);
    const asking: Promise<string>[] = [];
    const stepping: Promise<unknown>[] = [];
    let reply: AgentReply;
    try {
      const last = conversation.messages.findLast((message) => isSaid(message, agent));
      const handling = agent.options.handler!(
        {
          content: last?.content ?? "",
          messages: [...conversation.messages],
          contextVariables: conversation.contextVariables,
          from: conversation.from,
          to: agent.name,
          conversation: conversation.id,
          turnsLeft: conversation.turnsLeft,
          body: conversation.body ?? last,
        },
        {
          signal: watch.signal,
          log: task.log,
          step: this.handlerStep(stepping),
          ask: this.handlerAsk(asking),
        },
      );
      const answered = await watch.race(Promise.resolve(handling));
      reply = typeof answered === "string" ? { content: answered } : (answered ?? {});
    } catch (error) {
      if (watch.hasEnded) return this.ended();
      if (!(error instanceof Waiting)) throw error;
      reply = {};
    } finally {
      watch.stop();
    }
    // It may have asked several at once, and be at work on steps beside them: all of it must be recorded before the turn is over, or the
    // next would do it again. What a handler has made of an answer that is still to come does not count.
    await Promise.allSettled(stepping);
    const asked = await Promise.allSettled(asking);
    if (asked.some((answer) => answer.status === "rejected" && answer.reason instanceof Waiting))
      return this.park();
    const { content = "", contextVariables, handoff } = reply;
    const said: Entry = {
      kind: "reply",
      turn: this.turn,
      agent: agent.name,
      text: content,
      toolCalls: [],
      usage: noUsage,
      contextVariables,
    };
    await this.say(said, () => (handoff === undefined ? [] : this.handedOver(nameOf(handoff))));
  }

  private handlerStep(stepping: Promise<unknown>[]): TaskContext["step"] {
    const { conversation, task } = this.parts;
    const recorded = async <T>(name: string, ...rest: unknown[]): Promise<T> => {
      if (conversation.steps.has(name)) return conversation.steps.get(name) as T;
      const result = await (task.step as (...all: unknown[]) => Promise<T>)(name, ...rest);
      await this.commit(() => [{ kind: "step", turn: this.turn, name, result }]);
      return result;
    };
    return <T>(name: string, ...rest: unknown[]): Promise<T> => {
      const step = recorded<T>(name, ...rest);
      stepping.push(step);
      // Told where it is awaited, if it is.
      step.catch(() => {});
      return step;
    };
  }

  private handlerAsk(asking: Promise<string>[]): (agent: Agent | string, text: string) => Promise<string> {
    return (agent, text) => {
      const answer = this.askOnce(`ask:${this.parts.conversation.inputTurn}:${asking.length}`, agent, text);
      asking.push(answer);
      // Told where it is awaited, if it is.
      answer.catch(() => {});
      return answer;
    };
  }

  /** @throws Waiting when there is no answer yet; AskError */
  private async askOnce(callId: string, agent: Agent | string, text: string): Promise<string> {
    const { conversation } = this.parts;
    const asked = conversation.asked(callId);
    if (asked?.answer) {
      const { outcome, content } = asked.answer;
      if (outcome === "completed") return content;
      throw new AskError(nameOf(agent), outcome, content);
    }
    await this.calls.ask(callId, nameOf(agent), text);
    throw new Waiting();
  }

  /** The final answer, past the guardrails. */
  private async answer(): Promise<void> {
    const { conversation, agent } = this.parts;
    const { guardrails = {}, outputSchema } = agent.options;
    const said = conversation.messages.findLast(({ role }) => role === "assistant")?.content ?? "";
    const checked = await checkAll(guardrails.output ?? [], said, this.guardrailContext());
    const wrong = checked.rejected ?? (outputSchema && (await validateOutput(outputSchema, checked.text)));
    const { text, rewrittenBy } = checked;
    const entries: Entry[] = [];
    if (rewrittenBy.length > 0 || wrong) {
      entries.push({
        kind: "guardrail",
        turn: this.turn,
        side: "output",
        names: wrong ? [...rewrittenBy, wrong.by] : rewrittenBy,
        ...(rewrittenBy.length > 0 && { rewrite: text }),
        ...(wrong && { reject: `Your answer was not accepted: ${wrong.reason} Answer again.` }),
      });
    }
    await this.commit((now) => {
      if (wrong && now.rejections + 1 >= mostRejections) {
        return [...entries, this.done("guardrail", "", `${wrong.by}: ${wrong.reason}`)];
      }
      if (wrong || now.hasInbox) return [...entries, this.next(agent.name)];
      return [...entries, this.done("completed", text)];
    });
  }

  /** False when the run has ended because of what was said. */
  private async inputIsWelcome(): Promise<boolean> {
    const { conversation, agent } = this.parts;
    const guardrails = agent.options.guardrails?.input ?? [];
    const last = conversation.messages.at(-1);
    if (guardrails.length === 0 || last?.role !== "user" || conversation.guardedTurn === this.turn)
      return true;
    const { text, rewrittenBy, rejected } = await checkAll(guardrails, last.content, this.guardrailContext());
    if (rewrittenBy.length === 0 && !rejected) return true;
    const entry: Entry = {
      kind: "guardrail",
      turn: this.turn,
      side: "input",
      names: rejected ? [...rewrittenBy, rejected.by] : rewrittenBy,
      ...(rewrittenBy.length > 0 && { rewrite: text }),
      ...(rejected && { reject: rejected.reason }),
    };
    await this.commit(() => [
      entry,
      ...(rejected ? [this.done("refused", rejected.reason, `${rejected.by}: ${rejected.reason}`)] : []),
    ]);
    return !rejected;
  }

  private guardrailContext(): Parameters<typeof checkAll>[2] {
    const { conversation, agent, task } = this.parts;
    const { id, contextVariables } = conversation;
    return { conversation: id, agent: agent.name, contextVariables, signal: task.signal };
  }

  /** Before each call of a model: a run always ends. */
  private limitReached(): [Outcome, string] | undefined {
    const { conversation, agent, clock, prices } = this.parts;
    const { limits, usage, usd, turnsTaken } = conversation;
    if (turnsTaken > limits.maxTurns) return ["max-turns", `more than ${limits.maxTurns} turns`];
    if (limits.deadlineMs !== undefined && clock.nowMs() >= limits.deadlineMs)
      return ["timeout", tookTooLong];
    const { model, budget } = agent.options;
    if (!model) return undefined;
    const ofAgent = conversation.usageOf(agent.name);
    for (const [whose, allowed, used] of [
      ["the run", limits, { usage, usd }],
      [`agent '${agent.name}'`, budget ?? {}, ofAgent],
    ] as const) {
      const tokens = used.usage.inputTokens + used.usage.outputTokens;
      if (allowed.tokens !== undefined && tokens >= allowed.tokens)
        return ["budget", `${whose} has used ${tokens} tokens of ${allowed.tokens}`];
      if (allowed.usd === undefined) continue;
      if (costOf(model.name, noUsage, prices) === undefined)
        throw new Fatal(
          `${whose} has a budget in dollars, and the swarm no price for the model '${model.name}'`,
        );
      if (used.usd >= allowed.usd)
        return ["budget", `${whose} has used ${used.usd.toFixed(4)} dollars of ${allowed.usd}`];
    }
    return undefined;
  }

  /** The run has ended while the turn was at work. */
  private async ended(): Promise<void> {
    const limit = this.limitReached();
    if (limit?.[0] !== "timeout") throw new Superseded();
    await this.end(...limit);
  }

  /** Whoever had the turn before, and perhaps does not know that it has lost it, writes no more. */
  private async restarted(): Promise<void> {
    const { task, log, conversation } = this.parts;
    if (!isAgain(task)) return;
    await log.commit(conversation, (now) => {
      if (now.turn !== this.turn) return undefined;
      this.attempt = Math.max(now.attempt + 1, task.attempt);
      return [{ kind: "turn-restarted", turn: this.turn, attempt: this.attempt }];
    });
  }

  private async end(outcome: Outcome, reason: string): Promise<void> {
    await this.commit(() => [this.done(outcome, "", reason)]);
  }

  private next(agent: string): Entry {
    return { kind: "next", turn: this.turn + 1, agent };
  }

  private done(outcome: Outcome, content: string, reason?: string): Entry {
    const { name: agent } = this.parts.agent;
    return {
      kind: "done",
      turn: this.turn,
      agent,
      outcome,
      content,
      ...(reason !== undefined && { reason }),
    };
  }

  /** @throws Superseded when the conversation is no longer at this turn */
  private async commit(decide: (now: Conversation) => readonly Entry[]): Promise<void> {
    const { log, conversation } = this.parts;
    let isCurrent = true;
    await log.commit(conversation, (now) => {
      isCurrent =
        now.turn === this.turn &&
        now.attempt <= this.attempt &&
        (now.status === "running" || now.status === "waiting");
      return isCurrent ? decide(now) : undefined;
    });
    if (!isCurrent) throw new Superseded();
  }
}

/** By somebody, to this agent: neither its own words nor a tool's. */
function isSaid(message: ChatMessage, agent: Agent): boolean {
  if (message.role !== "assistant") return message.role === "user";
  return message.content !== "" && normalised(message.name ?? "") !== normalised(agent.name);
}

/** An API that asks for more than a day is asked after a day. */
const longestRetryAfterMs = 86_400_000;

/** What the task's retries make of it. */
function asTaskError(error: ModelError): Error {
  const { message, isFinal, retryAfterMs } = error;
  if (isFinal) return new Fatal(message, { cause: error });
  if (retryAfterMs === undefined) return error;
  return new Retry({ message, after: Math.min(retryAfterMs, longestRetryAfterMs), cause: error });
}

/** Its own replies bear no name; those of others do. */
function asSeenBy(agent: Agent, messages: readonly ChatMessage[]): ChatMessage[] {
  const own = normalised(agent.name);
  return messages.map((message) => {
    if (message.role !== "assistant" || message.name === undefined || normalised(message.name) !== own)
      return message;
    const { name: _, ...unnamed } = message;
    return unnamed;
  });
}

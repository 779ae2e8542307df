import { randomUUID } from "node:crypto";
import type { Clock, Logger, Timer } from "../base/index.ts";
import { CapabilityError, type Bus, type Task } from "../tasks/index.ts";
import { nameOf, type Agent } from "./agent.ts";
import { agentTask, AgentWorker } from "./agent-worker.ts";
import { Approvals } from "./approvals.ts";
import { ConversationLog } from "./conversation-log.ts";
import { encodeDelivery, type AgentDelivery, type MessageDelivery } from "./delivery.ts";
import type { Limits, Outcome, Variables } from "./entries.ts";
import type { ChatMessage } from "./message.ts";
import type { Prices } from "./model.ts";
import { assertName, isSameAgent, normalised, queueName, routingKey, topicKey } from "./names.ts";
import { Registry, type KnownAgent } from "./registry.ts";
import { Run } from "./run.ts";
import { loadTracing, type Tracing } from "./tracing.ts";
import { AskError } from "./ask-error.ts";

export interface SwarmOptions {
  readonly agents?: readonly Agent[];
  /** The topic exchange that leads to their queues. Default `agent_exchange`. */
  readonly exchange?: string;
  /** Dollars for a million tokens, by the model's name. */
  readonly prices?: Prices;
  /** What a run may use, unless it says otherwise. Default: 10 turns, 10 handoffs. */
  readonly limits?: RunLimits;
  /** How long a call waits for a person, in milliseconds. Default a day. */
  readonly approvalTimeout?: number;
}

export interface RunLimits {
  /** Of all agents together. Default 10. */
  readonly maxTurns?: number;
  /** Default 10. */
  readonly maxHandoffs?: number;
  /** In milliseconds. Default: none. */
  readonly timeout?: number;
  /** Of the whole conversation, input and output together. */
  readonly tokens?: number;
  /** Of the whole conversation. */
  readonly usd?: number;
}

export interface RunOptions extends RunLimits {
  /** What is said: text, or messages. */
  readonly messages: string | readonly ChatMessage[];
  /** What agents and tools know beside the messages. */
  readonly context?: Variables;
  /** One that goes on. Default: a new one. */
  readonly conversation?: string;
  /** Of its messages in the agents' queues, from 0 to 10, the highest first, where the backend has priorities. Default 5. */
  readonly priority?: number;
  /** Cancels the run. */
  readonly signal?: AbortSignal;
}

/** How an agent's queue is, in the words of the seed. */
export interface QueueStatus {
  readonly queue_name: string;
  readonly message_count: number;
  readonly consumer_count: number;
  readonly routing_key: string;
  /** `active`: somebody consumes it. `idle`: nobody does. `error`: it cannot be looked at. */
  readonly status: "active" | "idle" | "error";
  readonly error?: string;
}

export interface SwarmHealth {
  readonly status: "healthy" | "unhealthy";
  readonly agents: Readonly<Record<string, AgentHealth>>;
}

export interface AgentHealth {
  readonly status: "healthy" | "unhealthy";
  /** Why it takes no messages. */
  readonly error?: string;
}

/** A consumer is refused so often before it is called unhealthy. */
const tries = 3;
const firstRetryMs = 100;
const lateRetryMs = 5_000;
const dayMs = 86_400_000;

/**
 * Agents that talk over durable queues: those that live in this process, and all others on the bus, who are found by name.
 * Conversations are kept in the bus's state.
 */
export class Swarm implements AsyncDisposable {
  readonly approvals: Approvals;
  private readonly bus: Bus;
  private readonly options: SwarmOptions;
  private readonly exchange: string;
  private readonly log: ConversationLog;
  private readonly registry: Registry;
  private readonly tracing: Promise<Tracing> = loadTracing();
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly workers = new Map<string, AgentWorker>();
  private readonly started = new Map<string, Promise<void>>();
  private readonly failures = new Map<string, Error>();
  private readonly refreshing: Timer[] = [];
  private readonly others = new Map<string, Task>();
  private readonly closing = new AbortController();

  /**
   * @throws CapabilityError when the bus has no state that the processes share; TypeError when two agents have the same queue
   */
  constructor(bus: Bus, options: SwarmOptions = {}) {
    if (bus.capabilities.state === "none") {
      throw new CapabilityError(
        'agents keep their conversations in state that all processes share: connect(url, { state: "postgres://…" }). embedded:./data brings its own.',
      );
    }
    const { clock, logger, retentionMs } = bus.surroundings;
    this.bus = bus;
    this.options = options;
    this.exchange = options.exchange ?? "agent_exchange";
    this.clock = clock;
    this.logger = logger;
    this.log = new ConversationLog(bus.journal, clock, retentionMs);
    this.registry = new Registry(bus.journal, clock, retentionMs);
    this.approvals = new Approvals(this.log, (agent, delivery) => this.send(agent, delivery, randomUUID()));
    for (const agent of options.agents ?? []) this.register(agent);
  }

  /**
   * Declares and binds the agent's queue and begins to take what comes to it. Registering it again is fine.
   *
   * @throws TypeError when another agent has the same queue: it names both
   */
  register(agent: Agent): this {
    const key = normalised(agent.name);
    const known = this.workers.get(key)?.agent;
    if (known === agent) return this;
    if (known !== undefined) {
      throw new TypeError(
        `agents '${known.name}' and '${agent.name}' would share the queue '${queueName(agent.name)}': give one of them another name`,
      );
    }
    const { bus, exchange, log, clock, logger, options } = this;
    this.others.set(key, agentTask(agent.name, exchange, agent));
    const worker = new AgentWorker({
      bus,
      agent,
      log,
      clock,
      logger,
      prices: options.prices ?? {},
      approvalTimeoutMs: options.approvalTimeout ?? dayMs,
      defaultLimits: () => this.limitsOf(options.limits ?? {}),
      tracing: this.tracing,
      taskFor: (name) => this.taskFor(name),
    });
    this.workers.set(key, worker);
    const starting = this.startAgent(worker);
    // Told by start() and health().
    starting.catch(() => {});
    this.started.set(key, starting);
    return this;
  }

  /** The agents of this process. */
  agents(): Agent[] {
    return [...this.workers.values()].map(({ agent }) => agent);
  }

  /** Agents that live with this state, in whatever process, or did lately; the latest first. */
  known(limit = 1000): Promise<KnownAgent[]> {
    return this.registry.list(limit);
  }

  /** Resolves when all agents of this process take messages. @throws what the broker says after the third try */
  async start(): Promise<this> {
    await Promise.all(this.started.values());
    return this;
  }

  /**
   * Says something to an agent, wherever it lives. The run is awaited for its result, or iterated over for what happens; it goes on when
   * nobody does either.
   */
  run(agent: Agent | string, options: RunOptions | string): Run {
    const {
      messages,
      context = {},
      conversation = randomUUID(),
      priority,
      signal,
      ...limits
    }: RunOptions = typeof options === "string" ? { messages: options } : options;
    const inputId = randomUUID();
    const to = nameOf(agent);
    const delivery: MessageDelivery = {
      kind: "message",
      conversation,
      messages: typeof messages === "string" ? [{ role: "user", content: messages }] : messages,
      contextVariables: context,
      limits: {
        ...this.limitsOf({ ...this.options.limits, ...limits }),
        ...(priority !== undefined && { priority }),
      },
    };
    const sent = this.send(to, delivery, inputId, priority);
    const { deadlineMs } = delivery.limits!;
    const run = new Run(conversation, {
      log: this.log,
      clock: this.clock,
      signal,
      inputId,
      sent,
      deadlineMs,
    });
    if (signal) this.cancelWith(signal, run);
    return run;
  }

  /** The answer to a question, in a conversation of its own. @throws AskError when the run has another outcome */
  async ask(
    agent: Agent | string,
    text: string,
    options: Omit<RunOptions, "messages"> = {},
  ): Promise<string> {
    const { outcome, content, reason } = await this.run(agent, { ...options, messages: text });
    if (outcome === "completed") return content;
    throw new AskError(nameOf(agent), outcome, reason ?? "");
  }

  /** Says something and waits for nothing but the broker. Resolves with the conversation. */
  async tell(
    agent: Agent | string,
    text: string,
    options: Omit<RunOptions, "messages"> = {},
  ): Promise<string> {
    const run = this.run(agent, { ...options, messages: text });
    await run.sent;
    return run.conversation;
  }

  /** Says something to all agents that have subscribed to the topic, each in a conversation of its own; to nobody is no error. */
  async broadcast(topic: string, body: unknown): Promise<void> {
    assertName("a topic", topic);
    await this.bus.publish({ exchange: this.exchange, routingKey: topicKey(topic), body });
  }

  /** A conversation that somebody has begun, from its beginning to the end of what goes on in it: from another process, or later. */
  follow(conversation: string, { signal }: { readonly signal?: AbortSignal } = {}): Run {
    const { log, clock } = this;
    return new Run(conversation, { log, clock, signal, inputId: undefined, sent: Promise.resolve() });
  }

  /** Ends what goes on in the conversation, whoever's turn it is. */
  async cancel(conversation: string): Promise<void> {
    const known = await this.log.load(conversation);
    const { status, agent: to, firstTurn, limits } = known;
    if (status === "done") return;
    if (status !== "new" && to !== "") {
      // Its agent will do what else there is to do. Until it comes to that it may be at work on the very turn.
      const end: AgentDelivery = { kind: "end", conversation, firstTurn, outcome: "cancelled" };
      await this.send(to, end, randomUUID(), limits.priority);
    }
    await this.log.commit(known, (now) => {
      if (now.status === "new") return [{ kind: "unwanted" }];
      if (now.status === "done" || now.firstTurn !== firstTurn) return undefined;
      return [{ kind: "done", turn: now.turn, agent: now.agent, outcome: "cancelled", content: "" }];
    });
  }

  /** The queues of this process's agents, and of those named, by the agent's name. */
  async debugQueues(names: readonly string[] = []): Promise<Record<string, QueueStatus>> {
    const own = this.agents().map(({ name }) => name);
    const all = [...own, ...names.filter((name) => !own.some((other) => isSameAgent(name, other)))];
    const rows = await Promise.all(all.map(async (name) => [name, await this.queueStatus(name)] as const));
    return Object.fromEntries(rows);
  }

  /** Whether the agents of this process take messages. */
  health(): SwarmHealth {
    const agents = Object.fromEntries(
      [...this.workers].map(([key, { agent }]) => [agent.name, this.healthOf(key)]),
    );
    const isHealthy = Object.values(agents).every(({ status }) => status === "healthy");
    return { status: isHealthy ? "healthy" : "unhealthy", agents };
  }

  /** Conversations that somebody has begun, the latest first. */
  async conversations(limit = 100): Promise<ConversationSummary[]> {
    const known = await this.log.list(limit);
    return Promise.all(
      known.map(async ({ id, updatedAtMs }) => {
        const { status, agent, turn, outcome } = await this.log.load(id);
        return { id, updatedAtMs, status, agent, turn, ...(outcome !== undefined && { outcome }) };
      }),
    );
  }

  /** All that was said in a conversation. */
  async history(conversation: string): Promise<readonly ChatMessage[]> {
    return (await this.log.load(conversation)).messages;
  }

  /** Takes no more messages, and lets turns finish. The bus goes on. Closing twice is fine. */
  async close(): Promise<void> {
    this.closing.abort();
    for (const timer of this.refreshing) timer.cancel();
    await Promise.all([...this.workers.values()].map(({ worker }) => worker.close()));
    await Promise.allSettled(this.started.values());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** A signal may live longer than many runs: it is listened to only until this one has ended. */
  private cancelWith(signal: AbortSignal, run: Run): void {
    const cancel = (): void => {
      this.cancel(run.conversation).catch((error: Error) =>
        this.logger.error({ conversation: run.conversation, error: error.message }, "cannot cancel a run"),
      );
    };
    signal.addEventListener("abort", cancel, { once: true });
    const forget = (): void => signal.removeEventListener("abort", cancel);
    run.result().then(forget, forget);
    if (signal.aborted) cancel();
  }

  /** a11: three tries, each twice as long after the last; then it is unhealthy, and goes on trying. */
  private async startAgent({ agent, worker }: AgentWorker): Promise<void> {
    const key = normalised(agent.name);
    for (let tried = 1; ; tried++) {
      try {
        await worker.start();
        await this.announce(agent);
        this.failures.delete(key);
        return;
      } catch (error) {
        if (this.closing.signal.aborted) return;
        if (tried >= tries) {
          this.failures.set(key, error as Error);
          this.logger.error(
            { agent: agent.name, tries: tried, error: (error as Error).message },
            "agent cannot take messages: it is unhealthy, and tried again",
          );
          void this.tryLater(agent.name);
          throw error;
        }
        this.logger.warn(
          { agent: agent.name, tries: tried, error: (error as Error).message },
          "agent cannot take messages, trying again",
        );
        await this.pause(firstRetryMs * 2 ** (tried - 1));
      }
    }
  }

  private async tryLater(name: string): Promise<void> {
    const key = normalised(name);
    const { agent, worker } = this.workers.get(key)!;
    while (!this.closing.signal.aborted && this.failures.has(key)) {
      await this.pause(lateRetryMs);
      if (this.closing.signal.aborted) return;
      try {
        await worker.start();
        await this.announce(agent);
        this.failures.delete(key);
      } catch (error) {
        this.failures.set(key, error as Error);
      }
    }
  }

  /** Others know of it as long as it is there, and a while after. */
  private async announce(agent: Agent): Promise<void> {
    const { registry, clock, logger, closing } = this;
    await registry.add(agent);
    if (closing.signal.aborted) return;
    const refresh = (): void => {
      registry.refresh(agent).catch((error: Error) => {
        logger.warn({ agent: agent.name, error: error.message }, "cannot say that an agent is still there");
      });
    };
    this.refreshing.push(clock.every(registry.refreshMs, refresh));
  }

  private pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.clock.after(ms, resolve);
    const stop = (): void => resolve();
    this.closing.signal.addEventListener("abort", stop);
    return promise.finally(() => {
      timer.cancel();
      this.closing.signal.removeEventListener("abort", stop);
    });
  }

  private healthOf(key: string): AgentHealth {
    const { worker, task } = this.workers.get(key)!;
    const refusal = worker.refusalOf(task);
    const error = this.failures.get(key) ?? (refusal && refusal.tries >= tries ? refusal.error : undefined);
    return error === undefined ? { status: "healthy" } : { status: "unhealthy", error: error.message };
  }

  private async queueStatus(name: string): Promise<QueueStatus> {
    const [queue_name, routing_key] = [queueName(name), routingKey(name)];
    try {
      assertName("an agent", name);
      const status = await this.bus.queueStatus(queue_name);
      if (!status) throw new Error(`there is no queue '${queue_name}'`);
      const { ready: message_count, consumers: consumer_count } = status;
      return {
        queue_name,
        message_count,
        consumer_count,
        routing_key,
        status: consumer_count > 0 ? "active" : "idle",
      };
    } catch (error) {
      const { message } = error as Error;
      return {
        queue_name,
        message_count: 0,
        consumer_count: 0,
        routing_key,
        status: "error",
        error: message,
      };
    }
  }

  private async send(to: string, delivery: AgentDelivery, id: string, priority?: number): Promise<void> {
    const tracing = await this.tracing;
    const attributes = { "messaging.system": "rabbitmq", "messaging.destination.name": this.exchange };
    await tracing.scope().run(`send ${routingKey(to)}`, { kind: "producer", attributes }, ({ headers }) =>
      this.bus.send(this.taskFor(to), encodeDelivery(delivery, to), {
        id,
        result: false,
        headers,
        priority,
      }),
    );
  }

  private taskFor(name: string): Task {
    assertName("an agent", name);
    const key = normalised(name);
    const known = this.others.get(key);
    if (known !== undefined) return known;
    const task = agentTask(name, this.exchange, undefined);
    this.others.set(key, task);
    return task;
  }

  private limitsOf({ maxTurns = 10, maxHandoffs = 10, timeout, tokens, usd }: RunLimits): Limits {
    return {
      maxTurns,
      maxHandoffs,
      ...(timeout !== undefined && { deadlineMs: this.clock.nowMs() + timeout }),
      ...(tokens !== undefined && { tokens }),
      ...(usd !== undefined && { usd }),
    };
  }
}

export interface ConversationSummary {
  readonly id: string;
  readonly updatedAtMs: number;
  readonly status: "new" | "ready" | "running" | "waiting" | "done";
  /** Whose turn it is, or was last. */
  readonly agent: string;
  readonly turn: number;
  readonly outcome?: Outcome;
}

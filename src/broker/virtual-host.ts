import { randomBytes } from "node:crypto";
import type { Clock, EventLoopTurn, Logger } from "../base/index.ts";
import { emptyTable, fieldText, ReplyCode, type FieldTable } from "../wire/index.ts";
import type { Permissions } from "./auth/index.ts";
import { DeadLetters } from "./dead-letters.ts";
import { DelayedMessages, longestDelayMs } from "./delayed-messages.ts";
import { Distributor } from "./distributor.ts";
import { DurableTopology, type DurableDefinition } from "./durable-topology.ts";
import { assertSame, assertSameArgument } from "./equivalence.ts";
import { ChannelError, ConnectionError } from "./errors.ts";
import type { Room } from "./publish-gate.ts";
import { assertQueueArguments, comparedArguments, type Compatibility } from "./queue-arguments.ts";
import { Queue, type QueueEnvironment, type QueueOptions } from "./queues/index.ts";
import { RouteCache, type Delay, type ReplyConsumer, type Route } from "./route-cache.ts";
import {
  delayedType,
  Exchange,
  exchangeTypeNames,
  type Binding,
  type ExchangeOptions,
  type ExchangeTypeName,
  type RoutingTarget,
} from "./routing/index.ts";
import {
  composeMessage,
  knownProperties,
  routeOf,
  type Definitions,
  type Destination,
  type MessageStore,
  type MessageView,
  type SurvivingMessage,
} from "./storage/index.ts";
import { copyKeys } from "./copy-keys.ts";
import { ExchangeTraffic, PastTraffic, type Churn } from "./traffic.ts";

/** Exchanges that every virtual host has. https://www.rabbitmq.com/docs/exchanges#default-exchanges */
const predeclared: readonly [string, ExchangeTypeName][] = [
  ["amq.direct", "direct"],
  ["amq.fanout", "fanout"],
  ["amq.topic", "topic"],
  ["amq.headers", "headers"],
  ["amq.match", "headers"],
];

/** What all virtual hosts of a broker share. */
export interface VirtualHostServices {
  readonly store: MessageStore;
  readonly definitions: Definitions;
  readonly clock: Clock;
  readonly turn: EventLoopTurn;
  readonly log: Logger;
  readonly room: Room;
  /** The RabbitMQ whose rules hold where versions differ. */
  readonly compatibility: Compatibility;
  readonly churn: Churn;
}

export interface VirtualHostLimits {
  /** Connections that may be open in it together. */
  readonly maxConnections?: number;
  readonly maxQueues?: number;
}

/** What keeps messages: a queue, or a delayed exchange. */
export interface MessageHolder extends Destination {
  readonly nextSequence: number;
  /** Ready, held or dead, but not delivered. */
  readonly messageCount: number;
  restore(message: SurvivingMessage): void;
  /** All has been restored: the next message has this sequence. */
  continueFrom(sequence: number): void;
  takeAll(visit: (message: SurvivingMessage) => void): void;
}

/** The name that stands for a channel's replies, and starts the names under which they can be sent to it. */
export const replyTo = "amq.rabbitmq.reply-to";

/** A name space of exchanges, queues and bindings. */
export class VirtualHost {
  readonly name: string;
  readonly distributor: Distributor;
  readonly deadLetters: DeadLetters;
  limits: VirtualHostLimits = {};
  description = "";
  tags: readonly string[] = [];
  /** What channels that are closed and queues that are deleted have done. */
  readonly past: PastTraffic = new PastTraffic();
  readonly defaultTraffic: ExchangeTraffic = new ExchangeTraffic();
  /** Grows with every change of exchanges, queues or bindings: whoever keeps a {@link Route} compares it. */
  topologyVersion = 1;
  private readonly services: VirtualHostServices;
  private readonly environment: QueueEnvironment;
  private readonly durable: DurableTopology;
  private readonly exchanges = new Map<string, Exchange>();
  private readonly queues = new Map<string, Queue>();
  /** Exclusive queues by the connection that owns them. */
  private readonly exclusive = new Map<object, Set<Queue>>();
  private readonly routes = new RouteCache();
  /** What delayed exchanges hold. */
  private readonly delays = new Map<Exchange, DelayedMessages>();
  private readonly replyConsumers = new Map<string, ReplyConsumer>();

  constructor(name: string, services: VirtualHostServices) {
    const { store, definitions, clock, log, compatibility } = services;
    this.name = name;
    this.services = services;
    this.durable = new DurableTopology(definitions, name);
    this.distributor = new Distributor(store);
    this.deadLetters = new DeadLetters({
      ...services,
      attempt: (work) => this.attempt(work),
      distributor: this.distributor,
      route: (exchange, routingKeys, headers) => {
        if (exchange !== "" && !this.exchanges.has(exchange)) return undefined;
        return this.findRoute(exchange, routingKeys, () => headers);
      },
    });
    this.distributor.onRefused = (queue, message) => this.deadLetters.addRefused(queue, message);
    this.environment = {
      store,
      clock,
      countsEveryReturn: compatibility === "3",
      // https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling
      defaultDeliveryLimit: compatibility === "3" ? Number.POSITIVE_INFINITY : 20,
      hasDeadLetters: (queue) => this.deadLetters.add(queue),
      isUnused: (queue) => {
        log.info({ queue: queue.name, vhost: name }, "queue expired: nobody has used it");
        this.deleteQueue(queue);
      },
      attempt: (work) => this.attempt(work),
    };
    for (const [exchange, type] of predeclared) {
      const options = { durable: true, autoDelete: false, internal: false, arguments: emptyTable };
      this.exchanges.set(exchange, new Exchange(exchange, type, options));
    }
  }

  /** Brings back what survived an earlier life of the broker. Exchanges and queues come before their bindings. */
  restore(definition: DurableDefinition): MessageHolder | undefined {
    const { kind } = definition;
    if (kind === "exchange") {
      const { name, type, autoDelete, internal, arguments: table, delayQueueId } = definition;
      const options = { durable: true, autoDelete, internal, arguments: table };
      const exchange = new Exchange(name, type, options);
      this.exchanges.set(name, exchange);
      return delayQueueId === undefined ? undefined : this.holdDelayed(exchange, delayQueueId);
    }
    if (kind === "queue") {
      const { id, name, autoDelete, arguments: table } = definition;
      const options = { durable: true, autoDelete, exclusiveOwner: null, arguments: table };
      const queue = new Queue(id, name, options, this.environment);
      this.queues.set(name, queue);
      return queue;
    }
    const { source, destinationKind, destination, routingKey, arguments: table } = definition;
    const target = (destinationKind === "queue" ? this.queues : this.exchanges).get(destination);
    if (target) this.exchanges.get(source)?.bind({ destination: target, routingKey, arguments: table });
    return undefined;
  }

  get allQueues(): Iterable<Queue> {
    return this.queues.values();
  }

  /** All but the default one. */
  get allExchanges(): Iterable<Exchange> {
    return this.exchanges.values();
  }

  get exchangeCount(): number {
    return this.exchanges.size;
  }

  get churn(): Churn {
    return this.services.churn;
  }

  findQueue(name: string): Queue | undefined {
    return this.queues.get(name);
  }

  findExchange(name: string): Exchange | undefined {
    return this.exchanges.get(name);
  }

  /** Messages that delayed exchanges hold. */
  get delayedCount(): number {
    let count = 0;
    for (const { messageCount } of this.delays.values()) count += messageCount;
    return count;
  }

  /** Queues, and what delayed exchanges hold. */
  get holders(): readonly MessageHolder[] {
    return [...this.queues.values(), ...this.delays.values()];
  }

  /** What a delayed exchange holds. @throws RangeError when there is no such exchange. */
  delayedIn(exchangeName: string): DelayedMessages {
    const exchange = this.exchanges.get(exchangeName);
    const delayed = exchange && this.delays.get(exchange);
    if (delayed) return delayed;
    const what = exchange ? `is of type ${exchange.typeName}, not x-delayed-message` : "does not exist";
    throw new RangeError(`exchange '${exchangeName}' in vhost '${this.name}' ${what}`);
  }

  /** There may be room in the log again, for messages that go from one queue to another. */
  roomChanged(): void {
    this.deadLetters.roomChanged();
    for (const delayed of this.delays.values()) delayed.roomChanged();
  }

  /** Moves the dead letters that there are, and ends all timers. */
  stop(): void {
    this.deadLetters.flush();
    this.deadLetters.stop();
    for (const queue of this.queues.values()) queue.stop();
    for (const delayed of this.delays.values()) delayed.stop();
  }

  /** A failed storage says so itself, by ending the broker; the same error need not end the process. */
  private attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.services.log.error(
        { vhost: this.name, error: (error as Error).stack },
        "cannot go on moving messages",
      );
    }
  }

  /** Finds the queues for a message. Hot callers keep the answer and compare its version. @throws ChannelError 403, 404 */
  route(exchangeName: string, routingKey: string, headers: () => FieldTable): Route {
    const cached = this.routes.get(exchangeName, routingKey, this.topologyVersion);
    if (cached) return cached;
    const route = this.routeByKeys(exchangeName, [routingKey], headers);
    if (route.version >= 0) this.routes.set(exchangeName, routingKey, route);
    return route;
  }

  /** The same for a message of several keys. @throws ChannelError 403, 404 */
  routeByKeys(exchangeName: string, routingKeys: readonly string[], headers: () => FieldTable): Route {
    if (exchangeName !== "" && this.exchange(exchangeName).options.internal) {
      throw new ChannelError(
        ReplyCode.AccessRefused,
        `cannot publish to internal exchange '${exchangeName}' in vhost '${this.name}'`,
      );
    }
    return this.findRoute(exchangeName, routingKeys, headers);
  }

  private findRoute(exchangeName: string, routingKeys: readonly string[], headers: () => FieldTable): Route {
    if (exchangeName === "") return this.routeByName(routingKeys);
    return this.routeFrom(this.exchanges.get(exchangeName)!, routingKeys, headers);
  }

  /** The default exchange is bound to every queue by its name (AMQP 0-9-1 §3.1.3.1). */
  private routeByName(names: readonly string[]): Route {
    const queues = new Set<Queue>();
    let replyConsumers: Set<ReplyConsumer> | undefined;
    let isReply = false;
    for (const name of names) {
      const queue = this.queues.get(name);
      if (queue) queues.add(queue);
      if (queue || !name.startsWith(replyTo)) continue;
      isReply = true;
      const consumer = this.replyConsumers.get(name);
      if (consumer) (replyConsumers ??= new Set()).add(consumer);
    }
    const route = this.routeTo(queues, !isReply, this.defaultTraffic);
    return replyConsumers ? { ...route, isPlain: false, replyConsumers: [...replyConsumers] } : route;
  }

  private routeFrom(start: Exchange, routingKeys: readonly string[], headers: () => FieldTable): Route {
    const queues = new Set<Queue>();
    const visited = new Set<Exchange>([start]);
    const delays: Delay[] = [];
    let cacheable = true;
    // Exchanges may be bound in a circle: each is visited once, by this set that grows while it is walked.
    for (const exchange of visited) {
      const delayed = this.delays.get(exchange);
      if (delayed || exchange.needsHeaders) cacheable = false;
      const delayMs = delayed ? delayOf(headers()) : 0;
      if (delayed && delayMs > 0) {
        delays.push({ messages: delayed, delayMs });
        continue;
      }
      let isRouted = false;
      for (const routingKey of routingKeys) {
        exchange.route({ routingKey, headers }, (target) => {
          isRouted = true;
          if (target instanceof Queue) queues.add(target);
          else visited.add(target as Exchange);
        });
      }
      const { alternate } = exchange;
      if (isRouted || alternate === undefined) continue;
      const next = this.exchanges.get(alternate);
      if (next) visited.add(next);
    }
    const route = this.routeTo(queues, cacheable, start.traffic);
    return delays.length > 0 ? { ...route, isPlain: false, delays } : route;
  }

  private routeTo(queues: ReadonlySet<Queue>, cacheable: boolean, traffic: ExchangeTraffic): Route {
    const all = [...queues];
    const isPlain = all.length > 0 && all.every((queue) => queue.isPlain);
    return { queues: all, isPlain, version: cacheable ? this.topologyVersion : -1, traffic };
  }

  /** Makes a name under which replies can be sent to a consumer, until {@link removeReplyConsumer}. */
  addReplyConsumer(consumer: ReplyConsumer): string {
    const name = `${replyTo}.${randomBytes(24).toString("base64url")}`;
    this.replyConsumers.set(name, consumer);
    return name;
  }

  removeReplyConsumer(name: string): void {
    this.replyConsumers.delete(name);
  }

  hasReplyConsumer(name: string): boolean {
    return this.replyConsumers.has(name);
  }

  /** @throws ChannelError 404 */
  exchange(name: string): Exchange {
    const exchange = this.exchanges.get(name);
    if (!exchange) throw this.notFound("exchange", name);
    return exchange;
  }

  /** Where routing keys have permissions of their own. */
  isTopicExchange(name: string): boolean {
    return this.exchanges.get(name)?.routesByTopic === true;
  }

  /** Declaring what exists is fine if it is the same. @throws ChannelError 403, 406; ConnectionError 503 */
  declareExchange(name: string, type: string, options: ExchangeOptions, permissions: Permissions): void {
    refuseDefaultExchange(name);
    const typeName = exchangeTypeNames.find((known) => known === type);
    if (typeName === undefined) {
      throw new ConnectionError(ReplyCode.CommandInvalid, `unknown exchange type '${type}'`);
    }
    permissions.assertConfigure("exchange", name);
    const existing = this.exchanges.get(name);
    if (existing) {
      const scope = `exchange '${name}' in vhost '${this.name}'`;
      assertSame(scope, "type", type, existing.typeName);
      assertSame(scope, "durable", options.durable, existing.options.durable);
      assertSame(scope, "auto_delete", options.autoDelete, existing.options.autoDelete);
      assertSame(scope, "internal", options.internal, existing.options.internal);
      for (const argument of ["alternate-exchange", "x-delayed-type"])
        assertSameArgument(scope, argument, options.arguments, existing.options.arguments);
      return;
    }
    refuseReservedName("exchange", name);
    permissions.assertAlternate(name, options.arguments);
    this.assertExchangeArguments(name, typeName, options.arguments);
    const exchange = new Exchange(name, typeName, options);
    this.exchanges.set(name, exchange);
    if (typeName === "x-delayed-message") this.holdDelayed(exchange, this.durable.nextQueueId());
    this.durable.exchangeDeclared(exchange, this.delays.get(exchange)?.id);
    this.topologyVersion++;
  }

  /** @throws ChannelError 406; ConnectionError 503 */
  private assertExchangeArguments(name: string, typeName: ExchangeTypeName, table: FieldTable): void {
    const alternate = table.get("alternate-exchange");
    if (alternate && alternate.type !== "longstr") {
      throw new ChannelError(
        ReplyCode.PreconditionFailed,
        `invalid type '${alternate.type}' for arg 'alternate-exchange' in exchange '${name}' in vhost '${this.name}'`,
      );
    }
    if (typeName !== "x-delayed-message" || delayedType(table)) return;
    const routing = table.get("x-delayed-type");
    if (routing?.type === "longstr") {
      throw new ConnectionError(ReplyCode.CommandInvalid, `unknown exchange type '${fieldText(routing)}'`);
    }
    throw new ChannelError(
      ReplyCode.PreconditionFailed,
      "Invalid argument, 'x-delayed-type' must be an existing exchange type",
    );
  }

  private holdDelayed(exchange: Exchange, queueId: number): DelayedMessages {
    const delayed = new DelayedMessages(queueId, exchange.options.durable, {
      ...this.services,
      attempt: (work) => this.attempt(work),
      release: (message) => this.release(exchange, message),
    });
    this.delays.set(exchange, delayed);
    return delayed;
  }

  /** Routes a message whose time has come. Its delay is negated, so that no other delayed exchange holds it again. */
  private release(exchange: Exchange, stored: MessageView): void {
    const { headers: before, persistent, priority, ttlMs } = knownProperties(stored);
    const delay = { type: "long", value: -BigInt(delayOf(before)) } as const;
    const headers = new Map([...before, ["x-delay", delay] as const]);
    const keys = [routeOf(stored).routingKey, ...copyKeys(headers).map(({ key }) => key)];
    const route = this.routeFrom(exchange, keys, () => headers);
    const particulars = { priority, ttlMs, nowMs: this.services.clock.nowMs() };
    this.distributor.toAny(route, composeMessage(stored, { headers }), persistent, particulars);
  }

  /** Deleting what does not exist is fine. @throws ChannelError 403, 406 */
  deleteExchange(name: string, ifUnused: boolean, permissions: Permissions): void {
    refuseDefaultExchange(name);
    if (name.startsWith("amq.")) {
      throw new ChannelError(
        ReplyCode.AccessRefused,
        `deletion of system exchange '${name}' in vhost '${this.name}' not allowed`,
      );
    }
    permissions.assertConfigure("exchange", name);
    const exchange = this.exchanges.get(name);
    if (!exchange) return;
    if (ifUnused && exchange.bindingCount > 0) {
      throw new ChannelError(
        ReplyCode.PreconditionFailed,
        `exchange '${name}' in vhost '${this.name}' in use`,
      );
    }
    this.removeExchange(exchange);
  }

  /** A queue that this connection may use. @throws ChannelError 404, 405 when it is another connection's alone. */
  queueFor(name: string, connection: object): Queue {
    const queue = this.queues.get(name);
    if (!queue) throw this.notFound("queue", name);
    this.assertAccess(queue, connection);
    return queue;
  }

  /**
   * Declares a queue for a connection; an empty name asks for a generated one.
   * @throws ChannelError 403, 405, 406
   */
  declareQueue(name: string, options: QueueOptions, connection: object, permissions: Permissions): Queue {
    // Before looking whether it exists: RabbitMQ refuses even its own generated names here.
    refuseReservedName("queue", name);
    this.churn.queuesDeclared++;
    const queueName = name === "" ? generateName("amq.gen-") : name;
    permissions.assertConfigure("queue", queueName);
    const existing = this.queues.get(name);
    if (existing) {
      this.assertAccess(existing, connection);
      this.assertSameQueue(existing, options);
      return existing;
    }
    this.assertQueueLimit(queueName);
    permissions.assertDeadLetters(queueName, options.arguments);
    assertQueueArguments(name, options, this.name, this.services.compatibility);
    const queue = new Queue(this.durable.nextQueueId(), queueName, options, this.environment);
    this.queues.set(queueName, queue);
    this.churn.queuesCreated++;
    this.durable.queueDeclared(queue);
    this.noteOwner(queue);
    this.topologyVersion++;
    return queue;
  }

  /** Says how many ready messages went with it. */
  deleteQueue(queue: Queue): number {
    if (queue.deleted) return 0;
    // They died before. What cannot be moved at once goes on afterwards.
    if (queue.deadCount > 0) this.deadLetters.moveSoon();
    this.queues.delete(queue.name);
    this.past.deliveries[queue.settings.type].add(queue.deliveries);
    this.churn.queuesDeleted++;
    if (queue.exclusiveOwner !== null) this.exclusive.get(queue.exclusiveOwner)?.delete(queue);
    this.forgetDestination(queue);
    this.durable.queueDeleted(queue);
    this.topologyVersion++;
    return queue.delete();
  }

  get queueCount(): number {
    return this.queues.size;
  }

  /** Deletes everything, for a virtual host that is deleted itself. */
  clear(): void {
    for (const exchange of this.exchanges.values()) this.removeExchange(exchange);
    for (const queue of this.queues.values()) this.deleteQueue(queue);
    this.stop();
  }

  /** The connection is gone, and with it its exclusive queues. */
  deleteExclusiveQueues(connection: object): void {
    for (const queue of this.exclusive.get(connection) ?? []) this.deleteQueue(queue);
    this.exclusive.delete(connection);
  }

  /** Deletes a queue by name as a client asks for it; none of that name is fine. @throws ChannelError 405, 406 */
  deleteQueueNamed(name: string, connection: object, ifUnused: boolean, ifEmpty: boolean): number {
    const queue = this.queues.get(name);
    if (!queue) return 0;
    this.assertAccess(queue, connection);
    const scope = `queue '${name}' in vhost '${this.name}'`;
    if (ifUnused && queue.consumerCount > 0)
      throw new ChannelError(ReplyCode.PreconditionFailed, `${scope} in use`);
    if (ifEmpty && queue.readyCount > 0)
      throw new ChannelError(ReplyCode.PreconditionFailed, `${scope} not empty`);
    return this.deleteQueue(queue);
  }

  /** @throws ChannelError 403, 404, 405 */
  bindQueue(
    queueName: string,
    exchangeName: string,
    routingKey: string,
    table: FieldTable,
    connection: object,
  ): void {
    refuseDefaultExchange(exchangeName);
    const exchange = this.exchange(exchangeName);
    this.bind(exchange, { destination: this.queueFor(queueName, connection), routingKey, arguments: table });
  }

  /** Unbinding what is not bound, or does not exist, is fine, as in RabbitMQ. @throws ChannelError 403, 405 */
  unbindQueue(
    queueName: string,
    exchangeName: string,
    routingKey: string,
    table: FieldTable,
    connection: object,
  ): void {
    refuseDefaultExchange(exchangeName);
    const queue = this.queues.get(queueName);
    const exchange = this.exchanges.get(exchangeName);
    if (!queue || !exchange) return;
    this.assertAccess(queue, connection);
    this.unbind(exchange, { destination: queue, routingKey, arguments: table });
  }

  /** @throws ChannelError 403, 404 */
  bindExchange(destination: string, source: string, routingKey: string, table: FieldTable): void {
    refuseDefaultExchange(source);
    refuseDefaultExchange(destination);
    // RabbitMQ names the destination first when both are missing.
    const to = this.exchange(destination);
    this.bind(this.exchange(source), { destination: to, routingKey, arguments: table });
  }

  /** @throws ChannelError 403 */
  unbindExchange(destination: string, source: string, routingKey: string, table: FieldTable): void {
    refuseDefaultExchange(source);
    refuseDefaultExchange(destination);
    const to = this.exchanges.get(destination);
    const from = this.exchanges.get(source);
    if (to && from) this.unbind(from, { destination: to, routingKey, arguments: table });
  }

  private bind(exchange: Exchange, binding: Binding): void {
    if (!exchange.bind(binding)) return;
    this.durable.bound(exchange, binding);
    this.topologyVersion++;
  }

  private unbind(exchange: Exchange, binding: Binding): void {
    const unbound = exchange.unbind(binding);
    if (!unbound) return;
    this.durable.unbound(exchange, unbound);
    this.topologyVersion++;
    if (isFinished(exchange)) this.removeExchange(exchange);
  }

  private removeExchange(exchange: Exchange): void {
    for (const binding of exchange.bindings()) this.durable.unbound(exchange, binding);
    this.forgetExchange(exchange);
    this.topologyVersion++;
    this.forgetDestination(exchange);
  }

  private forgetExchange(exchange: Exchange): void {
    this.exchanges.delete(exchange.name);
    this.durable.exchangeDeleted(exchange);
    const lost = this.delays.get(exchange)?.delete() ?? 0;
    this.delays.delete(exchange);
    if (lost > 0)
      this.services.log.warn(
        { exchange: exchange.name, vhost: this.name, messages: lost },
        "a delayed exchange was deleted with the messages that it held",
      );
  }

  /**
   * Removes the bindings to what is gone, and the auto-delete exchanges that lose their last binding by it, and so on. A
   * list, not recursion: a client may have made a chain of any length.
   */
  private forgetDestination(destination: RoutingTarget): void {
    const gone = [destination];
    for (const target of gone) {
      for (const exchange of this.exchanges.values()) {
        const forgotten = exchange.forget(target);
        for (const binding of forgotten) this.durable.unbound(exchange, binding);
        if (forgotten.length === 0 || !isFinished(exchange)) continue;
        this.forgetExchange(exchange);
        gone.push(exchange);
      }
    }
  }

  private noteOwner(queue: Queue): void {
    const { exclusiveOwner } = queue;
    if (exclusiveOwner === null) return;
    const owned = this.exclusive.get(exclusiveOwner);
    if (owned) owned.add(queue);
    else this.exclusive.set(exclusiveOwner, new Set([queue]));
  }

  private assertQueueLimit(queueName: string): void {
    const { maxQueues = Number.POSITIVE_INFINITY } = this.limits;
    if (this.queues.size < maxQueues) return;
    throw new ChannelError(
      ReplyCode.PreconditionFailed,
      `cannot declare queue '${queueName}': queue limit in vhost '${this.name}' (${maxQueues}) is reached`,
    );
  }

  private assertAccess(queue: Queue, connection: object): void {
    if (queue.exclusiveOwner !== null && queue.exclusiveOwner !== connection) throw this.locked(queue.name);
  }

  private assertSameQueue(queue: Queue, options: QueueOptions): void {
    const scope = `queue '${queue.name}' in vhost '${this.name}'`;
    if (queue.exclusiveOwner !== options.exclusiveOwner) throw this.locked(queue.name);
    assertSame(scope, "durable", options.durable, queue.durable);
    assertSame(scope, "auto_delete", options.autoDelete, queue.autoDelete);
    for (const name of comparedArguments) assertSameArgument(scope, name, options.arguments, queue.arguments);
  }

  private locked(queueName: string): ChannelError {
    return new ChannelError(
      ReplyCode.ResourceLocked,
      `cannot obtain exclusive access to locked queue '${queueName}' in vhost '${this.name}'. It could be originally ` +
        "declared on another connection or the exclusive property value does not match that of the original declaration.",
    );
  }

  private notFound(kind: "queue" | "exchange", name: string): ChannelError {
    return new ChannelError(ReplyCode.NotFound, `no ${kind} '${name}' in vhost '${this.name}'`);
  }
}

/** An auto-delete exchange goes with its last binding. */
function isFinished(exchange: Exchange): boolean {
  return exchange.options.autoDelete && exchange.bindingCount === 0;
}

/** A name that nobody else has, in RabbitMQ's form: the prefix and 22 characters of base64url. */
export function generateName(prefix: "amq.gen-" | "amq.ctag-"): string {
  return prefix + randomBytes(16).toString("base64url");
}

/** @throws ChannelError 403: nothing can be done to the default exchange but publish to it. */
export function refuseDefaultExchange(name: string): void {
  if (name === "") {
    throw new ChannelError(ReplyCode.AccessRefused, "operation not permitted on the default exchange");
  }
}

function refuseReservedName(kind: "queue" | "exchange", name: string): void {
  if (name.startsWith("amq.")) {
    throw new ChannelError(
      ReplyCode.AccessRefused,
      `${kind} name '${name}' contains reserved prefix 'amq.*'`,
    );
  }
}

/** For how long a delayed exchange is to hold a message, in milliseconds; 0 for a message that says nothing sensible. */
function delayOf(headers: FieldTable): number {
  const field = headers.get("x-delay");
  const delayMs = field === undefined ? 0 : Math.trunc(Number(fieldText(field)));
  return delayMs > 0 && delayMs <= longestDelayMs ? delayMs : 0;
}

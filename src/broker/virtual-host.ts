import { randomBytes } from "node:crypto";
import { emptyTable, ReplyCode, type FieldTable } from "../wire/index.ts";
import type { Permissions } from "./auth/index.ts";
import { DurableTopology, type DurableDefinition } from "./durable-topology.ts";
import { assertSame, assertSameArgument } from "./equivalence.ts";
import { ChannelError, ConnectionError } from "./errors.ts";
import { assertQueueArguments, comparedArguments, notYet } from "./queue-arguments.ts";
import { Queue, type QueueOptions } from "./queues/index.ts";
import { RouteCache, type Route } from "./route-cache.ts";
import {
  Exchange,
  exchangeTypeNames,
  type Binding,
  type ExchangeOptions,
  type ExchangeTypeName,
  type RoutingTarget,
} from "./routing/index.ts";
import type { Definitions, MessageStore } from "./storage/index.ts";

/** Exchanges that every virtual host has. https://www.rabbitmq.com/docs/exchanges#default-exchanges */
const predeclared: readonly [string, ExchangeTypeName][] = [
  ["amq.direct", "direct"],
  ["amq.fanout", "fanout"],
  ["amq.topic", "topic"],
  ["amq.headers", "headers"],
  ["amq.match", "headers"],
];

export interface VirtualHostLimits {
  /** Connections that may be open in it together. */
  readonly maxConnections?: number;
  readonly maxQueues?: number;
}

/** A name space of exchanges, queues and bindings. */
export class VirtualHost {
  readonly name: string;
  limits: VirtualHostLimits = {};
  /** Grows with every change of exchanges, queues or bindings: whoever keeps a {@link Route} compares it. */
  topologyVersion = 1;
  private readonly store: MessageStore;
  private readonly durable: DurableTopology;
  private readonly exchanges = new Map<string, Exchange>();
  private readonly queues = new Map<string, Queue>();
  /** Exclusive queues by the connection that owns them. */
  private readonly exclusive = new Map<object, Set<Queue>>();
  private readonly routes = new RouteCache();

  constructor(name: string, store: MessageStore, definitions: Definitions) {
    this.name = name;
    this.store = store;
    this.durable = new DurableTopology(definitions, name);
    for (const [exchange, type] of predeclared) {
      const options = { durable: true, autoDelete: false, internal: false, arguments: emptyTable };
      this.exchanges.set(exchange, new Exchange(exchange, type, options));
    }
  }

  /** Brings back what survived an earlier life of the broker. Exchanges and queues come before their bindings. */
  restore(definition: DurableDefinition): Queue | undefined {
    const { kind } = definition;
    if (kind === "exchange") {
      const { name, type, autoDelete, internal, arguments: table } = definition;
      const options = { durable: true, autoDelete, internal, arguments: table };
      this.exchanges.set(name, new Exchange(name, type, options));
      return undefined;
    }
    if (kind === "queue") {
      const { id, name, autoDelete, arguments: table } = definition;
      const options = { durable: true, autoDelete, exclusiveOwner: null, arguments: table };
      const queue = new Queue(id, name, options, this.store);
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

  /** Finds the queues for a message. Hot callers keep the answer and compare its version. */
  route(exchangeName: string, routingKey: string, headers: () => FieldTable): Route {
    const cached = this.routes.get(exchangeName, routingKey, this.topologyVersion);
    if (cached) return cached;
    const route = this.findRoute(exchangeName, routingKey, headers);
    if (route.version >= 0) this.routes.set(exchangeName, routingKey, route);
    return route;
  }

  private findRoute(exchangeName: string, routingKey: string, headers: () => FieldTable): Route {
    // The default exchange is bound to every queue by its name (AMQP 0-9-1 §3.1.3.1).
    if (exchangeName === "") {
      const queue = this.queues.get(routingKey);
      return { queues: queue ? [queue] : [], version: this.topologyVersion };
    }
    const start = this.exchange(exchangeName);
    if (start.options.internal) {
      throw new ChannelError(
        ReplyCode.AccessRefused,
        `cannot publish to internal exchange '${exchangeName}' in vhost '${this.name}'`,
      );
    }
    const queues = new Set<Queue>();
    const visited = new Set<Exchange>([start]);
    let cacheable = true;
    // Exchanges may be bound in a circle: each is visited once, by this set that grows while it is walked.
    for (const exchange of visited) {
      if (exchange.needsHeaders) cacheable = false;
      exchange.route({ routingKey, headers }, (target) => {
        if (target instanceof Queue) queues.add(target);
        else visited.add(target as Exchange);
      });
    }
    return { queues: [...queues], version: cacheable ? this.topologyVersion : -1 };
  }

  /** @throws ChannelError 404 */
  exchange(name: string): Exchange {
    const exchange = this.exchanges.get(name);
    if (!exchange) throw this.notFound("exchange", name);
    return exchange;
  }

  /** Where routing keys have permissions of their own. */
  isTopicExchange(name: string): boolean {
    return this.exchanges.get(name)?.typeName === "topic";
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
      assertSameArgument(scope, "alternate-exchange", options.arguments, existing.options.arguments);
      return;
    }
    refuseReservedName("exchange", name);
    permissions.assertAlternate(name, options.arguments);
    if (options.arguments.has("alternate-exchange")) throw notYet("alternate-exchange");
    const exchange = new Exchange(name, typeName, options);
    this.exchanges.set(name, exchange);
    this.durable.exchangeDeclared(exchange);
    this.topologyVersion++;
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
    assertQueueArguments(options.arguments, `queue '${name}' in vhost '${this.name}'`);
    const queue = new Queue(this.durable.nextQueueId(), queueName, options, this.store);
    this.queues.set(queueName, queue);
    this.durable.queueDeclared(queue);
    this.noteOwner(queue);
    this.topologyVersion++;
    return queue;
  }

  /** Says how many ready messages went with it. */
  deleteQueue(queue: Queue): number {
    if (queue.deleted) return 0;
    this.queues.delete(queue.name);
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
    this.exchanges.delete(exchange.name);
    this.durable.exchangeDeleted(exchange);
    this.topologyVersion++;
    this.forgetDestination(exchange);
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
        this.exchanges.delete(exchange.name);
        this.durable.exchangeDeleted(exchange);
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

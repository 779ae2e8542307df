import type { DelayedMessages } from "./delayed-messages.ts";
import type { Queue } from "./queues/index.ts";
import type { MessageView } from "./storage/index.ts";
import type { ExchangeTraffic } from "./traffic.ts";

/** Where messages with one exchange and routing key go, until the topology changes. */
export interface Route {
  readonly queues: readonly Queue[];
  /** There are queues, all of them plain, and nothing else that the message goes to. */
  readonly isPlain: boolean;
  /** The virtual host's `topologyVersion` for which this holds; -1 when it holds for one message only. */
  readonly version: number;
  /** Of the exchange that is published to. */
  readonly traffic: ExchangeTraffic;
  /** Delayed exchanges that hold this message, before they route it on. */
  readonly delays?: readonly Delay[];
  /** Consumers of replies that this message is addressed to (direct reply-to). */
  readonly replyConsumers?: readonly ReplyConsumer[];
}

export interface Delay {
  readonly messages: DelayedMessages;
  readonly delayMs: number;
}

/** Gets replies that no queue holds. https://www.rabbitmq.com/docs/direct-reply-to */
export interface ReplyConsumer {
  deliverReply(message: MessageView): void;
}

/**
 * Routes kept, counted by their queues. Past that all are forgotten: a flood of ever new keys must not fill the memory.
 */
const cachedTargets = 100_000;

/** The routes found since the topology last changed, by exchange and routing key. */
export class RouteCache {
  private readonly routes = new Map<string, Map<string, Route>>();
  private version = 0;
  private targets = 0;

  get(exchange: string, routingKey: string, version: number): Route | undefined {
    if (version !== this.version || this.targets > cachedTargets) {
      this.routes.clear();
      this.targets = 0;
      this.version = version;
    }
    return this.routes.get(exchange)?.get(routingKey);
  }

  set(exchange: string, routingKey: string, route: Route): void {
    const byKey = this.routes.get(exchange) ?? new Map<string, Route>();
    this.routes.set(exchange, byKey);
    byKey.set(routingKey, route);
    this.targets += route.queues.length + 1;
  }
}

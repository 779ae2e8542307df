import type { FieldTable } from "../wire/index.ts";
import type { UserLimits } from "./auth/index.ts";
import type { Churn, Deliveries, ExchangeTraffic, Publishes } from "./traffic.ts";
import type { VirtualHostLimits } from "./virtual-host.ts";

/**
 * What is in a running broker, and what it has done: to look at. These are the broker's own objects, not copies, so that
 * looking at ten thousand queues costs nothing; what they say holds until the event loop's next turn. Ask anew then. Counters are plain
 * numbers that grow from the broker's start.
 */
export interface BrokerInspection {
  readonly startedAtMs: number;
  readonly vhosts: readonly VirtualHostView[];
  vhost(name: string): VirtualHostView | undefined;
  /** Those that have logged in and not said goodbye. */
  readonly connections: Iterable<ConnectionView>;
  readonly users: Iterable<UserView>;
  user(name: string): UserView | undefined;
  /** Whether the user may open the virtual host. */
  mayOpen(user: string, vhost: string): boolean;
  readonly churn: Readonly<Churn>;
  readonly memoryLimitBytes: number;
  readonly diskFreeLimitBytes: number;
  /** Undefined without a data directory. */
  freeDiskBytes(): Promise<number | undefined>;
  readonly dataDir: string | undefined;
}

export interface VirtualHostView {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly limits: VirtualHostLimits;
  readonly allQueues: Iterable<QueueView>;
  readonly queueCount: number;
  findQueue(name: string): QueueView | undefined;
  /** All but the default one. */
  readonly allExchanges: Iterable<ExchangeView>;
  readonly exchangeCount: number;
  findExchange(name: string): ExchangeView | undefined;
  /** Of the default exchange. */
  readonly defaultTraffic: Readonly<ExchangeTraffic>;
  /** What channels and connections that are closed, and queues that are deleted, have done. */
  readonly past: {
    readonly deliveries: { readonly [type in "classic" | "quorum"]: Readonly<Deliveries> };
    readonly publishes: Readonly<Publishes>;
    readonly receivedBytes: number;
    readonly sentBytes: number;
  };
}

export interface QueueView {
  readonly name: string;
  /** It outlives the broker's process. */
  readonly survives: boolean;
  readonly autoDelete: boolean;
  /** The connection that alone may use it. */
  readonly exclusiveOwner: object | null;
  readonly arguments: FieldTable;
  readonly settings: { readonly type: "classic" | "quorum"; readonly singleActiveConsumer: boolean };
  readonly readyCount: number;
  readonly unackedCount: number;
  readonly consumerCount: number;
  readonly publishedCount: number;
  readonly deliveries: Readonly<Deliveries>;
  /** Of the consumer that wants no other beside it. */
  readonly exclusiveConsumerTag: string | null;
  /** Of the one that is served, where only one may be. */
  readonly activeConsumerTag: string | null;
}

export interface ExchangeView {
  readonly name: string;
  readonly typeName: string;
  readonly options: {
    readonly durable: boolean;
    readonly autoDelete: boolean;
    readonly internal: boolean;
    readonly arguments: FieldTable;
  };
  readonly traffic: Readonly<ExchangeTraffic>;
  /** All bindings of which it is the source. */
  bindings(): readonly BindingView[];
}

export interface BindingView {
  /** A queue or an exchange: exchanges have a `typeName`. */
  readonly destination: { readonly name: string; readonly typeName?: string };
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

export interface ConnectionView {
  /** As RabbitMQ names it: `127.0.0.1:50000 -> 127.0.0.1:5672`. */
  readonly name: string;
  readonly user: string;
  readonly vhost: { readonly name: string };
  readonly peer: { readonly address: string; readonly port: number };
  readonly local: { readonly address: string; readonly port: number };
  readonly connectedAtMs: number;
  readonly login: LoginView | undefined;
  readonly isStopped: boolean;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Pieces of bytes that have come, and gone. */
  readonly reads: number;
  readonly output: { readonly writes: number; readonly unsentBytes: number };
  readonly channelCount: number;
  readonly allChannels: Iterable<ChannelView>;
}

/** What a client and the broker have settled. */
export interface LoginView {
  readonly mechanism: string;
  readonly clientProperties: FieldTable;
  readonly tuning: {
    readonly channelMax: number;
    readonly frameMax: number;
    readonly heartbeatSeconds: number;
  };
}

export interface ChannelView {
  readonly id: number;
  /** It is closed, and waits for the client to agree. */
  readonly closing: boolean;
  readonly consumers: ReadonlyMap<string, ConsumerView>;
  readonly consumerPrefetch: number;
  readonly prefetch: number;
  readonly unacked: { readonly count: number };
  readonly publisher: {
    readonly isConfirming: boolean;
    readonly unconfirmedCount: number;
    readonly counts: Readonly<Publishes>;
  };
  readonly transaction: {
    readonly publishes: { readonly length: number };
    readonly settlements: { readonly length: number };
  } | null;
  readonly deliveries: Readonly<Deliveries>;
}

export interface ConsumerView {
  readonly tag: string;
  readonly queue: {
    readonly name: string;
    readonly settings: { readonly singleActiveConsumer: boolean };
  };
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly prefetch: number;
  readonly arguments: FieldTable;
  /** It is served: not so one of those that wait behind a single active consumer. */
  readonly isActive: boolean;
}

export interface UserView {
  readonly name: string;
  readonly tags: readonly string[];
  readonly limits: UserLimits;
  /** Absent when only the broker's options know the user. */
  readonly password?: { readonly algorithm: string; readonly hash: string };
}

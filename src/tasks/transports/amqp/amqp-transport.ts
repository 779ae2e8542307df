import { randomUUID } from "node:crypto";
import type { Clock, Logger } from "../../../base/index.ts";
import {
  Connection,
  InterruptedError,
  placesText,
  RefusedError,
  type Channel,
} from "../../../client/index.ts";
import type { Capabilities } from "../../capabilities.ts";
import { PublishError, UnroutableError } from "../../errors.ts";
import { copyOf, Header } from "../../message.ts";
import type { QueueDefinition } from "../../queue.ts";
import type {
  Browser,
  ConsumeOptions,
  Consumption,
  Death,
  IncomingMessage,
  OutgoingMessage,
  QueueStatus,
  Transport,
} from "../../transport.ts";
import { AmqpBrowser } from "./amqp-browser.ts";
import { ConfirmedPublisher } from "./confirmed-publisher.ts";
import { connectionOptions, placesOf, type AmqpAddress } from "./connection-options.ts";
import { readDeaths, withDeath } from "./deaths.ts";
import { DelayedExchange, DelayLadder, type Delays } from "./delays.ts";
import { publicationOf } from "./mapping.ts";
import { RecoveringConsumer, type ConsumerSettings } from "./recovering-consumer.ts";
import { declareTopology, type QueueType } from "./topology.ts";

export interface AmqpTransportOptions {
  readonly address: AmqpAddress;
  /** What the broker's operator sees. */
  readonly connectionName: string;
  readonly queueType: QueueType;
  /** How long a confirm may take, and the connection at the start. */
  readonly confirmTimeoutMs: number;
  /** Keeps nothing beyond the broker's life. */
  readonly isInMemory: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A reply queue outlives a lost connection by this. */
const replyQueueExpiresMs = 1_800_000;

/**
 * Tasks on a broker that speaks AMQP 0-9-1: Warren or RabbitMQ.
 *
 * @throws Error when no broker answers, or it refuses the login.
 */
export async function connectAmqp(options: AmqpTransportOptions): Promise<Transport> {
  const { address, connectionName, logger } = options;
  let connection: Connection;
  try {
    connection = await Connection.open(connectionOptions(address, connectionName, logger));
  } catch (error) {
    throw cannotConnect(address, error as NodeJS.ErrnoException);
  }
  return new AmqpTransport(connection, options, connection.product === "Warren");
}

function cannotConnect(address: AmqpAddress, error: NodeJS.ErrnoException): Error {
  const where = placesText(placesOf(address));
  if (error instanceof RefusedError) {
    return new Error(`Cannot connect to ${where} as ${address.username}: ${error.message}`, { cause: error });
  }
  const isNobodyThere = error.code === "ECONNREFUSED" || error.code === "ENOENT";
  const why = isNobodyThere ? "" : ` (${error.message})`;
  return new Error(
    `No AMQP broker answers at ${where}${why}. Is it running? \`warren serve\` starts one; embedded:./data needs none.`,
    { cause: error },
  );
}

interface Declared {
  readonly queue: QueueDefinition;
  /** Until it is. */
  declaring: Promise<void> | undefined;
}

class AmqpTransport implements Transport {
  readonly capabilities: Capabilities;
  private readonly connection: Connection;
  private readonly options: AmqpTransportOptions;
  private readonly isWarren: boolean;
  private readonly delays: Delays;
  private readonly publisher: ConfirmedPublisher;
  private readonly consumers = new Set<RecoveringConsumer>();
  private readonly replyQueues = new Set<string>();
  /** For declaring; AMQP closes a channel on which something was refused. */
  private setUp: Promise<Channel> | undefined;
  private isClosed = false;
  private readonly declared = new Map<string, Declared>();

  constructor(connection: Connection, options: AmqpTransportOptions, isWarren: boolean) {
    const { queueType, confirmTimeoutMs, logger } = options;
    this.connection = connection;
    this.options = options;
    this.isWarren = isWarren;
    this.delays = isWarren ? new DelayedExchange() : new DelayLadder(queueType === "quorum");
    this.publisher = new ConfirmedPublisher(connection, confirmTimeoutMs, logger);
    this.capabilities = {
      durability: options.isInMemory ? "none" : "native",
      delay: isWarren ? "native" : "emulated",
      priority: queueType === "quorum" ? "none" : "native",
      expiry: "native",
      deadLetters: "native",
      browse: "emulated",
      redrive: isWarren ? "native" : "emulated",
      results: "emulated",
      cancel: "none",
      state: "none",
      steps: "none",
      crashAttempts: queueType === "quorum" ? "emulated" : "none",
    };
  }

  declare(queue: QueueDefinition): Promise<void> | undefined {
    const known = this.declared.get(queue.name);
    if (known !== undefined) return known.declaring;
    const declaring = this.withSetUpChannel((channel) => this.declareOn(channel, queue));
    const declared: Declared = { queue, declaring };
    this.declared.set(queue.name, declared);
    declaring.then(
      () => (declared.declaring = undefined),
      () => this.declared.delete(queue.name),
    );
    return declaring;
  }

  publish(message: OutgoingMessage, signal?: AbortSignal): Promise<void> {
    return this.publishFor(message.queue, message, signal);
  }

  async bury(
    message: IncomingMessage,
    queue: QueueDefinition,
    headers: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { deadLetter, name } = queue;
    const died = withDeath(message, name, this.options.clock.nowMs());
    const letter = { ...copyOf(message), headers: { ...died, ...headers } };
    await this.publishFor(name, { ...letter, queue: deadLetter.queue, via: deadLetter });
  }

  deathsOf(letter: IncomingMessage): Death[] {
    return readDeaths(letter);
  }

  async consume(queue: QueueDefinition, options: ConsumeOptions): Promise<Consumption> {
    return this.startConsumer({
      ...options,
      prepare: async (channel) => {
        await this.declareOn(channel, queue);
        return queue.name;
      },
    });
  }

  async browse(queue: string): Promise<Browser> {
    const channel = await this.acquire();
    if (this.isWarren) await channel.txSelect();
    return new AmqpBrowser(channel, queue, {
      isAtomic: this.isWarren,
      publish: (message) => this.publish(message),
      count: async (name) => (await this.queueStatus(name))?.ready ?? 0,
    });
  }

  async openReplyQueue(onMessage: (message: IncomingMessage) => void): Promise<string> {
    const queue = `warren.replies.${randomUUID()}`;
    await this.startConsumer({
      prefetch: 0,
      noAck: true,
      // Durable, since RabbitMQ 4 takes no other that is not exclusive; an exclusive one would go with its connection.
      prepare: async (channel) => {
        await channel.queueDeclare({ queue, durable: true, arguments: { "x-expires": replyQueueExpiresMs } });
        return queue;
      },
      onDelivery: ({ message }) => onMessage(message),
    });
    this.replyQueues.add(queue);
    return queue;
  }

  async watchDeadLetters(
    { deadLetter }: QueueDefinition,
    onLetter: (letter: IncomingMessage) => void,
  ): Promise<void> {
    await this.startConsumer({
      prefetch: 0,
      noAck: true,
      prepare: async (channel) => {
        const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
        await channel.queueBind({ ...deadLetter, queue });
        return queue;
      },
      onDelivery: ({ message }) => onLetter(message),
    });
  }

  async queueStatus(queue: string): Promise<QueueStatus | undefined> {
    const channel = await this.acquire();
    try {
      const { messageCount, consumerCount } = await channel.queueDeclare({ queue, passive: true });
      return { ready: messageCount, consumers: consumerCount };
    } catch (error) {
      if (error instanceof RefusedError && error.code === "NOT_FOUND") return undefined;
      throw error;
    } finally {
      await channel.close();
    }
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([...this.consumers].map((consumer) => consumer.close()));
    await this.deleteReplyQueues();
    await this.publisher.close();
    // Not waited for: it may still wait for a connection, which will not come. The connection waits for its channels.
    void this.setUp?.then((channel) => channel.close()).catch(() => {});
    await this.connection.close();
  }

  private async deleteReplyQueues(): Promise<void> {
    if (this.replyQueues.size === 0 || !this.connection.ready) return;
    await this.withSetUpChannel(async (channel) => {
      for (const queue of this.replyQueues) await channel.queueDelete(queue);
    }).catch(() => {
      // It expires by itself.
    });
  }

  /** What it goes through belongs to this queue: if somebody has deleted it since, it is declared again. */
  private async publishFor(queue: string, message: OutgoingMessage, signal?: AbortSignal): Promise<void> {
    try {
      await this.publishOnce(message, signal);
    } catch (error) {
      const declared = this.declared.get(queue);
      if (!(error instanceof UnroutableError) || !declared) throw error;
      this.declared.delete(queue);
      this.delays.forget();
      await this.declare(declared.queue);
      await this.publishOnce(message, signal);
    }
  }

  private publishOnce(message: OutgoingMessage, signal: AbortSignal | undefined): Promise<void> {
    const { delayMs = 0 } = message;
    if (delayMs <= 0) return this.publisher.publish(publicationOf(message), signal);
    return this.delayed(message, delayMs).then((delayed) =>
      this.publisher.publish(publicationOf(delayed), signal),
    );
  }

  /** A delayed message goes by another way. */
  private async delayed(message: OutgoingMessage, delayMs: number): Promise<OutgoingMessage> {
    const { queue, headers, expirationMs } = message;
    if (!Number.isFinite(delayMs)) throw new PublishError(`a delay of ${delayMs} ms is none`);
    await this.withSetUpChannel((channel) => this.delays.prepareDelay(channel, delayMs));
    const { exchange, routingKey, headers: more, losesExpiration } = this.delays.route(queue, delayMs);
    if (!losesExpiration || expirationMs === undefined) {
      return { ...message, via: { exchange, routingKey }, headers: { ...headers, ...more } };
    }
    const expiresAt = this.options.clock.nowMs() + delayMs + expirationMs;
    return {
      ...message,
      via: { exchange, routingKey },
      expirationMs: undefined,
      headers: { ...headers, ...more, [Header.expiresAt]: expiresAt },
    };
  }

  private async declareOn(channel: Channel, queue: QueueDefinition): Promise<void> {
    await declareTopology(channel, queue, this.options.queueType);
    if (!queue.isPassive) await this.delays.prepareQueue(channel, queue.name);
  }

  private async startConsumer(settings: ConsumerSettings): Promise<Consumption> {
    const consumer = new RecoveringConsumer(this.connection, settings, this.options.logger);
    await consumer.start();
    this.consumers.add(consumer);
    return consumer;
  }

  private acquire(): Promise<Channel> {
    return this.connection.acquire(this.options.confirmTimeoutMs);
  }

  /**
   * On one channel for all, which is opened anew when something was refused: that closes it, also under others, who must not
   * suffer. What the connection interrupts is begun again as well.
   */
  private async withSetUpChannel<T>(action: (channel: Channel) => Promise<T>): Promise<T> {
    const deadlineMs = performance.now() + this.options.confirmTimeoutMs;
    for (;;) {
      const channel = await this.setUpChannel();
      try {
        return await action(channel);
      } catch (error) {
        if (this.isClosed || !(error instanceof InterruptedError) || performance.now() > deadlineMs)
          throw error;
      }
    }
  }

  private async setUpChannel(): Promise<Channel> {
    for (;;) {
      const opening = (this.setUp ??= this.acquire());
      const channel = await opening.catch(() => undefined);
      if (channel?.active) return channel;
      // Others have waited for the same: the first of them opens the next, since one that nobody knows of is never closed.
      if (this.setUp === opening) this.setUp = undefined;
      if (channel === undefined) return opening;
    }
  }
}

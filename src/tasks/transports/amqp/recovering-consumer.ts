import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../../base/index.ts";
import {
  InterruptedError,
  type Channel,
  type Connection,
  type ReceivedMessage,
} from "../../../client/index.ts";
import type { Consumption, Delivery, IncomingMessage } from "../../transport.ts";
import { messageOf } from "./mapping.ts";

export interface ConsumerSettings {
  /** Declares what is consumed, on each new channel; resolves with the queue's name. */
  prepare(channel: Channel): Promise<string>;
  /** 0 is unlimited. */
  readonly prefetch: number;
  /** Delivered is settled. */
  readonly noAck?: boolean;
  onDelivery(delivery: Delivery): void;
  onLost?(error: Error): void;
  onConsuming?(): void;
  onRefused?(error: Error, tries: number): void;
}

const leastDelayMs = 50;
const mostDelayMs = 5_000;

/**
 * A consumer that is set up again, on a channel of its own, whenever that was lost. Unlike the client's own it does not wait
 * for the handlers of what was lost, and leaves settling to its user.
 */
export class RecoveringConsumer implements Consumption {
  private readonly connection: Connection;
  private readonly settings: ConsumerSettings;
  private readonly log: Logger;
  private channel: Channel | undefined;
  private tag: string | undefined;
  private state: "consuming" | "cancelled" | "closed" = "consuming";
  private failures = 0;
  private retry: NodeJS.Timeout | undefined;
  private settingUp: Promise<void> | undefined;
  /** What is being set up has its channel. */
  private isConnected = false;

  constructor(connection: Connection, settings: ConsumerSettings, log: Logger) {
    this.connection = connection;
    this.settings = settings;
    this.log = log;
  }

  /** @throws what the broker says when it refuses the first set-up. */
  async start(): Promise<void> {
    for (;;) {
      try {
        await this.setUp();
        return;
      } catch (error) {
        if (this.state !== "consuming" || !(error instanceof InterruptedError)) throw error;
        await sleep(leastDelayMs);
      }
    }
  }

  async cancel(): Promise<void> {
    if (this.state !== "consuming") return;
    this.state = "cancelled";
    clearTimeout(this.retry);
    // While it waits for a connection it is not waited for: it sees then that it is too late.
    if (this.isConnected) await this.settingUp?.catch(() => {});
    const { channel, tag } = this;
    if (channel?.active && tag !== undefined) await channel.basicCancel(tag).catch(() => {});
  }

  async close(): Promise<void> {
    await this.cancel();
    this.state = "closed";
    await this.channel?.close();
  }

  private setUp(): Promise<void> {
    return (this.settingUp = this.consume().finally(() => {
      this.settingUp = undefined;
    }));
  }

  private async consume(): Promise<void> {
    this.isConnected = false;
    const channel = await this.connection.acquire();
    this.isConnected = true;
    if (this.state !== "consuming") {
      await channel.close();
      return;
    }
    channel.onClose = (error) => this.lost(channel, error);
    // The queue was deleted, or its node is gone.
    channel.onCancel = () => void channel.close();
    channel.onMessage = (message) => this.deliver(channel, message);
    try {
      const queue = await this.settings.prepare(channel);
      await channel.basicQos(this.settings.prefetch);
      this.tag = await channel.basicConsume(queue, { noAck: this.settings.noAck ?? false });
      // It was answered, and closed in the same moment.
      if (!channel.active) throw new InterruptedError("the channel was closed");
      this.channel = channel;
      this.failures = 0;
      this.settings.onConsuming?.();
    } catch (error) {
      if (channel.active) await channel.close();
      throw error;
    }
  }

  private deliver(channel: Channel, message: ReceivedMessage): void {
    // What comes after the cancel goes back when the channel is closed.
    if (this.state === "consuming" && channel.active)
      this.settings.onDelivery(new AmqpDelivery(channel, message));
  }

  private lost(channel: Channel, error: Error | undefined): void {
    if (this.channel !== channel) return;
    this.channel = undefined;
    if (this.state === "closed") return;
    this.settings.onLost?.(error ?? new Error("the connection or channel was lost"));
    if (this.state === "consuming") this.again();
  }

  private again(): void {
    const delayMs = Math.min(mostDelayMs, leastDelayMs * 2 ** this.failures++);
    this.retry = setTimeout(() => {
      this.setUp().catch((error: Error) => {
        if (this.state !== "consuming") return;
        if (!(error instanceof InterruptedError)) this.settings.onRefused?.(error, this.failures);
        this.log.warn({ error: error.message, tries: this.failures }, "cannot consume, trying again");
        this.again();
      });
    }, delayMs);
  }
}

export class AmqpDelivery implements Delivery {
  readonly message: IncomingMessage;
  private readonly channel: Channel;
  private readonly deliveryTag: number;
  private isSettled = false;

  constructor(channel: Channel, message: ReceivedMessage) {
    this.channel = channel;
    this.message = messageOf(message);
    this.deliveryTag = message.deliveryTag;
  }

  get isLost(): boolean {
    return !this.channel.active;
  }

  ack(): void {
    if (this.settles()) this.channel.basicAck(this.deliveryTag);
  }

  requeue(): void {
    if (this.settles()) this.channel.basicNack(this.deliveryTag, { requeue: true });
  }

  reject(): void {
    if (this.settles()) this.channel.basicNack(this.deliveryTag, { requeue: false });
  }

  private settles(): boolean {
    if (this.isSettled || !this.channel.active) return false;
    this.isSettled = true;
    return true;
  }
}

/** Hot path: `hasCredit` and `deliver` run for each delivery. Benchmark: T16, P1K in bench/. */
import { ByteWriter, FrameType, MethodId, type FieldTable } from "../../wire/index.ts";
import { redelivered, type Queue, type QueueConsumer } from "../queues/index.ts";
import type { MessageView } from "../storage/index.ts";
import type { Channel } from "./channel.ts";
import type { DeliveryHolder } from "./delivery-holder.ts";

export interface ConsumerOptions {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  /** Unacknowledged deliveries it may have at a time; 0 is unlimited. */
  readonly prefetch: number;
  readonly priority: number;
  /** As they were given to basic.consume. */
  readonly arguments: FieldTable;
}

/** A subscription of a channel to a queue (basic.consume). */
export class Consumer implements QueueConsumer, DeliveryHolder {
  readonly queue: Queue;
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  parked = false;
  readonly channel: Channel;
  readonly prefetch: number;
  readonly arguments: FieldTable;
  private readonly prefix: Uint8Array;
  private readonly prefixView: DataView;
  private unacked = 0;
  /** Messages that are not among the counts yet. */
  private delivered = 0;

  constructor(channel: Channel, queue: Queue, options: ConsumerOptions) {
    this.channel = channel;
    this.queue = queue;
    this.tag = options.tag;
    this.noAck = options.noAck;
    this.exclusive = options.exclusive;
    this.prefetch = options.prefetch;
    this.priority = options.priority;
    this.arguments = options.arguments;
    const { bytes, view } = new DeliverPrefix(channel.id, options.tag);
    this.prefix = bytes;
    this.prefixView = view;
  }

  get isActive(): boolean {
    return this.queue.isActive(this);
  }

  hasCredit(): boolean {
    const { channel } = this;
    if (channel.output.full) return false;
    if (this.noAck) return true;
    return (
      (this.prefetch === 0 || this.unacked < this.prefetch) &&
      (channel.prefetch === 0 || channel.consumerUnacked < channel.prefetch)
    );
  }

  park(): void {
    if (this.channel.output.full) this.channel.connection.awaitOutput(this);
  }

  deliver(message: MessageView, handle: number, flags: number, sequence: number): void {
    const { channel } = this;
    const tag = channel.nextDeliveryTag++;
    this.delivered++;
    if (!this.noAck) {
      this.unacked++;
      channel.consumerUnacked++;
      channel.unacked.push(tag, this, handle, flags, sequence);
    }
    const isRedelivered = (flags & redelivered) !== 0;
    if (isRedelivered) this.countRedelivered();
    channel.output.deliver(channel.id, this.prefix, this.prefixView, tag, isRedelivered, message);
  }

  settled(): void {
    this.unacked--;
    this.channel.consumerUnacked--;
  }

  acknowledged(): void {
    this.settled();
    this.queue.counts.ack++;
    this.channel.counts.ack++;
  }

  /** Adds what has been delivered to the counts of queue and channel: when they are looked at, and before it goes. */
  countDelivered(): void {
    const { delivered, noAck } = this;
    if (delivered === 0) return;
    this.delivered = 0;
    for (const counts of [this.queue.counts, this.channel.counts]) {
      if (noAck) counts.deliverNoAck += delivered;
      else counts.deliver += delivered;
    }
  }

  private countRedelivered(): void {
    this.queue.counts.redeliver++;
    this.channel.counts.redeliver++;
  }

  cancelledByQueue(): void {
    this.channel.consumerCancelledByQueue(this);
  }
}

/** The start of every basic.deliver frame to a consumer: frame header with the size left open, method id, consumer tag. */
export class DeliverPrefix {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(channel: number, tag: string) {
    const writer = new ByteWriter(64);
    writer.octet(FrameType.Method);
    writer.short(channel);
    writer.long(0);
    writer.long(MethodId.BasicDeliver);
    writer.shortstr(tag);
    this.bytes = writer.written().slice();
    this.view = new DataView(this.bytes.buffer);
  }
}

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
    const isRedelivered = (flags & redelivered) !== 0;
    if (this.noAck) {
      this.queue.deliveries.deliverNoAck++;
      channel.deliveries.deliverNoAck++;
    } else {
      this.queue.deliveries.deliver++;
      channel.deliveries.deliver++;
      this.unacked++;
      channel.consumerUnacked++;
      channel.unacked.push(tag, this, handle, flags, sequence);
    }
    if (isRedelivered) {
      this.queue.deliveries.redeliver++;
      channel.deliveries.redeliver++;
    }
    channel.output.deliver(channel.id, this.prefix, this.prefixView, tag, isRedelivered, message);
  }

  settled(): void {
    this.unacked--;
    this.channel.consumerUnacked--;
  }

  acknowledged(): void {
    this.settled();
    this.queue.deliveries.ack++;
    this.channel.deliveries.ack++;
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

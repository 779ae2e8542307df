/** The deliveries of a channel that wait for an acknowledgement, in the order of their tags. */
import type { Holder, Message, QueueLife } from "./ledger.ts";

export interface ConsumerModel {
  readonly tag: string;
  readonly queue: QueueLife;
  readonly noAck: boolean;
  readonly prefetch: number;
  /** In the order in which they came. */
  readonly received: Message[];
}

export interface Delivery extends Holder {
  readonly tag: number;
  /** Null for basic.get, which no prefetch counts. */
  readonly consumer: ConsumerModel | null;
}

export class Unacked {
  private deliveries: Delivery[] = [];

  get all(): readonly Delivery[] {
    return this.deliveries;
  }

  add(delivery: Delivery): void {
    this.deliveries.push(delivery);
  }

  /** Takes out what an acknowledgement of `delivery` names. */
  take(delivery: Delivery, multiple: boolean): Delivery[] {
    const isNamed = ({ tag }: Delivery): boolean => tag === delivery.tag || (multiple && tag < delivery.tag);
    const named = this.deliveries.filter(isNamed);
    this.deliveries = this.deliveries.filter((other) => !isNamed(other));
    return named;
  }

  takeAll(): Delivery[] {
    return this.deliveries.splice(0);
  }

  /** What the limits of basic.qos count: per consumer, and for all consumers of the channel together. */
  counts(consumer: ConsumerModel): { ofConsumer: number; ofChannel: number } {
    const ofChannel = this.deliveries.filter((delivery) => delivery.consumer !== null);
    const ofConsumer = ofChannel.filter((delivery) => delivery.consumer === consumer);
    return { ofConsumer: ofConsumer.length, ofChannel: ofChannel.length };
  }
}

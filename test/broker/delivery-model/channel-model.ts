/**
 * A channel and what the broker must think of it. What has a reply takes effect when the reply is read: replies and
 * deliveries come in the order in which the broker did things.
 */
import { MethodId, type Method } from "../../../src/wire/index.ts";
import { ack, consume } from "../../support/methods.ts";
import type { MethodOf, RawClient } from "../../support/raw-client.ts";
import type { Ledger, QueueLife, Reader } from "./ledger.ts";
import { Replies } from "./replies.ts";
import { Unacked, type ConsumerModel, type Delivery } from "./unacked.ts";

type Delivered = MethodOf<typeof MethodId.BasicDeliver | typeof MethodId.BasicGetOk>;

export class ChannelModel {
  readonly id: number;
  readonly name: string;
  readonly replies: Replies;
  readonly unacked: Unacked = new Unacked();
  private readonly client: RawClient;
  private readonly ledger: Ledger;
  private readonly reader: Reader;
  private readonly consumers = new Map<string, ConsumerModel>();
  /** Its deliveries are to go back to their queues, those included that arrive before the reply does. */
  private recovering = false;
  private prefetch = 0;
  private consumerPrefetch = 0;
  private nextConsumer = 1;
  private nextTag = 1;

  constructor(client: RawClient, ledger: Ledger, reader: Reader, id: number, name: string) {
    this.client = client;
    this.ledger = ledger;
    this.reader = reader;
    this.id = id;
    this.name = name;
    this.replies = new Replies(client, id);
  }

  /** The broker may have taken its deliveries back already. */
  get givingBack(): boolean {
    return this.recovering || this.reader.leaving;
  }

  /** Those whose queue is still there. */
  get liveConsumers(): ConsumerModel[] {
    return [...this.consumers.values()].filter((consumer) => !consumer.queue.deleted);
  }

  /** Whether the broker may send the consumer another message. */
  hasCredit(consumer: ConsumerModel): boolean {
    const { ofConsumer, ofChannel } = this.unacked.counts(consumer);
    const isBelow = (count: number, limit: number): boolean => limit === 0 || count < limit;
    return consumer.noAck || (isBelow(ofConsumer, consumer.prefetch) && isBelow(ofChannel, this.prefetch));
  }

  consume(queue: QueueLife, noAck: boolean): void {
    const tag = `${this.name} consumer ${this.nextConsumer++}`;
    const consumer = { tag, queue, noAck, prefetch: this.consumerPrefetch, received: [] };
    const method = consume(queue.name, { consumerTag: tag, noAck });
    this.ledger.reads(this.reader, queue);
    const started = (): unknown => this.consumers.set(tag, consumer);
    this.replies.request(method, [MethodId.BasicConsumeOk], started, queue);
  }

  cancel(consumerTag: string): void {
    const method = { id: MethodId.BasicCancel, consumerTag, noWait: false } as const;
    this.replies.request(method, [MethodId.BasicCancelOk], () => this.consumers.delete(consumerTag));
  }

  qos(prefetchCount: number, global: boolean): void {
    if (!global) this.consumerPrefetch = prefetchCount;
    const method = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount, global } as const;
    this.replies.request(method, [MethodId.BasicQosOk], () => {
      if (global) this.prefetch = prefetchCount;
    });
  }

  get(queue: QueueLife, noAck: boolean): void {
    this.ledger.reads(this.reader, queue);
    const read = (reply: Method, body: Buffer): void => {
      if (reply.id === MethodId.BasicGetOk) this.take(reply, body, queue, noAck, null);
    };
    const method = { id: MethodId.BasicGet, queue: queue.name, noAck } as const;
    this.replies.request(method, [MethodId.BasicGetOk, MethodId.BasicGetEmpty], read, queue);
  }

  ack(delivery: Delivery, multiple: boolean): void {
    this.client.method(this.id, ack(delivery.tag, multiple));
    this.done(this.unacked.take(delivery, multiple), false);
  }

  nack(delivery: Delivery, multiple: boolean, requeue: boolean): void {
    const deliveryTag = BigInt(delivery.tag);
    this.client.method(this.id, { id: MethodId.BasicNack, deliveryTag, multiple, requeue });
    this.done(this.unacked.take(delivery, multiple), requeue);
  }

  reject(delivery: Delivery, requeue: boolean): void {
    const deliveryTag = BigInt(delivery.tag);
    this.client.method(this.id, { id: MethodId.BasicReject, deliveryTag, requeue });
    this.done(this.unacked.take(delivery, false), requeue);
  }

  recover(): void {
    this.recovering = true;
    this.replies.request({ id: MethodId.BasicRecover, requeue: true }, [MethodId.BasicRecoverOk], () => {
      this.giveBack();
      this.recovering = false;
    });
  }

  closeAndReopen(): void {
    this.recovering = true;
    const none = { replyCode: 200, replyText: "", classId: 0, methodId: 0 };
    this.replies.request({ id: MethodId.ChannelClose, ...none }, [MethodId.ChannelCloseOk], () => {
      this.giveBack();
      this.consumers.clear();
      this.prefetch = 0;
      this.consumerPrefetch = 0;
      this.nextTag = 1;
      const open = { id: MethodId.ChannelOpen } as const;
      this.replies.request(open, [MethodId.ChannelOpenOk], () => (this.recovering = false));
    });
  }

  /** The broker has all its deliveries again. */
  giveBack(): void {
    this.done(this.unacked.takeAll(), true);
  }

  /** When it resolves, the broker has dealt with all that was sent to it on this channel. */
  async roundTrip(): Promise<void> {
    await this.replies.all();
    this.cancel("nobody");
    await this.replies.all();
  }

  /** A method from the broker, with its body if it brings one. */
  receive(method: Method, body: Buffer): void {
    if (method.id !== MethodId.BasicDeliver) {
      if (!this.replies.receive(method, body))
        this.blame(`received ${JSON.stringify(method, withoutBigInt)}`);
      return;
    }
    const consumer = this.consumers.get(method.consumerTag);
    if (consumer) this.take(method, body, consumer.queue, consumer.noAck, consumer);
    else this.blame(`has no consumer '${method.consumerTag}', but it was sent a message`);
  }

  private take(
    method: Delivered,
    body: Buffer,
    queue: QueueLife,
    noAck: boolean,
    consumer: ConsumerModel | null,
  ): void {
    const tag = this.nextTag++;
    if (Number(method.deliveryTag) !== tag) this.blame(`received tag ${method.deliveryTag}, not ${tag}`);
    const message = this.ledger.arrived(body, method.redelivered, this.reader, this.name);
    if (!message) return;
    if (message.queue !== queue) this.blame(`received message ${message.number} of another queue`);
    consumer?.received.push(message);
    if (noAck) return this.ledger.settledByDelivery(message, this.name);
    if (this.givingBack) return;
    // The broker has read no more acknowledgements than were sent: it had no more credit to give than we count.
    if (consumer && !this.hasCredit(consumer))
      this.blame(`received more than the prefetch of ${consumer.tag}`);
    const delivery = { channel: this, tag, message, consumer };
    this.ledger.held(delivery, this.name);
    this.unacked.add(delivery);
  }

  private done(deliveries: readonly Delivery[], requeue: boolean): void {
    for (const delivery of deliveries) {
      if (requeue) this.ledger.givenBack(delivery);
      else this.ledger.settled(delivery.message);
    }
  }

  private blame(what: string): void {
    this.ledger.find(`${this.name} ${what}`);
  }
}

function withoutBigInt(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

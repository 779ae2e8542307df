import { MethodId, ReplyCode, type Method } from "../../wire/index.ts";
import { ChannelError, ConnectionError, replyText } from "../errors.ts";
import type { Compatibility } from "../queue-arguments.ts";
import type { Queue } from "../queues/index.ts";
import { Deliveries } from "../traffic.ts";
import type { VirtualHost } from "../virtual-host.ts";
import { handleBasicMethod } from "./basic-methods.ts";
import { handleChannelMethod } from "./channel-methods.ts";
import { handleConfirmMethod } from "./confirm-methods.ts";
import type { Consumer } from "./consumer.ts";
import { ContentAssembly, notAHeader } from "./content-assembly.ts";
import { DeliveryAges } from "./delivery-ages.ts";
import { UnackedDeliveries, type DeliveryVisitor } from "./unacked-deliveries.ts";
import { handleExchangeMethod } from "./exchange-methods.ts";
import type { Output } from "./output.ts";
import { Publisher, type PublisherOwner } from "./publisher.ts";
import { handleQueueMethod } from "./queue-methods.ts";
import type { ReplyChannelConsumer } from "./reply-consumer.ts";
import type { Transaction } from "./transaction.ts";
import { handleTxMethod } from "./tx-methods.ts";

/** What a channel needs of its connection. */
export interface ChannelConnection extends PublisherOwner {
  readonly output: Output;
  readonly maxMessageBytes: number;
  readonly compatibility: Compatibility;
  /** The client asked to be told when the broker cancels a consumer. */
  readonly wantsCancelNotify: boolean;
  /** The channel is closed on both sides; its number may be used again. */
  channelClosed(channel: Channel): void;
  /** Serves a parked consumer when there is room in the output again. */
  awaitOutput(consumer: Consumer): void;
  forgetConsumer(consumer: Consumer): void;
  /**
   * Withholds what is written from now on, and reads nothing more, until the store has committed all that was done up to
   * now: for replies that promise something durable. What the client has sent behind stays behind.
   */
  holdUntilCommitted(): void;
}

/** One AMQP channel: its consumers, its unacknowledged deliveries and what it publishes. */
export class Channel {
  readonly id: number;
  readonly connection: ChannelConnection;
  readonly vhost: VirtualHost;
  readonly output: Output;
  readonly publisher: Publisher;
  readonly unacked: UnackedDeliveries = new UnackedDeliveries();
  readonly consumers: Map<string, Consumer> = new Map();
  /** Without what its consumers have not added yet. */
  readonly counts: Deliveries = new Deliveries();
  replyConsumer: ReplyChannelConsumer | null = null;
  /** Queues that this channel's consumers have left, and that may have others to serve now. */
  private readonly left = new Set<Queue>();
  private readonly ages = new DeliveryAges();
  /** Unacknowledged deliveries that all consumers of the channel may have together (basic.qos global); 0 is unlimited. */
  prefetch = 0;
  /** The same for each consumer started from now on. */
  consumerPrefetch = 0;
  /** Unacknowledged deliveries made by consumers, not by basic.get. */
  consumerUnacked = 0;
  /** Tags restart per channel, so that they live here and not on the queue. */
  nextDeliveryTag = 1;
  /** The queue declared last on this channel, which an empty name stands for (AMQP 0-9-1 §1.7.2.1). */
  lastQueueName = "";
  /** It has been stopped, and what it did is counted with what is gone. */
  isPast = false;
  /** We have sent channel.close and pass over everything until the client agrees. */
  closing = false;
  /** A message of which frames are still to come. */
  assembly: ContentAssembly | null = null;
  /** What waits for tx.commit; null unless the channel is in tx mode. */
  transaction: Transaction | null = null;

  constructor(id: number, connection: ChannelConnection) {
    this.id = id;
    this.connection = connection;
    this.vhost = connection.vhost;
    this.output = connection.output;
    this.publisher = new Publisher(id, connection);
    this.vhost.churn.channelsCreated++;
  }

  /** @throws ChannelError, ConnectionError */
  handle(method: Method): void {
    if (this.closing) {
      this.handleWhileClosing(method);
      return;
    }
    switch (method.id >>> 16) {
      case 20:
        return handleChannelMethod(this, method);
      case 30:
        // access.request: a leftover of AMQP 0-8 that old clients send. RabbitMQ agrees to anything, too.
        return this.send({ id: MethodId.AccessRequestOk });
      case 40:
        return handleExchangeMethod(this, method);
      case 50:
        return handleQueueMethod(this, method);
      case 60:
        return handleBasicMethod(this, method);
      case 85:
        return handleConfirmMethod(this, method);
      case 90:
        return handleTxMethod(this, method);
      default:
        throw unimplemented();
    }
  }

  get deliveries(): Deliveries {
    for (const consumer of this.consumers.values()) consumer.countDelivered();
    return this.counts;
  }

  send(method: Method): void {
    this.output.method(this.id, method);
  }

  /**
   * A method has arrived.
   * @throws ConnectionError 505 when the frames of a message are still due.
   */
  expectMethod(): void {
    if (this.assembly === null) return;
    this.assembly = null;
    throw notAHeader();
  }

  /** Starts a message that its channel's next frames bring. */
  expectContent(route: Uint8Array, mandatory: boolean): void {
    this.assembly = new ContentAssembly(route, mandatory, this.connection.maxMessageBytes);
  }

  header(payload: Uint8Array): void {
    if (this.closing) return;
    if (this.assembly === null) throw notAMethod();
    if (this.assembly.header(payload)) this.publishAssembled();
  }

  body(payload: Uint8Array): void {
    if (this.closing) return;
    if (this.assembly === null) throw notAMethod();
    if (this.assembly.body(payload)) this.publishAssembled();
  }

  /** Serves the consumers that had no credit and have some now, at once or when there is room in the output. */
  serveConsumers(): void {
    for (const consumer of this.consumers.values()) {
      if (!consumer.parked) continue;
      if (this.output.full) this.connection.awaitOutput(consumer);
      else if (consumer.hasCredit()) consumer.queue.resume(consumer);
    }
  }

  consumerCancelledByQueue(consumer: Consumer): void {
    this.consumers.delete(consumer.tag);
    this.connection.forgetConsumer(consumer);
    if (this.closing || !this.connection.wantsCancelNotify) return;
    this.send({ id: MethodId.BasicCancel, consumerTag: consumer.tag, noWait: true });
  }

  /** Gives its queue, which may have other consumers to serve now. */
  cancelConsumer(consumer: Consumer): Queue {
    this.consumers.delete(consumer.tag);
    this.connection.forgetConsumer(consumer);
    const { queue } = consumer;
    queue.removeConsumer(consumer);
    // An auto-delete queue goes with its last consumer. One that never had any stays (AMQP 0-9-1 §1.7.2.1).
    if (queue.autoDelete && queue.consumerCount === 0) this.vhost.deleteQueue(queue);
    return queue;
  }

  endReplies(): void {
    this.replyConsumer?.end();
    this.replyConsumer = null;
  }

  /**
   * Gives the unacknowledged deliveries back to their queues, each to its original position; not those that a transaction
   * has settled, as long as there is one.
   */
  requeueUnacked(): void {
    const queues = new Set<Queue>(this.left);
    this.left.clear();
    const visit = requeueInto(queues, false);
    const { transaction } = this;
    if (transaction === null) this.unacked.takeUpTo(Number.POSITIVE_INFINITY, visit);
    else transaction.takeUnsettled(this.nextDeliveryTag - 1, visit);
    for (const queue of queues) queue.dispatch();
  }

  /**
   * Looks whether a delivery has waited too long for its acknowledgement, and closes the channel then: a consumer that hangs
   * must not keep it from others. https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
   */
  lookForOverdue(nowMs: number, timeoutMs: number): void {
    const { unacked, nextDeliveryTag } = this;
    if (this.closing || !this.ages.isOverdue(nowMs, nextDeliveryTag, unacked.firstTag, timeoutMs)) return;
    const text =
      `delivery acknowledgement on channel ${this.id} timed out. Timeout value used: ${timeoutMs} ms. ` +
      "This timeout value can be configured, see consumers doc guide to learn more";
    this.fail(new ChannelError(ReplyCode.PreconditionFailed, text), 0);
  }

  /** Closes the channel because of an error of the client's. The connection goes on. */
  fail(error: ChannelError, methodId: number): void {
    this.send({
      id: MethodId.ChannelClose,
      replyCode: error.code,
      replyText: replyText(error.code, error.message),
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    });
    this.release();
    this.closing = true;
  }

  /** Ends what the channel holds: consumers first, so that what it gives back goes to others. */
  release(): void {
    this.stop();
    this.requeueUnacked();
  }

  /** Ends everything but the unacknowledged deliveries. */
  stop(): void {
    this.countAsPast();
    this.assembly = null;
    this.transaction = null;
    this.publisher.close();
    this.endReplies();
    // They are served when what this channel holds has come back.
    for (const consumer of this.consumers.values()) this.left.add(this.cancelConsumer(consumer));
  }

  /** Once: what it did goes on counting in its virtual host. */
  private countAsPast(): void {
    if (this.isPast) return;
    this.isPast = true;
    this.publisher.countRun();
    this.vhost.past.publishes.add(this.publisher.counts);
    this.vhost.churn.channelsClosed++;
  }

  private publishAssembled(): void {
    const { message, mandatory } = this.assembly!;
    this.assembly = null;
    this.publisher.publish(message, mandatory);
  }

  private handleWhileClosing(method: Method): void {
    // The client's channel.close may cross ours; it answers ours all the same, and only that frees the number.
    if (method.id === MethodId.ChannelClose) this.send({ id: MethodId.ChannelCloseOk });
    else if (method.id === MethodId.ChannelCloseOk) this.connection.channelClosed(this);
  }
}

/**
 * Gives deliveries back to their queues and notes which queues have to be dispatched. `isRejection`: the consumer says that
 * it has failed to deal with them.
 */
export function requeueInto(queues: Set<Queue>, isRejection: boolean): DeliveryVisitor {
  return (holder, handle, flags, sequence) => {
    holder.settled();
    holder.queue.requeue(handle, flags, sequence, isRejection);
    queues.add(holder.queue);
  };
}

/** A method that only a server sends, or that makes no sense on this channel. In RabbitMQ's words. */
export function unimplemented(): ConnectionError {
  return new ConnectionError(ReplyCode.CommandInvalid, "unimplemented method");
}

function notAMethod(): ConnectionError {
  return new ConnectionError(
    ReplyCode.UnexpectedFrame,
    "expected method frame, got non method frame instead",
  );
}

import {
  ByteWriter,
  fieldText,
  MethodId,
  ReplyCode,
  type FieldTable,
  type Method,
} from "../../wire/index.ts";
import { ChannelError, ConnectionError } from "../errors.ts";
import { notAnInteger } from "../queue-arguments.ts";
import { redelivered, type Queue } from "../queues/index.ts";
import type { Deliveries } from "../traffic.ts";
import { generateName, replyTo } from "../virtual-host.ts";
import { requeueInto, unimplemented, type Channel } from "./channel.ts";
import { Consumer } from "./consumer.ts";
import type { DeliveryHolder } from "./delivery-holder.ts";
import { queueName } from "./queue-methods.ts";
import { ReplyChannelConsumer } from "./reply-consumer.ts";
import type { KeptSettlement, Settlement, Transaction } from "./transaction.ts";
import type { DeliveryVisitor } from "./unacked-deliveries.ts";

type MethodOf<Id extends Method["id"]> = Extract<Method, { readonly id: Id }>;

/** Class basic, but for publishing, which the connection reads from the bytes. */
export function handleBasicMethod(channel: Channel, method: Method): void {
  switch (method.id) {
    case MethodId.BasicQos:
      return qos(channel, method);
    case MethodId.BasicConsume:
      return consume(channel, method);
    case MethodId.BasicCancel:
      return cancel(channel, method);
    case MethodId.BasicGet:
      return get(channel, method);
    case MethodId.BasicAck:
      return acknowledge(channel, Number(method.deliveryTag), method.multiple);
    case MethodId.BasicReject:
      return settle(channel, Number(method.deliveryTag), false, method.requeue ? "rejected back" : "dead");
    case MethodId.BasicNack:
      return settle(
        channel,
        Number(method.deliveryTag),
        method.multiple,
        method.requeue ? "nacked back" : "dead",
      );
    case MethodId.BasicRecover:
      return recover(channel, method.requeue, true);
    case MethodId.BasicRecoverAsync:
      return recover(channel, method.requeue, false);
    default:
      throw unimplemented();
  }
}

/** Takes one delivery, or all up to it, off the channel: they are done with. Tag 0 with `multiple` means all. */
export function acknowledge(channel: Channel, tag: number, multiple: boolean): void {
  settle(channel, tag, multiple, "acknowledged");
}

function settle(channel: Channel, tag: number, multiple: boolean, outcome: Settlement): void {
  if (channel.transaction !== null) {
    keepSettlement(channel, channel.transaction, { tag, multiple, outcome });
    return;
  }
  if (outcome === "acknowledged") {
    take(channel, tag, multiple, acknowledged);
  } else {
    const queues = new Set<Queue>();
    take(channel, tag, multiple, visitorFor(outcome, queues));
    for (const queue of queues) queue.dispatch();
    channel.vhost.deadLetters.moveSoon();
  }
  channel.serveConsumers();
}

const acknowledged: DeliveryVisitor = (holder, handle, flags, sequence) => {
  holder.acknowledged();
  holder.queue.settle(handle, flags, sequence);
};

const dead: DeliveryVisitor = (holder, handle, flags, sequence) => {
  holder.settled();
  holder.queue.reject(handle, flags, sequence);
};

/** `queues` gets those to which deliveries come back. */
function visitorFor(outcome: Settlement, queues: Set<Queue>): DeliveryVisitor {
  if (outcome === "acknowledged") return acknowledged;
  return outcome === "dead" ? dead : requeueInto(queues, outcome === "rejected back");
}

/** @throws ChannelError 406 for a tag that is not waiting for an acknowledgement. */
function take({ unacked }: Channel, tag: number, multiple: boolean, visit: DeliveryVisitor): void {
  if (!multiple) {
    if (!unacked.takeOne(tag, visit)) throw unknownTag(tag);
  } else if (tag === 0) {
    unacked.takeUpTo(Number.POSITIVE_INFINITY, visit);
  } else {
    // The very tag must be waiting, as in RabbitMQ: a client that has lost count is told, and nothing is settled.
    if (!unacked.has(tag)) throw unknownTag(tag);
    unacked.takeUpTo(tag, visit);
  }
}

/**
 * For tx.commit. Until then the deliveries count against the prefetch.
 * @throws ChannelError 406
 */
function keepSettlement(channel: Channel, transaction: Transaction, settlement: KeptSettlement): void {
  const { tag, multiple, outcome } = settlement;
  if (multiple && tag === 0) transaction.settleAll(channel.nextDeliveryTag - 1, outcome);
  else if (!transaction.settle(settlement)) throw unknownTag(tag);
}

/** Carries out what a transaction has kept, in its order. */
export function settleKept(channel: Channel, settlements: readonly KeptSettlement[]): void {
  const { unacked } = channel;
  const queues = new Set<Queue>();
  for (const { tag, multiple, outcome } of settlements) {
    const visit = visitorFor(outcome, queues);
    if (multiple) unacked.takeUpTo(tag, visit);
    else unacked.takeOne(tag, visit);
  }
  for (const queue of queues) queue.dispatch();
  channel.vhost.deadLetters.moveSoon();
  channel.serveConsumers();
}

function unknownTag(tag: number): ChannelError {
  return new ChannelError(ReplyCode.PreconditionFailed, `unknown delivery tag ${tag}`);
}

/**
 * Not global: for each consumer started on the channel from now on. Global: shared by all consumers of the channel.
 * https://www.rabbitmq.com/docs/consumer-prefetch
 */
function qos(channel: Channel, method: MethodOf<typeof MethodId.BasicQos>): void {
  if (method.prefetchSize !== 0) {
    throw new ConnectionError(ReplyCode.NotImplemented, `prefetch_size!=0 (${method.prefetchSize})`);
  }
  if (method.global && channel.connection.compatibility === "4") {
    // https://www.rabbitmq.com/release-information/deprecated-features-list
    throw new ConnectionError(
      ReplyCode.InternalError,
      "Feature `global_qos` is deprecated. By default, this feature is not permitted anymore. Set the prefetch of each consumer.",
    );
  }
  if (method.global) channel.prefetch = method.prefetchCount;
  else channel.consumerPrefetch = method.prefetchCount;
  channel.send({ id: MethodId.BasicQosOk });
  channel.serveConsumers();
}

/** `no-local` is accepted and, as in RabbitMQ, changes nothing. */
function consume(channel: Channel, method: MethodOf<typeof MethodId.BasicConsume>): void {
  if (method.consumerTag !== "" && channel.consumers.has(method.consumerTag)) {
    throw new ConnectionError(ReplyCode.NotAllowed, `attempt to reuse consumer tag '${method.consumerTag}'`);
  }
  if (method.queue === replyTo) return consumeReplies(channel, method);
  const name = queueName(channel, method.queue);
  channel.connection.permissions.assertRead("queue", name);
  const queue = channel.vhost.queueFor(name, channel.connection);
  const { type, singleActiveConsumer } = queue.settings;
  const cannotExclude = method.exclusive && (singleActiveConsumer || queue.consumerCount > 0);
  if (queue.hasExclusiveConsumer || cannotExclude) {
    throw new ChannelError(
      ReplyCode.AccessRefused,
      `queue '${queue.name}' in vhost '${channel.vhost.name}' in exclusive use`,
    );
  }
  const priority = consumerPriority(queue, channel.vhost.name, method.arguments);
  if (type === "quorum" && channel.prefetch > 0) {
    throw new ConnectionError(
      ReplyCode.NotImplemented,
      `queue '${queue.name}' in vhost '${channel.vhost.name}' does not support global qos`,
    );
  }
  const tag = consumerTagOf(method);
  const consumer = new Consumer(channel, queue, {
    tag,
    priority,
    noAck: method.noAck,
    exclusive: method.exclusive,
    prefetch: channel.consumerPrefetch,
    arguments: method.arguments,
  });
  channel.consumers.set(tag, consumer);
  if (!method.noWait) channel.send({ id: MethodId.BasicConsumeOk, consumerTag: tag });
  queue.addConsumer(consumer);
  queue.dispatch();
}

/** @throws ChannelError 406 when it is no integer. https://www.rabbitmq.com/docs/consumer-priority */
function consumerPriority(queue: Queue, vhost: string, table: FieldTable): number {
  const field = table.get("x-priority");
  if (field === undefined) return 0;
  const problem = notAnInteger(field);
  if (problem === undefined) return Number(fieldText(field));
  throw new ChannelError(
    ReplyCode.PreconditionFailed,
    `invalid arg 'x-priority' for queue '${queue.name}' in vhost '${vhost}': ${problem}`,
  );
}

function consumerTagOf({ consumerTag }: MethodOf<typeof MethodId.BasicConsume>): string {
  return consumerTag === "" ? generateName("amq.ctag-") : consumerTag;
}

/**
 * The pseudo-queue of replies: what is sent to the channel's address comes to this consumer and is kept nowhere.
 * @throws ChannelError 406
 */
function consumeReplies(channel: Channel, method: MethodOf<typeof MethodId.BasicConsume>): void {
  if (!method.noAck)
    throw new ChannelError(ReplyCode.PreconditionFailed, "reply consumer cannot acknowledge");
  if (channel.replyConsumer !== null)
    throw new ChannelError(ReplyCode.PreconditionFailed, "reply consumer already set");
  const tag = consumerTagOf(method);
  channel.replyConsumer = new ReplyChannelConsumer(channel, tag);
  if (!method.noWait) channel.send({ id: MethodId.BasicConsumeOk, consumerTag: tag });
}

/** Cancelling an unknown consumer is fine. Its unacknowledged deliveries stay with the channel. */
function cancel(channel: Channel, method: MethodOf<typeof MethodId.BasicCancel>): void {
  const consumer = channel.consumers.get(method.consumerTag);
  if (consumer) channel.cancelConsumer(consumer).dispatch();
  if (channel.replyConsumer?.tag === method.consumerTag) channel.endReplies();
  if (!method.noWait) channel.send({ id: MethodId.BasicCancelOk, consumerTag: method.consumerTag });
}

function get(channel: Channel, method: MethodOf<typeof MethodId.BasicGet>): void {
  const name = queueName(channel, method.queue);
  channel.connection.permissions.assertRead("queue", name);
  const queue = channel.vhost.queueFor(name, channel.connection);
  const taken = queue.take();
  if (taken === null) {
    queue.counts.getEmpty++;
    channel.counts.getEmpty++;
    channel.send({ id: MethodId.BasicGetEmpty });
    return;
  }
  const { message, handle, flags, sequence } = taken;
  const isRedelivered = (flags & redelivered) !== 0;
  queue.counts.got(isRedelivered, method.noAck);
  channel.counts.got(isRedelivered, method.noAck);
  const tag = channel.nextDeliveryTag++;
  const payload = new ByteWriter(64 + message.routeLength);
  payload.long(MethodId.BasicGetOk);
  payload.longlong(BigInt(tag));
  payload.octet(isRedelivered ? 1 : 0);
  payload.raw(message.bytes.subarray(message.routeAt, message.routeAt + message.routeLength));
  payload.long(queue.readyCount);
  channel.output.contentMethod(channel.id, payload.written(), message);
  if (method.noAck) queue.settle(handle, flags, sequence);
  else channel.unacked.push(tag, new Getter(queue, channel.counts), handle, flags, sequence);
}

/** Holds a delivery that basic.get took: prefetch does not count it. */
class Getter implements DeliveryHolder {
  readonly queue: Queue;
  private readonly counts: Deliveries;

  /** With the counts of its channel. */
  constructor(queue: Queue, counts: Deliveries) {
    this.queue = queue;
    this.counts = counts;
  }

  settled(): void {}

  acknowledged(): void {
    this.queue.counts.ack++;
    this.counts.ack++;
  }
}

function recover(channel: Channel, requeue: boolean, withReply: boolean): void {
  if (!requeue) throw new ConnectionError(ReplyCode.NotImplemented, "requeue=false");
  // Before the deliveries that it causes, as in RabbitMQ.
  if (withReply) channel.send({ id: MethodId.BasicRecoverOk });
  channel.requeueUnacked();
  channel.serveConsumers();
}

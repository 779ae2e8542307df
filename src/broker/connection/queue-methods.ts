import { MethodId, ReplyCode, type Method } from "../../wire/index.ts";
import { ChannelError } from "../errors.ts";
import { replyTo } from "../virtual-host.ts";
import { unimplemented, type Channel } from "./channel.ts";
import { assertMayBind } from "./may-bind.ts";
import { cleanName } from "./names.ts";

/** Class queue. */
export function handleQueueMethod(channel: Channel, method: Method): void {
  const { vhost, connection } = channel;
  const { permissions } = connection;
  switch (method.id) {
    case MethodId.QueueDeclare: {
      const name = cleanName(method.queue);
      if (name.startsWith(replyTo)) return declareReplies(channel, name, method.noWait);
      const queue = method.passive
        ? vhost.queueFor(name === "" ? channel.lastQueueName : name, connection)
        : vhost.declareQueue(
            name,
            { ...method, exclusiveOwner: method.exclusive ? connection : null },
            connection,
            permissions,
          );
      queue.used();
      channel.lastQueueName = queue.name;
      if (method.noWait) return;
      channel.send({
        id: MethodId.QueueDeclareOk,
        queue: queue.name,
        messageCount: queue.readyCount,
        consumerCount: queue.consumerCount,
      });
      return;
    }
    case MethodId.QueueBind: {
      const queue = queueName(channel, method.queue);
      // Neither name given: the key is the queue's name as well (AMQP 0-9-1 §1.7.2.3).
      const key = method.queue === "" && method.routingKey === "" ? queue : method.routingKey;
      assertMayBind(connection, "queue", queue, cleanName(method.exchange), key);
      vhost.bindQueue(queue, cleanName(method.exchange), key, method.arguments, connection);
      if (!method.noWait) channel.send({ id: MethodId.QueueBindOk });
      return;
    }
    case MethodId.QueueUnbind: {
      const queue = queueName(channel, method.queue);
      const key = method.queue === "" && method.routingKey === "" ? queue : method.routingKey;
      assertMayBind(connection, "queue", queue, cleanName(method.exchange), key);
      vhost.unbindQueue(queue, cleanName(method.exchange), key, method.arguments, connection);
      channel.send({ id: MethodId.QueueUnbindOk });
      return;
    }
    case MethodId.QueuePurge: {
      const name = queueName(channel, method.queue);
      permissions.assertRead("queue", name);
      const messageCount = vhost.queueFor(name, connection).purge();
      if (!method.noWait) channel.send({ id: MethodId.QueuePurgeOk, messageCount });
      return;
    }
    case MethodId.QueueDelete: {
      const name = queueName(channel, method.queue);
      permissions.assertConfigure("queue", name);
      const messageCount = vhost.deleteQueueNamed(name, connection, method.ifUnused, method.ifEmpty);
      if (!method.noWait) channel.send({ id: MethodId.QueueDeleteOk, messageCount });
      return;
    }
    default:
      throw unimplemented();
  }
}

/** An address of replies can be declared, which tells whether anybody is there. @throws ChannelError 404 */
function declareReplies(channel: Channel, name: string, noWait: boolean): void {
  if (name !== replyTo && !channel.vhost.hasReplyConsumer(name)) {
    throw new ChannelError(ReplyCode.NotFound, `no queue '${name}' in vhost '${channel.vhost.name}'`);
  }
  if (noWait) return;
  channel.send({ id: MethodId.QueueDeclareOk, queue: name, messageCount: 0, consumerCount: 1 });
}

/**
 * An empty name stands for the queue declared last on the channel.
 * @throws ChannelError 404 when there is none.
 */
export function queueName(channel: Channel, name: string): string {
  if (name !== "") return cleanName(name);
  if (channel.lastQueueName === "")
    throw new ChannelError(ReplyCode.NotFound, "no previously declared queue");
  return channel.lastQueueName;
}

import type { ConfirmChannel } from "amqplib";

/** What a client does wrong, with the names it has, and what RabbitMQ replies. */
export interface Mistake {
  name: string;
  make: (channel: ConfirmChannel, names: Names) => Promise<unknown>;
  /** What the reply text starts with; `$queue` and `$exchange` stand for the names. */
  reply: string;
}

export interface Names {
  /** A durable queue. */
  queue: string;
  /** A durable topic exchange, bound to the queue. */
  exchange: string;
  /** A queue that is exclusive to another connection. */
  locked: string;
}

const locked = "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$locked' in vhost '/'";
const defaultExchange = "403 ACCESS_REFUSED - operation not permitted on the default exchange";

export const closeTheChannel: readonly Mistake[] = [
  {
    name: "declaring a queue with a reserved name",
    make: (channel) => channel.assertQueue("amq.mine"),
    reply: "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
  },
  {
    name: "declaring an exchange with a reserved name",
    make: (channel) => channel.assertExchange("amq.mine", "direct"),
    reply: "403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
  },
  {
    name: "deleting an exchange of the system",
    make: (channel) => channel.deleteExchange("amq.direct"),
    reply: "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
  },
  {
    name: "deleting the default exchange",
    make: (channel) => channel.deleteExchange(""),
    reply: defaultExchange,
  },
  {
    name: "binding to the default exchange",
    make: (channel, { queue }) => channel.bindQueue(queue, "", "key"),
    reply: defaultExchange,
  },
  {
    name: "publishing to an internal exchange",
    make: async (channel, { exchange }) => {
      await channel.deleteExchange(exchange);
      await channel.assertExchange(exchange, "fanout", { internal: true });
      channel.publish(exchange, "", Buffer.from("not for clients"));
      await channel.waitForConfirms();
    },
    reply: "403 ACCESS_REFUSED - cannot publish to internal exchange '$exchange' in vhost '/'",
  },
  {
    name: "consuming exclusively where another consumes",
    make: async (channel, { queue }) => {
      await channel.consume(queue, () => {});
      await channel.consume(queue, () => {}, { exclusive: true });
    },
    reply: "403 ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use",
  },
  {
    name: "consuming where another consumes exclusively",
    make: async (channel, { queue }) => {
      await channel.consume(queue, () => {}, { exclusive: true });
      await channel.consume(queue, () => {});
    },
    reply: "403 ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use",
  },
  {
    name: "binding a missing queue",
    make: (channel, { exchange }) => channel.bindQueue("missing", exchange, "key"),
    reply: "404 NOT_FOUND - no queue 'missing' in vhost '/'",
  },
  {
    name: "binding to a missing exchange",
    make: (channel, { queue }) => channel.bindQueue(queue, "missing", "key"),
    reply: "404 NOT_FOUND - no exchange 'missing' in vhost '/'",
  },
  {
    name: "purging a missing queue",
    make: (channel) => channel.purgeQueue("missing"),
    reply: "404 NOT_FOUND - no queue 'missing' in vhost '/'",
  },
  {
    name: "publishing to a missing exchange",
    make: async (channel) => {
      channel.publish("missing", "key", Buffer.from("lost"));
      await channel.waitForConfirms();
    },
    reply: "404 NOT_FOUND - no exchange 'missing' in vhost '/'",
  },
  {
    name: "looking at another connection's exclusive queue",
    make: (channel, names) => channel.checkQueue(names.locked),
    reply: locked,
  },
  {
    name: "binding another connection's exclusive queue",
    make: (channel, names) => channel.bindQueue(names.locked, names.exchange, "key"),
    reply: locked,
  },
  {
    name: "purging another connection's exclusive queue",
    make: (channel, names) => channel.purgeQueue(names.locked),
    reply: locked,
  },
  {
    name: "c8 declaring a queue again with another durability",
    make: (channel, { queue }) => channel.assertQueue(queue, { durable: false }),
    reply:
      "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue '$queue' in vhost '/': " +
      "received 'false' but current is 'true'",
  },
  {
    name: "declaring a queue again as one that deletes itself",
    make: (channel, { queue }) => channel.assertQueue(queue, { autoDelete: true }),
    reply:
      "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '$queue' in vhost '/': " +
      "received 'true' but current is 'false'",
  },
  {
    name: "declaring a queue again with an argument it does not have",
    make: (channel, { queue }) => channel.assertQueue(queue, { messageTtl: 1000 }),
    reply:
      "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '$queue' in vhost '/': received",
  },
  {
    name: "declaring a queue with a negative time to live",
    make: (channel) => channel.assertQueue("never", { messageTtl: -1 }),
    reply: "406 PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'never' in vhost '/'",
  },
  {
    name: "declaring a queue with an unknown overflow behaviour",
    make: (channel) => channel.assertQueue("never", { arguments: { "x-overflow": "explode" } }),
    reply: "406 PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'never' in vhost '/'",
  },
  {
    name: "declaring a dead-letter routing key without a dead-letter exchange",
    make: (channel) => channel.assertQueue("never", { deadLetterRoutingKey: "key" }),
    reply: "406 PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'never' in vhost '/'",
  },
  {
    name: "declaring an exchange again with another type",
    make: (channel, { exchange }) => channel.assertExchange(exchange, "fanout"),
    reply:
      "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange '$exchange' in vhost '/': " +
      "received 'fanout' but current is 'topic'",
  },
  {
    name: "declaring an exchange again with another durability",
    make: (channel, { exchange }) => channel.assertExchange(exchange, "topic", { durable: false }),
    reply:
      "406 PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '$exchange' in vhost '/': " +
      "received 'false' but current is 'true'",
  },
  {
    name: "deleting an exchange in use, if unused",
    make: (channel, { exchange }) => channel.deleteExchange(exchange, { ifUnused: true }),
    reply: "406 PRECONDITION_FAILED - exchange '$exchange' in vhost '/' in use",
  },
  {
    name: "deleting a queue in use, if unused",
    make: async (channel, { queue }) => {
      await channel.consume(queue, () => {});
      await channel.deleteQueue(queue, { ifUnused: true });
    },
    reply: "406 PRECONDITION_FAILED - queue '$queue' in vhost '/' in use",
  },
  {
    name: "acknowledging the same message twice",
    make: async (channel, { queue }) => {
      channel.sendToQueue(queue, Buffer.from("once"));
      await channel.waitForConfirms();
      const message = await channel.get(queue);
      if (!message) throw new Error("no message to acknowledge");
      channel.ack(message);
      channel.ack(message);
      await channel.checkQueue(queue);
    },
    reply: "406 PRECONDITION_FAILED - unknown delivery tag 1",
  },
  {
    name: "publishing with an expiration that is no number",
    make: async (channel, { queue }) => {
      channel.sendToQueue(queue, Buffer.from("when?"), { expiration: "soon" });
      await channel.waitForConfirms();
    },
    reply: "406 PRECONDITION_FAILED - invalid expiration 'soon'",
  },
];

export const closeTheConnection: readonly Mistake[] = [
  {
    name: "declaring an exchange of an unknown type",
    make: (channel) => channel.assertExchange("never", "unheard-of"),
    reply: "503 COMMAND_INVALID - unknown exchange type 'unheard-of'",
  },
  {
    name: "using a consumer tag twice",
    make: async (channel, { queue }) => {
      await channel.consume(queue, () => {}, { consumerTag: "twin" });
      await channel.consume(queue, () => {}, { consumerTag: "twin" });
    },
    reply: "530 NOT_ALLOWED - attempt to reuse consumer tag 'twin'",
  },
];

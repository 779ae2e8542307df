import type { ChannelView, ConnectionView, ConsumerView } from "../../broker/index.ts";
import { jsonOf } from "../amqp-values.ts";
import type { ApiRequest } from "../api-request.ts";
import { listedWhole, type Row } from "../lists.ts";
import type { Resource } from "../resource.ts";
import { channelDetails, open } from "./channels.ts";
import { visible } from "./connections.ts";

export const consumers: readonly Resource[] = [
  { path: "/consumers", access: "user", methods: { GET: list } },
  { path: "/consumers/:vhost", access: "user", methods: { GET: list } },
];

function list(request: ApiRequest): unknown {
  const rows = visible(request).flatMap((connection): Row[] =>
    open(connection).flatMap((channel) =>
      [...channel.consumers.values()].map((consumer) => ({
        name: consumer.tag,
        format: () => showConsumer(request, connection, channel, consumer),
      })),
    ),
  );
  return listedWhole(rows, request.query);
}

/** Consumers of one queue. */
export function consumersOf(request: ApiRequest, vhost: string, queue: object): object[] {
  const found: object[] = [];
  for (const connection of request.broker.inspection.connections) {
    if (connection.vhost.name !== vhost) continue;
    for (const channel of open(connection)) {
      for (const consumer of channel.consumers.values())
        if (consumer.queue === queue) found.push(showConsumer(request, connection, channel, consumer));
    }
  }
  return found;
}

export function showConsumer(
  request: ApiRequest,
  connection: ConnectionView,
  channel: ChannelView,
  consumer: ConsumerView,
): object {
  return {
    arguments: jsonOf(consumer.arguments),
    ack_required: !consumer.noAck,
    active: consumer.isActive,
    activity_status: activity(consumer),
    channel_details: channelDetails(request, connection, channel),
    consumer_tag: consumer.tag,
    exclusive: consumer.exclusive,
    prefetch_count: consumer.prefetch,
    queue: { name: consumer.queue.name, vhost: connection.vhost.name },
  };
}

/** In RabbitMQ's words, which has special ones for queues with a single active consumer. */
function activity({ isActive, queue }: ConsumerView): string {
  if (!isActive) return "waiting";
  return queue.settings.singleActiveConsumer ? "single_active" : "up";
}

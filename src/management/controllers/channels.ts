import type { ChannelView, ConnectionView } from "../../broker/index.ts";
import type { ApiRequest } from "../api-request.ts";
import { channelCounters } from "../counters.ts";
import { nothingThere } from "../http-error.ts";
import { columnsOf, listed, type Row } from "../lists.ts";
import { messageStats } from "../message-stats.ts";
import type { Resource } from "../resource.ts";
import { visible } from "./connections.ts";
import { showConsumer } from "./consumers.ts";

export const channels: readonly Resource[] = [
  {
    path: "/channels",
    access: "user",
    methods: { GET: (request) => listed(channelRows(request, visible(request)), request.query) },
  },
  {
    path: "/vhosts/:vhost/channels",
    access: "vhost",
    methods: { GET: (request) => listed(channelRows(request, visible(request)), request.query) },
  },
  { path: "/channels/:channel", access: "user", methods: { GET: showOne } },
];

export function channelRows(request: ApiRequest, connections: readonly ConnectionView[]): Row[] {
  return connections.flatMap((connection) =>
    open(connection).map((channel) => ({
      vhost: connection.vhost.name,
      name: channelName(connection, channel),
      format: () => show(request, connection, channel),
    })),
  );
}

/** Those that are not being closed. */
export function open({ allChannels }: ConnectionView): ChannelView[] {
  return [...allChannels].filter(({ closing }) => !closing);
}

function channelName({ name }: ConnectionView, { id }: ChannelView): string {
  return `${name} (${id})`;
}

function showOne(request: ApiRequest): object {
  const [, connectionName, number] = /^(.*) \((\d+)\)$/.exec(request.parameter("channel")) ?? [];
  for (const connection of request.broker.inspection.connections) {
    if (connection.name !== connectionName) continue;
    const channel = open(connection).find(({ id }) => id === Number(number));
    if (!channel) break;
    request.assertMayTouch(connection.user, false);
    const consumers = [...channel.consumers.values()];
    const shown = {
      ...show(request, connection, channel),
      consumer_details: consumers.map((consumer) => showConsumer(request, connection, channel, consumer)),
    };
    return columnsOf(shown, request.query);
  }
  throw nothingThere();
}

function show({ rates, node }: ApiRequest, connection: ConnectionView, channel: ChannelView): object {
  const { publisher, transaction } = channel;
  const { peer, user } = connection;
  return {
    acks_uncommitted: transaction?.settlements.length ?? 0,
    confirm: publisher.isConfirming,
    connection_details: { name: connection.name, peer_host: peer.address, peer_port: peer.port },
    consumer_count: channel.consumers.size,
    global_prefetch_count: channel.prefetch,
    ...messageStats(rates, channel, channelCounters(channel)),
    messages_unacknowledged: channel.unacked.count,
    messages_uncommitted: transaction?.publishes.length ?? 0,
    messages_unconfirmed: publisher.unconfirmedCount,
    name: channelName(connection, channel),
    node: node.name,
    number: channel.id,
    prefetch_count: channel.consumerPrefetch,
    state: "running",
    transactional: transaction !== null,
    user,
    user_who_performed_action: user,
    vhost: connection.vhost.name,
  };
}

/** What other objects say of a channel. */
export function channelDetails(
  { node }: ApiRequest,
  connection: ConnectionView,
  channel: ChannelView,
): object {
  return {
    connection_name: connection.name,
    name: channelName(connection, channel),
    node: node.name,
    number: channel.id,
    peer_host: connection.peer.address,
    peer_port: connection.peer.port,
    user: connection.user,
  };
}

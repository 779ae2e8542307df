import type { VirtualHostView } from "../../broker/index.ts";
import type { ApiRequest } from "../api-request.ts";
import { vhostTotals } from "../counters.ts";
import { columnsOf } from "../lists.ts";
import { depthOf, messageStatsOf, type Detailed } from "../message-stats.ts";
import { summed } from "../rates.ts";
import type { Resource } from "../resource.ts";

export const overview: readonly Resource[] = [
  {
    path: "/overview",
    access: "user",
    methods: { GET: (request) => columnsOf(show(request), request.query) },
  },
  { path: "/cluster-name", access: "user", methods: { GET: ({ node }) => ({ name: node.name }) } },
  {
    path: "/whoami",
    access: "user",
    methods: { GET: ({ user }) => ({ name: user.name, tags: user.tags }) },
  },
];

export const exchangeTypes: readonly object[] = ["direct", "fanout", "headers", "topic"].map((name) => ({
  name,
  description: `AMQP ${name} exchange, as per the AMQP specification`,
  enabled: true,
}));

function show(request: ApiRequest): object {
  const { node, isMonitor } = request;
  const { name, version, rabbitmqVersion } = node;
  return {
    management_version: rabbitmqVersion,
    rates_mode: "basic",
    exchange_types: exchangeTypes,
    product_version: version,
    product_name: "Warren",
    rabbitmq_version: rabbitmqVersion,
    cluster_name: name,
    disable_stats: false,
    enable_queue_totals: false,
    ...totals(request),
    statistics_db_event_queue: 0,
    ...(isMonitor && { node: name, listeners: listeners(request), contexts: contexts(request) }),
  };
}

/** Over the virtual hosts that the user is shown. */
function totals(request: ApiRequest): object {
  const { broker, rates, isMonitor } = request;
  const { inspection } = broker;
  const vhosts = isMonitor ? inspection.vhosts : request.listedVhosts;
  const all = summed(vhosts.map((vhost) => rates.of(vhost, vhostTotals(vhost, inspection.connections))));
  return {
    message_stats: messageStatsOf(all).message_stats ?? {},
    churn_rates: churnRates(request),
    queue_totals: vhosts.some(({ queueCount }) => queueCount > 0) ? depthOf(all) : {},
    object_totals: objectTotals(request, vhosts),
  };
}

export function churnRates({ broker, rates }: ApiRequest): Detailed {
  const { churn } = broker.inspection;
  return rates.of(churn, {
    channel_closed: churn.channelsClosed,
    channel_created: churn.channelsCreated,
    connection_closed: churn.connectionsClosed,
    connection_created: churn.connectionsCreated,
    queue_created: churn.queuesCreated,
    queue_declared: churn.queuesDeclared,
    queue_deleted: churn.queuesDeleted,
  });
}

function objectTotals({ broker, user, isMonitor }: ApiRequest, vhosts: readonly VirtualHostView[]): object {
  const connections = [...broker.inspection.connections].filter(
    (connection) => isMonitor || connection.user === user.name,
  );
  const channels = connections
    .flatMap(({ allChannels }) => [...allChannels])
    .filter(({ closing }) => !closing);
  const consumers = channels.reduce((count, channel) => count + channel.consumers.size, 0);
  return {
    channels: channels.length,
    connections: connections.length,
    ...(isMonitor && { consumers }),
    exchanges: vhosts.reduce((count, vhost) => count + vhost.exchangeCount + 1, 0),
    queues: vhosts.reduce((count, vhost) => count + vhost.queueCount, 0),
  };
}

function listeners({ node }: ApiRequest): object[] {
  const { name, amqp, http } = node;
  const listener = (protocol: string, { address, port }: typeof amqp): object => ({
    node: name,
    protocol,
    ip_address: address,
    port,
    socket_opts: [],
  });
  return [...(amqp.port > 0 ? [listener("amqp", amqp)] : []), listener("http", http)];
}

export function contexts({ node }: ApiRequest): object[] {
  const { address, port } = node.http;
  return [
    {
      node: node.name,
      description: "Management API",
      path: "/",
      ip: address,
      port: String(port),
      ssl_opts: [],
    },
  ];
}

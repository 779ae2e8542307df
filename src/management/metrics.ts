import { readdir, readFile } from "node:fs/promises";
import { Deliveries, Publishes, type ConnectionView } from "../broker/index.ts";
import type { ApiContext } from "./api-request.ts";
import type { Metric, Sample } from "./exposition.ts";

const protocol = { protocol: "amqp091" };

/** What RabbitMQ's Prometheus plugin tells of a whole broker, by its names, as far as there is such a thing here. */
export async function brokerMetrics(context: ApiContext): Promise<Metric[]> {
  return [
    ...identity(context),
    ...alarms(context),
    ...(await resources(context)),
    ...churn(context),
    ...objects(context),
    ...messages(context),
  ];
}

/** The same of each queue, exchange and connection. */
export function objectMetrics({ broker }: ApiContext): Metric[] {
  const { vhosts } = broker.inspection;
  const queues = vhosts.flatMap(({ name: vhost, allQueues }) =>
    [...allQueues].map((queue) => ({ labels: { vhost, queue: queue.name }, queue })),
  );
  const ofQueues = (read: (queue: (typeof queues)[number]["queue"]) => number): Sample[] =>
    queues.map(({ labels, queue }) => ({ labels, value: read(queue) }));
  const exchanges = vhosts.flatMap(({ name: vhost, allExchanges, defaultTraffic }) => [
    { labels: { vhost, exchange: "" }, traffic: defaultTraffic },
    ...[...allExchanges].map(({ name, traffic }) => ({ labels: { vhost, exchange: name }, traffic })),
  ]);
  const connections = [...broker.inspection.connections];
  const ofConnections = (read: (connection: ConnectionView) => number): Sample[] =>
    connections.map((connection) => ({
      labels: { connection: connection.name, vhost: connection.vhost.name },
      value: read(connection),
    }));
  return [
    gauge(
      "queue_messages_ready",
      "Messages ready to be delivered",
      ofQueues(({ readyCount }) => readyCount),
    ),
    gauge(
      "queue_messages_unacked",
      "Messages delivered and not acknowledged yet",
      ofQueues(({ unackedCount }) => unackedCount),
    ),
    gauge(
      "queue_messages",
      "Messages ready and unacknowledged",
      ofQueues(({ readyCount, unackedCount }) => readyCount + unackedCount),
    ),
    gauge(
      "queue_consumers",
      "Consumers of a queue",
      ofQueues(({ consumerCount }) => consumerCount),
    ),
    counter(
      "queue_messages_published_total",
      "Messages published to a queue",
      ofQueues(({ publishedCount }) => publishedCount),
    ),
    counter(
      "queue_messages_acked_total",
      "Messages acknowledged",
      ofQueues(({ deliveries }) => deliveries.ack),
    ),
    counter(
      "exchange_messages_published_total",
      "Messages published to an exchange",
      exchanges.map(({ labels, traffic }) => ({ labels, value: traffic.publishIn })),
    ),
    counter(
      "connection_incoming_bytes_total",
      "Bytes received on a connection",
      ofConnections(({ receivedBytes }) => receivedBytes),
    ),
    counter(
      "connection_outgoing_bytes_total",
      "Bytes sent on a connection",
      ofConnections(({ sentBytes }) => sentBytes),
    ),
    gauge(
      "connection_channels",
      "Channels on a connection",
      ofConnections(({ channelCount }) => channelCount),
    ),
  ];
}

function identity({ node: { name, version, rabbitmqVersion } }: ApiContext): Metric[] {
  const build = { rabbitmq_version: rabbitmqVersion, product_name: "Warren", product_version: version };
  const node = { rabbitmq_node: name, rabbitmq_cluster: name, rabbitmq_cluster_permanent_id: name };
  return [
    {
      name: "rabbitmq_build_info",
      type: "untyped",
      help: "Versions",
      samples: [{ labels: build, value: 1 }],
    },
    {
      name: "rabbitmq_identity_info",
      type: "untyped",
      help: "Node and cluster",
      samples: [{ labels: node, value: 1 }],
    },
  ];
}

function alarms({ broker }: ApiContext): Metric[] {
  const raised = broker.usage().alarms;
  return [
    one("alarms_free_disk_space_watermark", "1 while the disk is short", Number(raised.includes("disk"))),
    one("alarms_memory_used_watermark", "1 while memory is short", Number(raised.includes("memory"))),
  ];
}

async function resources({ broker }: ApiContext): Promise<Metric[]> {
  const { inspection } = broker;
  const freeDiskBytes = await inspection.freeDiskBytes();
  const files = await openFiles();
  return [
    one("process_resident_memory_bytes", "Memory used, in bytes", process.memoryUsage.rss()),
    one(
      "resident_memory_limit_bytes",
      "Memory that messages may take, in bytes",
      inspection.memoryLimitBytes,
    ),
    one(
      "disk_space_available_limit_bytes",
      "What must be free on the disk, in bytes",
      inspection.diskFreeLimitBytes,
    ),
    ...(freeDiskBytes === undefined
      ? []
      : [one("disk_space_available_bytes", "Free on the disk, in bytes", freeDiskBytes)]),
    one("process_open_tcp_sockets", "Connections", broker.usage().connections),
    ...(files === undefined
      ? []
      : [
          one("process_open_fds", "Open file descriptors", files.open),
          one("process_max_fds", "Most file descriptors", files.most),
          one("process_max_tcp_sockets", "Most sockets", files.most),
        ]),
  ];
}

/** Undefined where the system does not say. */
async function openFiles(): Promise<{ open: number; most: number } | undefined> {
  try {
    const [open, limits] = await Promise.all([
      readdir("/proc/self/fd"),
      readFile("/proc/self/limits", "utf8"),
    ]);
    return { open: open.length, most: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.NaN) };
  } catch {
    return undefined;
  }
}

function churn({ broker }: ApiContext): Metric[] {
  const { churn: counts } = broker.inspection;
  return [
    total("connections_opened_total", "Connections opened", counts.connectionsCreated),
    total("connections_closed_total", "Connections closed", counts.connectionsClosed),
    total("channels_opened_total", "Channels opened", counts.channelsCreated),
    total("channels_closed_total", "Channels closed", counts.channelsClosed),
    total("queues_declared_total", "Queues declared", counts.queuesDeclared),
    total("queues_created_total", "Queues created", counts.queuesCreated),
    total("queues_deleted_total", "Queues deleted", counts.queuesDeleted),
  ];
}

function objects({ broker }: ApiContext): Metric[] {
  const { vhosts, connections } = broker.inspection;
  const open = [...connections];
  const channels = open.flatMap(({ allChannels }) => [...allChannels]).filter(({ closing }) => !closing);
  const consumers = channels.reduce((count, channel) => count + channel.consumers.size, 0);
  const publishers = channels.filter(({ publisher }) => publisher.counts.publish > 0).length;
  let ready = 0;
  let unacked = 0;
  let queues = 0;
  let published = 0;
  for (const { allQueues, queueCount } of vhosts) {
    queues += queueCount;
    for (const queue of allQueues) {
      ready += queue.readyCount;
      unacked += queue.unackedCount;
      published += queue.publishedCount;
    }
  }
  return [
    one("connections", "Connections open", open.length),
    one("channels", "Channels open", channels.length),
    one("consumers", "Consumers", consumers),
    one("queues", "Queues", queues),
    gauge("global_consumers", "Consumers", [{ labels: protocol, value: consumers }]),
    gauge("global_publishers", "Channels that have published", [{ labels: protocol, value: publishers }]),
    one("queue_messages_ready", "Messages ready to be delivered", ready),
    one("queue_messages_unacked", "Messages delivered and not acknowledged yet", unacked),
    one("queue_messages", "Messages ready and unacknowledged", ready + unacked),
    one("queue_consumers", "Consumers of queues", consumers),
    total("queue_messages_published_total", "Messages published to queues that there are", published),
  ];
}

/** Since the start, those of what is gone too: a counter never falls. */
function messages({ broker }: ApiContext): Metric[] {
  const { vhosts, connections } = broker.inspection;
  const publishes = new Publishes();
  const deliveries = { classic: new Deliveries(), quorum: new Deliveries() };
  for (const vhost of vhosts) {
    publishes.add(vhost.past.publishes);
    deliveries.classic.add(vhost.past.deliveries.classic);
    deliveries.quorum.add(vhost.past.deliveries.quorum);
    for (const queue of vhost.allQueues) deliveries[queue.settings.type].add(queue.deliveries);
  }
  for (const { allChannels } of connections)
    for (const { publisher } of allChannels) publishes.add(publisher.counts);
  const published = (name: string, help: string, value: number): Metric =>
    counter(`global_messages_${name}_total`, help, [{ labels: protocol, value }]);
  const delivered = (name: string, help: string, read: (counts: Deliveries) => number): Metric =>
    counter(
      `global_messages_${name}_total`,
      help,
      (["classic", "quorum"] as const).map((type) => ({
        labels: { ...protocol, queue_type: `rabbit_${type}_queue` },
        value: read(deliveries[type]),
      })),
    );
  return [
    published("received", "Messages received from publishers", publishes.publish),
    published("confirmed", "Messages confirmed to publishers", publishes.confirm),
    published("routed", "Messages routed to queues", publishes.routed),
    published("unroutable_dropped", "Messages that went nowhere and were dropped", publishes.dropUnroutable),
    published(
      "unroutable_returned",
      "Messages that went nowhere and were returned",
      publishes.returnUnroutable,
    ),
    delivered(
      "delivered",
      "Messages delivered to consumers or got",
      ({ deliver, deliverNoAck, get, getNoAck }) => deliver + deliverNoAck + get + getNoAck,
    ),
    delivered("delivered_consume_manual_ack", "Delivered, to be acknowledged", ({ deliver }) => deliver),
    delivered(
      "delivered_consume_auto_ack",
      "Delivered, not to be acknowledged",
      (counts) => counts.deliverNoAck,
    ),
    delivered("delivered_get_manual_ack", "Got, to be acknowledged", ({ get }) => get),
    delivered("delivered_get_auto_ack", "Got, not to be acknowledged", ({ getNoAck }) => getNoAck),
    delivered("get_empty", "Times that there was nothing to get", ({ getEmpty }) => getEmpty),
    delivered("redelivered", "Messages delivered again", ({ redeliver }) => redeliver),
    delivered("acknowledged", "Messages acknowledged", ({ ack }) => ack),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name: `rabbitmq_${name}`, type: "gauge", help, samples };
}

function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name: `rabbitmq_${name}`, type: "counter", help, samples };
}

function one(name: string, help: string, value: number): Metric {
  return gauge(name, help, [{ value }]);
}

function total(name: string, help: string, value: number): Metric {
  return counter(name, help, [{ value }]);
}

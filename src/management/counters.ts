import {
  Deliveries,
  Publishes,
  type ChannelView,
  type ConnectionView,
  type ExchangeTraffic,
  type QueueView,
  type VirtualHostView,
} from "../broker/index.ts";

/** By RabbitMQ's names. */
export type Counters = Readonly<Record<string, number>>;

function deliveryCounters(deliveries: Readonly<Deliveries>): Counters {
  const { ack, deliver, deliverNoAck, get, getNoAck, getEmpty, redeliver } = deliveries;
  return {
    ack,
    deliver,
    deliver_get: deliver + deliverNoAck + get + getNoAck,
    deliver_no_ack: deliverNoAck,
    get,
    get_empty: getEmpty,
    get_no_ack: getNoAck,
    redeliver,
  };
}

function publishCounters(publishes: Readonly<Publishes>): Counters {
  const { publish, confirm, returnUnroutable, dropUnroutable } = publishes;
  return {
    publish,
    confirm,
    return_unroutable: returnUnroutable,
    drop_unroutable: dropUnroutable,
  };
}

export function exchangeCounters({ publishIn, publishOut }: Readonly<ExchangeTraffic>): Counters {
  return { publish_in: publishIn, publish_out: publishOut };
}

/** Messages in queues: they come and go. */
function depthCounters(ready: number, unacknowledged: number): Counters {
  return {
    messages: ready + unacknowledged,
    messages_ready: ready,
    messages_unacknowledged: unacknowledged,
  };
}

export function queueCounters(queue: QueueView): Counters {
  const { readyCount, unackedCount, publishedCount, deliveries } = queue;
  return {
    ...depthCounters(readyCount, unackedCount),
    publish: publishedCount,
    ...deliveryCounters(deliveries),
  };
}

export function channelCounters({ publisher, deliveries }: ChannelView): Counters {
  return { ...publishCounters(publisher.counts), ...deliveryCounters(deliveries) };
}

export function connectionCounters({ receivedBytes, sentBytes }: ConnectionView): Counters {
  return { recv_oct: receivedBytes, send_oct: sentBytes };
}

/** All that has happened in a virtual host since the broker started, and what is in its queues. */
export function vhostTotals(vhost: VirtualHostView, connections: Iterable<ConnectionView>): Counters {
  const { past } = vhost;
  const deliveries = new Deliveries();
  const publishes = new Publishes();
  deliveries.add(past.deliveries.classic);
  deliveries.add(past.deliveries.quorum);
  publishes.add(past.publishes);
  let { receivedBytes, sentBytes } = past;
  let ready = 0;
  let unacknowledged = 0;
  for (const queue of vhost.allQueues) {
    ready += queue.readyCount;
    unacknowledged += queue.unackedCount;
    deliveries.add(queue.deliveries);
  }
  for (const connection of connections) {
    if (connection.vhost.name !== vhost.name) continue;
    receivedBytes += connection.receivedBytes;
    sentBytes += connection.sentBytes;
    for (const { publisher } of connection.allChannels) publishes.add(publisher.counts);
  }
  return {
    ...depthCounters(ready, unacknowledged),
    ...publishCounters(publishes),
    ...deliveryCounters(deliveries),
    recv_oct: receivedBytes,
    send_oct: sentBytes,
  };
}

/**
 * What is counted: plain numbers in fields, without times; whoever wants rates takes samples. On the hottest paths, publishing to
 * plain queues and delivering, a publisher and a consumer each count one number of their own (`run`, `delivered`), which is
 * added here when somebody looks or they go: six additions for each message cost T16 several per cent.
 */

/** Messages that left a queue, or went over a channel, as RabbitMQ counts them in `message_stats`. */
export class Deliveries {
  /** To consumers that acknowledge. */
  deliver = 0;
  deliverNoAck = 0;
  /** Taken by basic.get. */
  get = 0;
  getNoAck = 0;
  /** A basic.get found nothing. */
  getEmpty = 0;
  /** Of all these, such as had been delivered before. */
  redeliver = 0;
  ack = 0;

  add(other: Readonly<Deliveries>): void {
    this.deliver += other.deliver;
    this.deliverNoAck += other.deliverNoAck;
    this.get += other.get;
    this.getNoAck += other.getNoAck;
    this.getEmpty += other.getEmpty;
    this.redeliver += other.redeliver;
    this.ack += other.ack;
  }

  /** A basic.get took a message. */
  got(isRedelivered: boolean, noAck: boolean): void {
    if (noAck) this.getNoAck++;
    else this.get++;
    if (isRedelivered) this.redeliver++;
  }
}

/** What a channel has published. */
export class Publishes {
  publish = 0;
  confirm = 0;
  /** Nowhere to go, and returned since they were mandatory. */
  returnUnroutable = 0;
  /** Nowhere to go, and dropped. */
  dropUnroutable = 0;
  /** The queues that messages went to, each counted. */
  routed = 0;

  add(other: Readonly<Publishes>): void {
    this.publish += other.publish;
    this.confirm += other.confirm;
    this.returnUnroutable += other.returnUnroutable;
    this.dropUnroutable += other.dropUnroutable;
    this.routed += other.routed;
  }
}

/** Messages published to an exchange, and the queues that they went to, each counted. */
export class ExchangeTraffic {
  publishIn = 0;
  publishOut = 0;
}

/** What went over channels and connections of a virtual host, and what left its queues, that are gone. */
export class PastTraffic {
  /** By the type of queue. */
  readonly deliveries: { readonly classic: Deliveries; readonly quorum: Deliveries } = {
    classic: new Deliveries(),
    quorum: new Deliveries(),
  };
  readonly publishes: Publishes = new Publishes();
  receivedBytes = 0;
  sentBytes = 0;
}

/** What has come and gone since the broker started. */
export class Churn {
  connectionsCreated = 0;
  connectionsClosed = 0;
  channelsCreated = 0;
  channelsClosed = 0;
  queuesCreated = 0;
  queuesDeclared = 0;
  queuesDeleted = 0;
}

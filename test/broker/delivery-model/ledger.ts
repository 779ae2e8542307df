/**
 * What was published and where it is, as far as the clients can know. They see a message's fate late and each at its own
 * time: one may read a redelivery before another reads the delivery that came first. What cannot be judged when it
 * arrives is judged at rest, when everything has been read.
 */
import { readBody, writeBody } from "./body.ts";

/** A queue from its declaration to its deletion; the name may live again. */
export interface QueueLife {
  readonly name: string;
  /** Ready messages that queue.purge dropped. Which ones, nobody says. */
  purged: number;
  deleted: boolean;
  /** Deleted, and what was on its way to clients at that time has arrived. */
  forgotten: boolean;
}

/** Messages are numbered in the order in which they are published. */
export interface Message {
  readonly number: number;
  readonly queue: QueueLife;
  settled: boolean;
  /** The delivery that waits for an acknowledgement. */
  holder: Holder | null;
  firstDeliveries: number;
  redeliveries: number;
  /** It may have been sent to a client that went away without reading it. */
  perhapsSentUnread: boolean;
}

export interface Holder {
  readonly message: Message;
  /** The channel is closed or recovered: the broker may have taken its deliveries back already. */
  readonly channel: { readonly givingBack: boolean };
}

/** A connection that reads. */
export interface Reader {
  /** It is about to go, and the broker takes back what it holds. */
  leaving: boolean;
  /** The queues it reads from, with the number of the message that came last of those that came for the first time. */
  readonly queues: Map<QueueLife, number>;
}

export class Ledger {
  /** What the broker did wrong. */
  readonly findings: string[] = [];
  readonly messages: Message[] = [];
  /** Counts deliveries of all kinds, so that anybody can tell whether something moved. */
  arrivals = 0;
  private readonly lives = new Map<string, QueueLife>();

  get queues(): QueueLife[] {
    return [...this.lives.values()];
  }

  find(what: string): void {
    this.findings.push(what);
  }

  declared(name: string): QueueLife {
    const queue = { name, purged: 0, deleted: false, forgotten: false };
    this.lives.set(name, queue);
    return queue;
  }

  /** Gives the body to publish. */
  published(queue: QueueLife, sizeBytes: number): Buffer {
    const number = this.messages.length;
    this.messages.push({
      number,
      queue,
      settled: false,
      holder: null,
      firstDeliveries: 0,
      redeliveries: 0,
      perhapsSentUnread: false,
    });
    return writeBody(number, sizeBytes);
  }

  /** The reader asks for messages of the queue. */
  reads({ queues }: Reader, queue: QueueLife): void {
    if (!queues.has(queue)) queues.set(queue, -1);
  }

  /** A client has read a message. */
  arrived(body: Buffer, redelivered: boolean, reader: Reader, where: string): Message | undefined {
    this.arrivals++;
    const number = readBody(body);
    const message = number === undefined ? undefined : this.messages[number];
    if (!message) {
      this.find(`${where} received ${body.length} bytes that nobody published`);
      return undefined;
    }
    if (redelivered) message.redeliveries++;
    else this.arrivedFirst(message, reader, where);
    if (message.queue.forgotten) this.blame(message, `came to ${where} after its queue was deleted`);
    return message;
  }

  held(holder: Holder, where: string): void {
    this.assertFree(holder.message, where);
    holder.message.holder = holder;
  }

  /** Acknowledged, rejected without requeue, or delivered to where no acknowledgement is needed. */
  settled(message: Message): void {
    message.settled = true;
    message.holder = null;
  }

  settledByDelivery(message: Message, where: string): void {
    this.assertFree(message, where);
    this.settled(message);
  }

  /** The broker has it again. A delivery that it gave to another client meanwhile holds on. */
  givenBack(holder: Holder): void {
    if (holder.message.holder === holder) holder.message.holder = null;
  }

  /** A client is gone, and what it had not read with it. */
  readerLost({ queues }: Reader): void {
    for (const message of this.messages) {
      if (queues.has(message.queue)) message.perhapsSentUnread = true;
    }
  }

  /** How many messages the queue must have ready when nothing is on its way. */
  readyCount(queue: QueueLife): number {
    let count = -queue.purged;
    for (const message of this.messages) {
      if (message.queue === queue && !message.settled && message.holder === null) count++;
    }
    return count;
  }

  heldCount(): number {
    return this.messages.filter((message) => message.holder !== null).length;
  }

  /** Everything has been read: judges what had to wait for that. */
  atRest(): void {
    for (const message of this.messages) {
      const { firstDeliveries, redeliveries, perhapsSentUnread, queue } = message;
      if (redeliveries > 0 && firstDeliveries === 0 && !perhapsSentUnread) {
        this.blame(message, "was marked as redelivered at its first delivery");
      }
      if (queue.deleted) queue.forgotten = true;
    }
  }

  /** A queue delivers for the first time in the order of publishing, and a connection brings it all in one order. */
  private arrivedFirst(message: Message, { queues }: Reader, where: string): void {
    message.firstDeliveries++;
    if (message.firstDeliveries > 1) this.blame(message, `came to ${where} again without redelivered`);
    const last = queues.get(message.queue) ?? -1;
    if (message.number < last) this.blame(message, `came to ${where} behind message ${last}`);
    queues.set(message.queue, message.number);
  }

  private assertFree(message: Message, where: string): void {
    if (message.settled) this.blame(message, `came to ${where} after it was settled`);
    else if (message.holder && !message.holder.channel.givingBack) {
      this.blame(message, `came to ${where} while another delivery of it waits for its acknowledgement`);
    }
  }

  private blame(message: Message, what: string): void {
    this.find(`message ${message.number} of queue ${message.queue.name} ${what}`);
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Channel } from "../../../client/index.ts";
import type { Browser, Delivery, OutgoingMessage } from "../../transport.ts";
import { publicationOf } from "./mapping.ts";
import { AmqpDelivery } from "./recovering-consumer.ts";

/** What a browser needs of its transport, beside a channel of its own. */
export interface BrowserBackend {
  /** The channel is in tx mode, and the broker does not tear a transaction apart. */
  readonly isAtomic: boolean;
  /** With a confirm. */
  publish(message: OutgoingMessage): Promise<void>;
  /** Ready messages. */
  count(queue: string): Promise<number>;
}

const lookAgainMs = 25;
const mostLooks = 20;

export class AmqpBrowser implements Browser {
  private readonly channel: Channel;
  private readonly queue: string;
  private readonly backend: BrowserBackend;
  private held = 0;

  constructor(channel: Channel, queue: string, backend: BrowserBackend) {
    this.channel = channel;
    this.queue = queue;
    this.backend = backend;
  }

  async next(): Promise<Delivery | undefined> {
    const message = await this.channel.basicGet(this.queue);
    if (message === undefined) return undefined;
    this.held++;
    return new AmqpDelivery(this.channel, message);
  }

  async move(delivery: Delivery, message: OutgoingMessage): Promise<void> {
    if (this.backend.isAtomic) this.channel.basicPublish(publicationOf(message));
    else await this.backend.publish(message);
    await this.remove(delivery);
  }

  async remove(delivery: Delivery): Promise<void> {
    delivery.ack();
    this.held--;
    if (this.backend.isAtomic) await this.channel.txCommit();
  }

  /** Closing the channel puts back what is not settled, in order. */
  async close(): Promise<void> {
    await this.channel.close();
    // A RabbitMQ quorum queue does that some time later: whoever looks next must not find it empty.
    for (let looks = 0; this.held > 0 && looks < mostLooks; looks++) {
      if ((await this.backend.count(this.queue)) >= this.held) return;
      await sleep(lookAgainMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

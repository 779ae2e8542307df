import type { Channel } from "../../../client/index.ts";

/** How a broker holds messages until they are due. */
export interface Delays {
  /** Makes the queue reachable for delayed messages. */
  prepareQueue(channel: Channel, queue: string): Promise<void>;
  /** Makes what a delay of this length needs. */
  prepareDelay(channel: Channel, delayMs: number): Promise<void>;
  /** What was made may be gone. */
  forget(): void;
  /** Where a message must be published to be in the queue when so long has passed. */
  route(queue: string, delayMs: number): DelayRoute;
}

export interface DelayRoute {
  readonly exchange: string;
  readonly routingKey: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  /** A message's own expiration would run while it waits. */
  readonly losesExpiration: boolean;
}

/** Warren's own: an exchange of type `x-delayed-message`. */
export class DelayedExchange implements Delays {
  private readonly exchange = "warren.delayed";

  async prepareQueue(channel: Channel, queue: string): Promise<void> {
    const { exchange } = this;
    await channel.exchangeDeclare({
      exchange,
      type: "x-delayed-message",
      durable: true,
      arguments: { "x-delayed-type": "direct" },
    });
    await channel.queueBind({ exchange, queue, routingKey: queue });
  }

  async prepareDelay(): Promise<void> {}

  forget(): void {}

  route(queue: string, delayMs: number): DelayRoute {
    return {
      exchange: this.exchange,
      routingKey: queue,
      headers: { "x-delay": Math.ceil(delayMs) },
      losesExpiration: false,
    };
  }
}

const levelMs = 100;
const levels = 28;
/** Some 310 days. */
const longestDelayMs = (2 ** levels - 1) * levelMs;

/**
 * A ladder of wait queues for a RabbitMQ without plugins. Queue n holds what enters it for 2ⁿ × 100 ms and dead-letters it
 * to the exchange of the level below. The routing key spells the delay in binary, a word for each level, the highest first,
 * and the queue's name behind; each level's exchange sends a 1 to its queue and a 0 straight on. So a message passes one
 * queue for each 1: never too early, and late by less than 100 ms and a hop per level.
 * https://docs.particular.net/transports/rabbitmq/delayed-delivery has the same idea.
 */
export class DelayLadder implements Delays {
  private readonly prefix: string;
  private readonly isQuorum: boolean;
  private preparedLevels = 0;
  private isDuePrepared = false;

  constructor(isQuorum: boolean) {
    this.isQuorum = isQuorum;
    // The two kinds of queue cannot share names.
    this.prefix = isQuorum ? "warren.delay.quorum" : "warren.delay";
  }

  async prepareQueue(channel: Channel, queue: string): Promise<void> {
    await this.prepareDue(channel);
    await channel.queueBind({ exchange: this.due, queue, routingKey: `${"*.".repeat(levels)}${queue}` });
  }

  forget(): void {
    this.preparedLevels = 0;
    this.isDuePrepared = false;
  }

  async prepareDelay(channel: Channel, delayMs: number): Promise<void> {
    const needed = unitsOf(delayMs).toString(2).length;
    if (needed <= this.preparedLevels) return;
    await this.prepareDue(channel);
    for (let level = this.preparedLevels; level < needed; level++) await this.prepareLevel(channel, level);
    this.preparedLevels = Math.max(this.preparedLevels, needed);
  }

  route(queue: string, delayMs: number): DelayRoute {
    const bits = unitsOf(delayMs).toString(2);
    const words = bits.padStart(levels, "0").split("").join(".");
    return { exchange: this.name(bits.length - 1), routingKey: `${words}.${queue}`, losesExpiration: true };
  }

  private get due(): string {
    return `${this.prefix}.due`;
  }

  private name(level: number): string {
    return level < 0 ? this.due : `${this.prefix}.${level}`;
  }

  private async prepareDue(channel: Channel): Promise<void> {
    if (this.isDuePrepared) return;
    await channel.exchangeDeclare({ exchange: this.due, type: "topic", durable: true });
    this.isDuePrepared = true;
  }

  private async prepareLevel(channel: Channel, level: number): Promise<void> {
    const [name, below] = [this.name(level), this.name(level - 1)];
    await channel.exchangeDeclare({ exchange: name, type: "topic", durable: true });
    await channel.queueDeclare({
      queue: name,
      durable: true,
      arguments: {
        "x-message-ttl": levelMs * 2 ** level,
        "x-dead-letter-exchange": below,
        // A quorum queue hands over safely; a classic one may lose or double what its node's crash interrupts.
        ...(this.isQuorum && {
          "x-queue-type": "quorum",
          "x-dead-letter-strategy": "at-least-once",
          "x-overflow": "reject-publish",
        }),
      },
    });
    const above = "*.".repeat(levels - 1 - level);
    await channel.queueBind({ exchange: name, queue: name, routingKey: `${above}1.#` });
    await channel.exchangeBind({ source: name, destination: below, routingKey: `${above}0.#` });
  }
}

/** Names of the ladder's queues in x-death: a message that waited there has not died. */
export function isWaitQueue(queue: string): boolean {
  return /^warren\.delay\.(quorum\.)?\d+$/.test(queue);
}

function unitsOf(delayMs: number): number {
  if (delayMs <= longestDelayMs) return Math.max(1, Math.ceil(delayMs / levelMs));
  throw new RangeError(`a delay of ${delayMs} ms is longer than this broker can hold: ${longestDelayMs} ms`);
}

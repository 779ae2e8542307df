/**
 * What one client does to a broker and all that it sees, as a transcript: run against two brokers, the transcripts must be
 * the same. Names, times and generated identifiers, which differ from run to run, are replaced by what they stand for.
 */
import {
  ByteReader,
  emptyTable,
  MethodId,
  readProperties,
  type BasicProperties,
  type FieldTable,
  type FieldValue,
  type Method,
} from "../../src/wire/index.ts";
import * as methods from "../support/methods.ts";
import { RawClient, type LoginOptions, type MethodOf } from "../support/raw-client.ts";

export type Arguments = Readonly<Record<string, FieldValue | string | number | boolean>>;

export interface PublishOptions extends BasicProperties {
  mandatory?: boolean;
  channel?: number;
}

/** One of a channel's answers that is not the reply to a call. */
interface Waiting<T> {
  readonly items: T[];
  readonly takers: ((item: T) => void)[];
}

export interface Delivery {
  readonly tag: bigint;
  readonly channel: number;
  readonly shown: unknown;
}

const answerTimeoutMs = 10_000;

/** A client of one broker. Its names are its own: `name("q")` is a queue that no other session has. */
export class Session implements AsyncDisposable {
  readonly transcript: unknown[] = [];
  private readonly port: number;
  private readonly prefix: string;
  private client!: RawClient;
  private isClosed = false;
  private readonly cancelled: Waiting<string> = { items: [], takers: [] };
  private readonly replies: Waiting<Method | "connection ended"> = { items: [], takers: [] };
  private readonly deliveries = new Map<number, Waiting<Delivery>>();
  private readonly confirms = new Map<number, Map<number, (outcome: string) => void>>();
  private readonly published = new Map<number, number>();
  private readonly openChannels = new Set<number>();
  private readonly queues = new Set<string>();
  private readonly exchanges = new Set<string>();
  private generated = 0;
  private readonly generatedNames = new Map<string, string>();
  private returned: unknown[] = [];
  /** Of the message seen last. */
  lastReplyTo: string | undefined;

  private constructor(port: number, prefix: string) {
    this.port = port;
    this.prefix = prefix;
  }

  static async open(port: number, prefix: string, options: LoginOptions = {}): Promise<Session> {
    const session = new Session(port, prefix);
    await session.connect(options);
    return session;
  }

  /** Another client with the same names, which writes into the same transcript. */
  async another(options: LoginOptions = {}): Promise<Session> {
    const session = new Session(this.port, this.prefix);
    (session as { transcript: unknown[] }).transcript = this.transcript;
    await session.connect(options);
    return session;
  }

  name(name: string): string {
    return name === "" || name.startsWith("amq.") ? name : this.prefix + name;
  }

  note(what: string, seen: unknown): void {
    this.transcript.push([what, seen]);
  }

  async declare(
    queue: string,
    table: Arguments = {},
    options: Partial<MethodOf<typeof MethodId.QueueDeclare>> = {},
  ): Promise<string> {
    const method = methods.declareQueue(this.name(queue), { arguments: toTable(this, table), ...options });
    const reply = await this.call(method, MethodId.QueueDeclareOk);
    if (typeof reply !== "string") {
      this.queues.add(reply.queue);
      this.note(`declare ${queue}`, [this.shownText(reply.queue), reply.messageCount, reply.consumerCount]);
      return reply.queue;
    }
    this.note(`declare ${queue}`, reply);
    return "";
  }

  async declareExchange(
    exchange: string,
    type: string,
    table: Arguments = {},
    options: Partial<MethodOf<typeof MethodId.ExchangeDeclare>> = {},
  ): Promise<void> {
    const name = this.name(exchange);
    this.exchanges.add(name);
    const method = methods.declareExchange(name, type, { arguments: toTable(this, table), ...options });
    await this.noted(`exchange ${exchange}`, method, MethodId.ExchangeDeclareOk);
  }

  async bind(queue: string, exchange: string, routingKey: string, table: Arguments = {}): Promise<void> {
    const method = methods.bindQueue(this.name(queue), this.name(exchange), routingKey, toTable(this, table));
    await this.noted(`bind ${queue}`, method, MethodId.QueueBindOk);
  }

  async bindExchange(destination: string, source: string, routingKey: string): Promise<void> {
    const method: Method = {
      id: MethodId.ExchangeBind,
      destination: this.name(destination),
      source: this.name(source),
      routingKey,
      noWait: false,
      arguments: emptyTable,
    };
    await this.noted(`bind exchange ${destination}`, method, MethodId.ExchangeBindOk);
  }

  async delete(queue: string): Promise<void> {
    const method: Method = {
      id: MethodId.QueueDelete,
      queue: this.name(queue),
      ifUnused: false,
      ifEmpty: false,
      noWait: false,
    };
    const reply = await this.call(method, MethodId.QueueDeleteOk);
    this.note(`delete ${queue}`, typeof reply === "string" ? reply : reply.messageCount);
  }

  async purge(queue: string): Promise<void> {
    const reply = await this.call(
      { id: MethodId.QueuePurge, queue: this.name(queue), noWait: false },
      MethodId.QueuePurgeOk,
    );
    this.note(`purge ${queue}`, typeof reply === "string" ? reply : reply.messageCount);
  }

  /** Publishes with a confirm, and notes what became of it: ack or nack, and what was returned before. */
  async publish(
    exchange: string,
    routingKey: string,
    body: string,
    options: PublishOptions = {},
  ): Promise<void> {
    const { mandatory = false, channel = 9, ...properties } = options;
    await this.confirming(channel);
    const number = (this.published.get(channel) ?? 0) + 1;
    this.published.set(channel, number);
    const outcome = new Promise<string>((resolve) => this.confirms.get(channel)!.set(number, resolve));
    const key = exchange === "" && !routingKey.startsWith("amq.") ? this.name(routingKey) : routingKey;
    this.client.publish(channel, this.name(exchange), key, body, {
      mandatory,
      properties: { ...properties, ...(properties.headers && { headers: properties.headers }) },
    });
    const seen = await within(outcome, `a confirm of ${body}`);
    if (seen !== "ack" || this.returned.length > 0) this.note(`publish ${body}`, [...this.returned, seen]);
    this.returned = [];
  }

  /** All that basic.get gives, message by message, without acknowledgements. */
  async drain(queue: string): Promise<void> {
    const seen: unknown[] = [];
    for (;;) {
      const got = await this.take(queue, true);
      if (got === undefined) break;
      seen.push(typeof got === "string" ? got : got.shown);
      if (typeof got === "string") break;
    }
    this.note(`drain ${queue}`, seen);
  }

  /** basic.get; the delivery is to be settled. */
  async get(queue: string): Promise<Delivery | undefined> {
    const got = await this.take(queue, false);
    this.note(`get ${queue}`, typeof got === "object" ? got.shown : (got ?? "empty"));
    return typeof got === "object" ? got : undefined;
  }

  async count(queue: string): Promise<void> {
    this.note(`count ${queue}`, await this.counts(queue));
  }

  /** Waits until the queue has so many ready messages. */
  async until(queue: string, messages: number): Promise<void> {
    for (let tries = 0; ; tries++) {
      const counts = await this.counts(queue);
      if (Array.isArray(counts) && counts[0] === messages) return;
      if (tries > 400) throw new Error(`${queue} has ${JSON.stringify(counts)}, not ${messages} messages`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Waits until there is no such queue; binding it asks without using it, as a declaration would. */
  async untilGone(queue: string): Promise<void> {
    const method = methods.bindQueue(this.name(queue), "amq.direct", this.name(queue));
    for (let tries = 0; ; tries++) {
      if (typeof (await this.call(method, MethodId.QueueBindOk, 8)) === "string") return;
      if (tries > 200) throw new Error(`${queue} is still there`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async consume(
    queue: string,
    tag: string,
    options: Partial<MethodOf<typeof MethodId.BasicConsume>> & {
      channel?: number;
      prefetch?: number;
      table?: Arguments;
    } = {},
  ): Promise<void> {
    const { channel = 1, prefetch, table = {}, ...rest } = options;
    if (prefetch !== undefined) {
      await this.call(
        { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: prefetch, global: false },
        MethodId.BasicQosOk,
        channel,
      );
    }
    const name = queue === "amq.rabbitmq.reply-to" ? queue : this.name(queue);
    const method = methods.consume(name, { consumerTag: tag, arguments: toTable(this, table), ...rest });
    await this.noted(`consume ${queue} as ${tag}`, method, MethodId.BasicConsumeOk, channel);
  }

  async cancel(tag: string, channel = 1): Promise<void> {
    const method: Method = { id: MethodId.BasicCancel, consumerTag: tag, noWait: false };
    await this.noted(`cancel ${tag}`, method, MethodId.BasicCancelOk, channel);
  }

  /** The next deliveries on a channel, noted in order. */
  async delivered(count: number, channel = 1): Promise<Delivery[]> {
    const taken: Delivery[] = [];
    while (taken.length < count) {
      taken.push(await within(take(this.waiting(channel)), `delivery ${taken.length + 1} of ${count}`));
    }
    this.note(
      `deliveries on ${channel}`,
      taken.map(({ shown }) => shown),
    );
    return taken;
  }

  /** Deliveries on a channel that have come and were not taken with {@link delivered}. */
  deliveriesOn(channel: number): number {
    return this.waiting(channel).items.length;
  }

  /** The broker cancels a consumer. */
  async cancelledByBroker(): Promise<void> {
    this.note("cancelled by the broker", await within(take(this.cancelled), "basic.cancel"));
  }

  ack(delivery: Delivery, multiple = false): void {
    this.client.method(delivery.channel, { id: MethodId.BasicAck, deliveryTag: delivery.tag, multiple });
  }

  nack(delivery: Delivery, requeue: boolean, multiple = false): void {
    this.client.method(delivery.channel, {
      id: MethodId.BasicNack,
      deliveryTag: delivery.tag,
      multiple,
      requeue,
    });
  }

  reject(delivery: Delivery, requeue: boolean): void {
    this.client.method(delivery.channel, { id: MethodId.BasicReject, deliveryTag: delivery.tag, requeue });
  }

  /** Everything sent on the channel up to now has been carried out when this comes back. */
  async settled(channel = 1): Promise<void> {
    const qos: Method = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 0, global: false };
    await this.call(qos, MethodId.BasicQosOk, channel);
  }

  /** Sends a method and notes how it was answered: "ok", or the error's code, text and method. */
  async noted(what: string, method: Method, reply: Method["id"], channel = 1): Promise<void> {
    const answer = await this.call(method, reply, channel);
    this.note(what, typeof answer === "string" ? answer : "ok");
  }

  /** The reply, or the text of the error with which the channel or connection was closed; a closed channel is opened again. */
  async call<Id extends Method["id"]>(
    method: Method,
    reply: Id,
    channel = 1,
  ): Promise<MethodOf<Id> | string> {
    if (channel !== 0) await this.openChannel(channel);
    this.client.method(channel, method);
    return this.answer(reply);
  }

  send(method: Method, channel = 1): void {
    this.client.method(channel, method);
  }

  /** The content of a basic.publish that was {@link send}. */
  sendContent(body: string, properties: BasicProperties, channel = 1): void {
    const bytes = Buffer.from(body);
    this.client.header(channel, bytes.length, properties);
    if (bytes.length > 0) this.client.body(channel, bytes);
  }

  /** How the connection or channel ends, when nothing was called. */
  async closing(): Promise<void> {
    this.note("closed", await this.answer(MethodId.ChannelClose));
  }

  async openChannel(channel: number): Promise<void> {
    if (this.openChannels.has(channel)) return;
    this.client.method(channel, { id: MethodId.ChannelOpen });
    const answer = await this.answer(MethodId.ChannelOpenOk);
    if (typeof answer === "string") throw new Error(`channel.open was answered by ${answer}`);
    this.openChannels.add(channel);
  }

  async closeChannel(channel: number): Promise<void> {
    const close: Method = {
      id: MethodId.ChannelClose,
      replyCode: 200,
      replyText: "",
      classId: 0,
      methodId: 0,
    };
    await this.noted(`close channel ${channel}`, close, MethodId.ChannelCloseOk, channel);
    this.openChannels.delete(channel);
    this.confirms.delete(channel);
    this.published.delete(channel);
  }

  /** Ends the connection without a word, as a crash of the client does. */
  async drop(): Promise<void> {
    await this.client.close();
  }

  /** Deletes what it declared. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isClosed || this.client.ended) {
      await this.client.close();
      this.replies.items.length = 0;
      await this.connect({});
    }
    for (const queue of this.queues)
      await this.call(
        { id: MethodId.QueueDelete, queue, ifUnused: false, ifEmpty: false, noWait: false },
        MethodId.QueueDeleteOk,
        7,
      );
    for (const exchange of this.exchanges)
      await this.call(
        { id: MethodId.ExchangeDelete, exchange, ifUnused: false, noWait: false },
        MethodId.ExchangeDeleteOk,
        7,
      );
    await this.client.close();
  }

  /** What a client sees of a message. Headers are lists, since their order and types are seen, too. */
  shown(
    fields: { exchange: string; routingKey: string; redelivered?: boolean },
    header: Uint8Array,
    body: Uint8Array,
  ): unknown {
    const reader = new ByteReader(header, 12);
    reader.isLenient = true;
    const { headers, ...properties } = readProperties(reader);
    this.lastReplyTo = properties.replyTo;
    return {
      body: Buffer.from(body).toString(),
      exchange: this.shownText(fields.exchange),
      routingKey: this.shownText(fields.routingKey),
      ...(fields.redelivered && { redelivered: true }),
      ...Object.fromEntries(
        Object.entries(properties).map(([key, value]) => [
          key,
          typeof value === "bigint" ? Number(value) : this.shownText(value as string),
        ]),
      ),
      ...(headers && { headers: this.shownTable(headers) }),
    };
  }

  private async connect(options: LoginOptions): Promise<void> {
    this.client = await RawClient.open(this.port);
    this.openChannels.clear();
    await this.client.handshake({
      capabilities: ["consumer_cancel_notify", "basic.nack", "publisher_confirms"],
      ...options,
    });
    void this.read(this.client);
    await this.openChannel(1);
  }

  private async read(client: RawClient): Promise<void> {
    for (;;) {
      const received = await client.next();
      if (received.kind === "end") {
        put(this.replies, "connection ended");
        return;
      }
      if (received.kind !== "method") continue;
      const { method, channel } = received;
      switch (method.id) {
        case MethodId.BasicAck:
        case MethodId.BasicNack:
          this.confirmed(
            channel,
            Number(method.deliveryTag),
            method.multiple,
            method.id === MethodId.BasicAck,
          );
          break;
        case MethodId.BasicDeliver: {
          const { header, body } = await contentOf(client);
          const shown = {
            to: this.shownText(method.consumerTag),
            ...(this.shown(method, header, body) as object),
          };
          put(this.waiting(channel), { tag: method.deliveryTag, channel, shown });
          break;
        }
        case MethodId.BasicReturn: {
          const { header, body } = await contentOf(client);
          this.returned.push([
            "returned",
            method.replyCode,
            method.replyText,
            this.shown(method, header, body),
          ]);
          break;
        }
        case MethodId.BasicGetOk: {
          const { header, body } = await contentOf(client);
          const shown = { ...(this.shown(method, header, body) as object), left: method.messageCount };
          this.got = { tag: method.deliveryTag, channel, shown };
          put(this.replies, method);
          break;
        }
        case MethodId.BasicCancel:
          put(this.cancelled, method.consumerTag);
          break;
        case MethodId.ConnectionClose:
          client.method(0, { id: MethodId.ConnectionCloseOk });
          this.isClosed = true;
          put(this.replies, method);
          break;
        case MethodId.ChannelClose:
          this.openChannels.delete(channel);
          client.method(channel, { id: MethodId.ChannelCloseOk });
          for (const settle of this.confirms.get(channel)?.values() ?? [])
            settle(`closed: ${method.replyCode} ${this.shownText(method.replyText)}`);
          if (!this.confirms.delete(channel)) put(this.replies, method);
          this.published.delete(channel);
          break;
        default:
          put(this.replies, method);
      }
    }
  }

  private got: Delivery | undefined;

  private async take(queue: string, noAck: boolean): Promise<Delivery | string | undefined> {
    await this.openChannel(1);
    this.client.method(1, { id: MethodId.BasicGet, queue: this.name(queue), noAck });
    const reply = await within(take(this.replies), `basic.get of ${queue}`);
    if (reply === "connection ended") return reply;
    if (reply.id === MethodId.BasicGetOk) return this.got;
    return reply.id === MethodId.BasicGetEmpty ? undefined : this.errorText(reply);
  }

  private async counts(queue: string): Promise<[number, number] | string> {
    const method = methods.declareQueue(this.name(queue), { passive: true });
    const reply = await this.call(method, MethodId.QueueDeclareOk, 8);
    return typeof reply === "string" ? reply : [reply.messageCount, reply.consumerCount];
  }

  private async confirming(channel: number): Promise<void> {
    if (this.confirms.has(channel)) return;
    const reply = await this.call(
      { id: MethodId.ConfirmSelect, noWait: false },
      MethodId.ConfirmSelectOk,
      channel,
    );
    if (typeof reply === "string") throw new Error(reply);
    this.confirms.set(channel, new Map());
  }

  private confirmed(channel: number, tag: number, multiple: boolean, isAck: boolean): void {
    const waiting = this.confirms.get(channel);
    for (const [number, settle] of waiting ?? []) {
      if (number !== tag && !(multiple && number < tag)) continue;
      waiting!.delete(number);
      settle(isAck ? "ack" : "nack");
    }
  }

  private async answer<Id extends Method["id"]>(id: Id): Promise<MethodOf<Id> | string> {
    const reply = await within(take(this.replies), `an answer 0x${id.toString(16)}`);
    if (reply === "connection ended") return reply;
    return reply.id === id && id !== MethodId.ChannelClose ? (reply as MethodOf<Id>) : this.errorText(reply);
  }

  private errorText(reply: Method): string {
    if (reply.id !== MethodId.ChannelClose && reply.id !== MethodId.ConnectionClose)
      return `unexpected method 0x${reply.id.toString(16)}`;
    const what = reply.id === MethodId.ChannelClose ? "channel" : "connection";
    return `${what} closed: ${reply.replyCode} ${this.shownText(reply.replyText)} (${reply.classId}, ${reply.methodId})`;
  }

  private waiting(channel: number): Waiting<Delivery> {
    let waiting = this.deliveries.get(channel);
    if (!waiting) this.deliveries.set(channel, (waiting = { items: [], takers: [] }));
    return waiting;
  }

  private shownText<T>(text: T): T | string {
    if (typeof text !== "string") return text;
    return text
      .replaceAll(this.prefix, "")
      .replaceAll(/amq\.(gen|ctag)-[\w-]{22}|amq\.rabbitmq\.reply-to\.[^'" ]+/g, (found) => {
        const known = this.generatedNames.get(found) ?? `generated ${++this.generated}`;
        this.generatedNames.set(found, known);
        return known;
      });
  }

  /** RabbitMQ 3.10 does not have the headers `x-last-death-…`: a difference that is meant. */
  private shownTable(table: FieldTable): unknown[] {
    return [...table]
      .filter(([key]) => !key.startsWith("x-last-death-"))
      .map(([key, field]) => [key, ...this.shownField(field)]);
  }

  private shownField(field: FieldValue): unknown[] {
    switch (field.type) {
      case "table":
        return [field.type, this.shownTable(field.value)];
      case "array":
        return [field.type, field.value.map((value) => this.shownField(value))];
      case "timestamp": {
        const ageSeconds = Date.now() / 1000 - Number(field.value);
        return [field.type, ageSeconds > -2 && ageSeconds < 60 ? "now" : Number(field.value)];
      }
      case "void":
        return [field.type];
      default: {
        const { value } = field;
        if (typeof value === "string") return [field.type, this.shownText(value)];
        return [field.type, typeof value === "bigint" ? Number(value) : value];
      }
    }
  }
}

/** Plain values become what most clients send: strings, 32-bit integers, booleans. */
function toTable(session: Session, table: Arguments): FieldTable {
  return new Map(
    Object.entries(table).map(([key, value]): [string, FieldValue] => {
      if (typeof value === "number") return [key, { type: "signedint", value }];
      if (typeof value === "boolean") return [key, { type: "bool", value }];
      if (typeof value !== "string") return [key, value];
      const isName = key === "x-dead-letter-exchange" || key === "alternate-exchange";
      return [key, { type: "longstr", value: isName ? session.name(value) : value }];
    }),
  );
}

function put<T>({ items, takers }: Waiting<T>, item: T): void {
  const taker = takers.shift();
  if (taker) taker(item);
  else items.push(item);
}

async function take<T>({ items, takers }: Waiting<T>): Promise<T> {
  if (items.length > 0) return items.shift()!;
  return new Promise((resolve) => takers.push(resolve));
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), answerTimeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function contentOf(client: RawClient): Promise<{ header: Uint8Array; body: Uint8Array }> {
  const header = await client.next();
  if (header.kind !== "header") throw new Error(`expected a content header, received ${header.kind}`);
  const size = Number(new ByteReader(header.payload, 4).longlong());
  const body = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const part = await client.next();
    if (part.kind !== "body") throw new Error(`expected a body frame, received ${part.kind}`);
    body.set(part.payload, at);
    at += part.payload.length;
  }
  return { header: header.payload, body };
}

import type { Clock } from "../base/index.ts";
import {
  ByteReader,
  ByteWriter,
  readProperties,
  ReplyCode,
  writeProperties,
  type BasicProperties,
  type FieldTable,
} from "../wire/index.ts";
import type { Permissions } from "./auth/index.ts";
import { cleanName } from "./connection/names.ts";
import { assertMayBind } from "./connection/may-bind.ts";
import { Publisher, type PublisherOutput, type PublisherOwner } from "./connection/publisher.ts";
import { ChannelError } from "./errors.ts";
import type { PublishGate } from "./publish-gate.ts";
import { redelivered, type Queue } from "./queues/index.ts";
import type { TakenMessage } from "./queues/queue.ts";
import { assembleMessage, routeOf, type MessageStore, type MessageView } from "./storage/index.ts";
import type { VirtualHost } from "./virtual-host.ts";

/**
 * What a user can do in a virtual host without a connection, with the permissions and the errors that AMQP has for it. All
 * resolve when what they changed is durable, and reject with a ChannelError or ConnectionError.
 */
export interface ClientActions {
  /** Declaring what exists is fine if it is the same. */
  declareQueue(name: string, options: DeclaredQueue): Promise<void>;
  deleteQueue(name: string, options: { ifUnused: boolean; ifEmpty: boolean }): Promise<void>;
  /** Says how many messages there were. */
  purgeQueue(name: string): Promise<number>;
  declareExchange(name: string, type: string, options: DeclaredExchange): Promise<void>;
  deleteExchange(name: string, options: { ifUnused: boolean }): Promise<void>;
  bind(binding: BindingNames): Promise<void>;
  unbind(binding: BindingNames): Promise<void>;
  /** Resolves when the message is confirmed, with whether any queue has got it. */
  publish(
    exchange: string,
    routingKey: string,
    properties: BasicProperties,
    body: Uint8Array,
  ): Promise<boolean>;
  /**
   * Takes at most so many messages from the front of a queue, and no more than memory should hold (64 MiB). What is requeued
   * goes back when all have been taken.
   */
  get(queue: string, count: number, fate: MessageFate): Promise<GotMessage[]>;
}

export interface DeclaredQueue {
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly arguments: FieldTable;
}

export interface DeclaredExchange extends DeclaredQueue {
  readonly internal: boolean;
}

export interface BindingNames {
  readonly source: string;
  readonly destinationType: "queue" | "exchange";
  readonly destination: string;
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

/** What becomes of messages that were looked at. */
export type MessageFate = "requeued" | "acknowledged" | "dead";

export interface GotMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly properties: BasicProperties;
  readonly body: Buffer;
  readonly redelivered: boolean;
  /** Left in the queue behind it. */
  readonly messageCount: number;
}

export interface LocalClientParts {
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly permissions: Permissions;
  readonly store: MessageStore;
  /** Comes back when all that was done until now is on the disk. */
  readonly flush: () => Promise<void>;
  readonly clock: Clock;
  readonly gate: PublishGate;
}

export class LocalClient implements ClientActions {
  readonly permissions: Permissions;
  readonly vhost: VirtualHost;
  private readonly parts: LocalClientParts;

  constructor(parts: LocalClientParts) {
    this.parts = parts;
    this.permissions = parts.permissions;
    this.vhost = parts.vhost;
  }

  async declareQueue(name: string, options: DeclaredQueue): Promise<void> {
    this.vhost
      .declareQueue(shortName(name), { ...options, exclusiveOwner: null }, this, this.permissions)
      .used();
    await this.committed();
  }

  async deleteQueue(
    name: string,
    { ifUnused, ifEmpty }: { ifUnused: boolean; ifEmpty: boolean },
  ): Promise<void> {
    this.permissions.assertConfigure("queue", name);
    this.vhost.deleteQueueNamed(name, this, ifUnused, ifEmpty);
    await this.committed();
  }

  async purgeQueue(name: string): Promise<number> {
    const count = this.readable(name).purge();
    await this.committed();
    return count;
  }

  async declareExchange(name: string, type: string, options: DeclaredExchange): Promise<void> {
    this.vhost.declareExchange(shortName(name), type, options, this.permissions);
    await this.committed();
  }

  async deleteExchange(name: string, { ifUnused }: { ifUnused: boolean }): Promise<void> {
    this.vhost.deleteExchange(name, ifUnused, this.permissions);
    await this.committed();
  }

  async bind(binding: BindingNames): Promise<void> {
    const { source, destinationType, destination, routingKey, arguments: table } = binding;
    shortName(routingKey);
    assertMayBind(this, destinationType, destination, source, routingKey);
    if (destinationType === "queue") this.vhost.bindQueue(destination, source, routingKey, table, this);
    else this.vhost.bindExchange(destination, source, routingKey, table);
    await this.committed();
  }

  async unbind(binding: BindingNames): Promise<void> {
    const { source, destinationType, destination, routingKey, arguments: table } = binding;
    assertMayBind(this, destinationType, destination, source, routingKey);
    if (destinationType === "queue") this.vhost.unbindQueue(destination, source, routingKey, table, this);
    else this.vhost.unbindExchange(destination, source, routingKey, table);
    await this.committed();
  }

  async publish(
    exchange: string,
    routingKey: string,
    properties: BasicProperties,
    body: Uint8Array,
  ): Promise<boolean> {
    const { gate, user, store, clock } = this.parts;
    const message = composed(shortName(exchange), shortName(routingKey), properties, body);
    if (!gate.isOpen || !gate.hasRoomFor(body.length)) throw stopped(gate.raised);
    let isRouted = true;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const output: PublisherOutput = {
      contentMethod: () => {
        isRouted = false;
      },
      confirm: () => resolve(isRouted),
      method: () => reject(new ChannelError(ReplyCode.PreconditionFailed, "a queue has refused the message")),
    };
    const owner: PublisherOwner = {
      vhost: this.vhost,
      store,
      output,
      user,
      clock,
      permissions: this.permissions,
      outpacing() {},
    };
    const publisher = new Publisher(1, owner);
    publisher.startConfirming();
    publisher.publish(message, true);
    try {
      return await promise;
    } finally {
      publisher.countRun();
      this.vhost.past.publishes.add(publisher.counts);
    }
  }

  async get(name: string, count: number, fate: MessageFate): Promise<GotMessage[]> {
    const queue = this.readable(name);
    const taken: TakenMessage[] = [];
    const got: GotMessage[] = [];
    let bytes = 0;
    while (got.length < count && bytes < mostGotBytes) {
      const next = queue.take();
      if (next === null) {
        queue.counts.getEmpty++;
        break;
      }
      queue.counts.got((next.flags & redelivered) !== 0, false);
      taken.push(next);
      // At once: the store may move it when the next is taken.
      got.push(decoded(next, queue.readyCount));
      bytes += next.message.bodyLength + overheadBytes;
    }
    for (const message of taken) decide(queue, message, fate);
    queue.dispatch();
    if (fate === "dead") this.vhost.deadLetters.moveSoon();
    await this.committed();
    return got;
  }

  private readable(name: string): Queue {
    this.permissions.assertRead("queue", name);
    return this.vhost.queueFor(name, this);
  }

  private committed(): Promise<void> {
    return this.parts.flush();
  }
}

const mostGotBytes = 64 << 20;
/** What a message takes beside its body. */
const overheadBytes = 1 << 10;

function decide(queue: Queue, { handle, flags, sequence }: TakenMessage, fate: MessageFate): void {
  if (fate === "requeued") return queue.requeue(handle, flags, sequence, true);
  if (fate === "dead") return queue.reject(handle, flags, sequence);
  queue.counts.ack++;
  queue.settle(handle, flags, sequence);
}

function decoded({ message, flags }: TakenMessage, messageCount: number): GotMessage {
  const { bytes, propertiesAt, propertiesLength, bodyAt, bodyLength } = message;
  const reader = new ByteReader(bytes, propertiesAt, propertiesAt + propertiesLength);
  reader.isLenient = true;
  return {
    ...routeOf(message),
    properties: readProperties(reader),
    body: Buffer.from(bytes.subarray(bodyAt, bodyAt + bodyLength)),
    redelivered: (flags & redelivered) !== 0,
    messageCount,
  };
}

/** Publishing waits over AMQP; here nobody would wait for it. */
function stopped(raised: readonly string[]): ChannelError {
  const why = raised.length > 0 ? `low on ${raised.join(" & ")}` : "the disk is behind";
  return new ChannelError(ReplyCode.ResourceError, `publishing is stopped: ${why}`);
}

const mostNameBytes = 255;

/** @throws ChannelError 406 for a name that no frame can hold. */
function shortName(name: string): string {
  const clean = cleanName(name);
  if (Buffer.byteLength(clean) <= mostNameBytes) return clean;
  throw new ChannelError(ReplyCode.PreconditionFailed, `a name has at most ${mostNameBytes} bytes`);
}

function composed(
  exchange: string,
  routingKey: string,
  properties: BasicProperties,
  body: Uint8Array,
): MessageView {
  const writer = new ByteWriter(256);
  writer.shortstr(exchange);
  writer.shortstr(routingKey);
  const routeLength = writer.length;
  writeProperties(writer, properties);
  return assembleMessage(writer.written(), routeLength, body);
}

import {
  ByteReader,
  emptyTable,
  FrameType,
  MalformedError,
  MethodId,
  methodName,
  readMethod,
  type BasicProperties,
  type ChannelClose,
  type Method,
} from "../wire/index.ts";
import { Content } from "./content.ts";
import { InterruptedError, RefusedError } from "./errors.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { toTable, type Headers } from "./headers.ts";

/** A message that came. `body` shares memory with what else was read: copy what is kept for long. */
export interface ReceivedMessage {
  /** 0 for one that was returned. */
  readonly deliveryTag: number;
  readonly redelivered: boolean;
  readonly exchange: string;
  readonly routingKey: string;
  readonly properties: BasicProperties;
  readonly body: Buffer;
}

/** A message to be sent. */
export interface Publication {
  readonly exchange: string;
  readonly routingKey: string;
  /** Comes back when no queue takes it. */
  readonly mandatory: boolean;
  readonly properties: BasicProperties;
  readonly body: Uint8Array;
}

/** What a channel needs of its connection. */
export interface ChannelLink {
  readonly writer: FrameWriter;
  /** The channel's number may be used again. */
  release(channel: Channel): void;
}

type MethodOf<Id extends Method["id"]> = Extract<Method, { id: Id }>;

interface Answer {
  readonly method: Method;
  readonly content?: Content;
}

interface Request {
  readonly id: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A channel: methods are named as in AMQP 0-9-1. Requests are sent at once, the broker answers them in order. What is refused
 * closes the channel: the request rejects with a {@link RefusedError}, all others with an {@link InterruptedError}.
 *
 * Has at most one consumer.
 */
export class Channel {
  readonly number: number;
  /** All messages of the consumer. */
  onMessage: ((message: ReceivedMessage) => void) | undefined;
  /** A mandatory message that no queue takes, before its confirm. */
  onReturn: ((message: ReceivedMessage) => void) | undefined;
  /** With all before it that are not confirmed yet when `multiple`. */
  onConfirm: ((deliveryTag: number, multiple: boolean, isAcked: boolean) => void) | undefined;
  /** The broker has ended the consumer: its queue is gone, or its node. */
  onCancel: (() => void) | undefined;
  /** Once, however it closes; with why, unless it was closed here. */
  onClose: ((error: Error | undefined) => void) | undefined;
  private readonly link: ChannelLink;
  private readonly requests: Request[] = [];
  private content: { readonly method: Method; readonly content: Content } | undefined;
  private isConfirming = false;
  private published = 0;
  private state: "open" | "closing" | "closed" = "open";

  constructor(number: number, link: ChannelLink) {
    this.number = number;
    this.link = link;
  }

  /** Nothing has closed it yet. */
  get active(): boolean {
    return this.state === "open";
  }

  async open(): Promise<void> {
    await this.call({ id: MethodId.ChannelOpen });
  }

  async exchangeDeclare(options: {
    readonly exchange: string;
    readonly type: string;
    readonly durable: boolean;
    readonly arguments?: Headers;
  }): Promise<void> {
    await this.call({
      id: MethodId.ExchangeDeclare,
      ...options,
      passive: false,
      autoDelete: false,
      internal: false,
      noWait: false,
      arguments: toTable(options.arguments ?? {}),
    });
  }

  async exchangeBind(binding: {
    readonly source: string;
    readonly destination: string;
    readonly routingKey: string;
  }): Promise<void> {
    await this.call({ id: MethodId.ExchangeBind, ...binding, noWait: false, arguments: emptyTable });
  }

  /** With the name that the broker chose when `queue` is empty. */
  async queueDeclare(options: {
    readonly queue: string;
    readonly passive?: boolean;
    readonly durable?: boolean;
    readonly exclusive?: boolean;
    readonly arguments?: Headers;
  }): Promise<{ queue: string; messageCount: number; consumerCount: number }> {
    const { queue, passive = false, durable = false, exclusive = false } = options;
    return this.call<typeof MethodId.QueueDeclareOk>({
      id: MethodId.QueueDeclare,
      queue,
      passive,
      durable,
      exclusive,
      autoDelete: false,
      noWait: false,
      arguments: toTable(options.arguments ?? {}),
    });
  }

  async queueBind(binding: {
    readonly queue: string;
    readonly exchange: string;
    readonly routingKey: string;
  }): Promise<void> {
    const { queue, exchange, routingKey } = binding;
    await this.call({
      id: MethodId.QueueBind,
      queue,
      exchange,
      routingKey,
      noWait: false,
      arguments: emptyTable,
    });
  }

  async queueDelete(queue: string): Promise<void> {
    await this.call({ id: MethodId.QueueDelete, queue, ifUnused: false, ifEmpty: false, noWait: false });
  }

  async basicQos(prefetchCount: number): Promise<void> {
    await this.call({ id: MethodId.BasicQos, prefetchSize: 0, prefetchCount, global: false });
  }

  /** Resolves with the consumer's tag. Set {@link onMessage} before. */
  async basicConsume(queue: string, { noAck }: { noAck: boolean }): Promise<string> {
    const { consumerTag } = await this.call<typeof MethodId.BasicConsumeOk>({
      id: MethodId.BasicConsume,
      queue,
      consumerTag: "",
      noLocal: false,
      noAck,
      exclusive: false,
      noWait: false,
      arguments: emptyTable,
    });
    return consumerTag;
  }

  async basicCancel(consumerTag: string): Promise<void> {
    await this.call({ id: MethodId.BasicCancel, consumerTag, noWait: false });
  }

  /** Undefined when the queue is empty. */
  async basicGet(queue: string): Promise<ReceivedMessage | undefined> {
    this.assertOpen();
    const { method, content } = await this.request({ id: MethodId.BasicGet, queue, noAck: false });
    return content && received(method, content);
  }

  basicAck(deliveryTag: number): void {
    this.send({ id: MethodId.BasicAck, deliveryTag: BigInt(deliveryTag), multiple: false });
  }

  basicNack(deliveryTag: number, { requeue }: { requeue: boolean }): void {
    this.send({ id: MethodId.BasicNack, deliveryTag: BigInt(deliveryTag), multiple: false, requeue });
  }

  /** From now on {@link onConfirm} tells of what was published. */
  async confirmSelect(): Promise<void> {
    await this.call({ id: MethodId.ConfirmSelect, noWait: false });
    this.isConfirming = true;
  }

  async txSelect(): Promise<void> {
    await this.call({ id: MethodId.TxSelect });
  }

  async txCommit(): Promise<void> {
    await this.call({ id: MethodId.TxCommit });
  }

  /**
   * @returns the tag by which it will be confirmed, from 1; 0 without confirms.
   * @throws InterruptedError when the channel is closed; RangeError when a name or property is longer than 255 bytes.
   */
  basicPublish(publication: Publication): number {
    this.assertOpen();
    this.link.writer.publish(this.number, publication);
    return this.isConfirming ? ++this.published : 0;
  }

  /** What was delivered and not settled goes back to its queue. Closing twice is fine. */
  async close(): Promise<void> {
    if (this.state !== "open") return;
    this.state = "closing";
    try {
      await this.request({
        id: MethodId.ChannelClose,
        replyCode: 200,
        replyText: "done",
        classId: 0,
        methodId: 0,
      });
    } catch {
      // The connection is lost, and the channel with it.
    }
    this.ended(undefined);
  }

  /** The connection has ended. */
  lost(error: Error): void {
    this.ended(error);
  }

  /** @throws MalformedError for what the broker must not send */
  receive(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === FrameType.Method) {
      this.receiveMethod(bytes, start, end);
      return;
    }
    if (this.content === undefined) throw new MalformedError("a content comes without a method");
    const { method, content } = this.content;
    const isComplete =
      type === FrameType.Header ? content.header(bytes, start, end) : content.part(bytes, start, end);
    if (!isComplete) return;
    this.content = undefined;
    this.receiveContent(method, content);
  }

  private receiveMethod(bytes: Buffer, start: number, end: number): void {
    const reader = new ByteReader(bytes, start, end);
    reader.isLenient = true;
    const id = reader.long();
    const method = readMethod(id, reader);
    if (method === undefined) throw new MalformedError(`the broker sends the unknown method ${id}`);
    switch (method.id) {
      case MethodId.BasicDeliver:
      case MethodId.BasicReturn:
      case MethodId.BasicGetOk:
        this.content = { method, content: new Content() };
        return;
      case MethodId.BasicAck:
        this.onConfirm?.(Number(method.deliveryTag), method.multiple, true);
        return;
      case MethodId.BasicNack:
        this.onConfirm?.(Number(method.deliveryTag), method.multiple, false);
        return;
      case MethodId.BasicCancel:
        this.onCancel?.();
        return;
      case MethodId.ChannelFlow:
        this.send({ id: MethodId.ChannelFlowOk, active: method.active });
        return;
      case MethodId.ChannelClose:
        this.closedByBroker(method);
        return;
      default:
        this.answered({ method });
    }
  }

  private receiveContent(method: Method, content: Content): void {
    switch (method.id) {
      case MethodId.BasicDeliver:
        this.onMessage?.(received(method, content));
        return;
      case MethodId.BasicReturn:
        this.onReturn?.(received(method, content));
        return;
      default:
        this.answered({ method, content });
    }
  }

  private answered(answer: Answer): void {
    const { id } = answer.method;
    const request = this.requests.shift();
    if (request === undefined || !isReply(request.id, id))
      throw new MalformedError(`the broker sends ${methodName(id)}, which nobody has asked for`);
    request.resolve(answer);
  }

  private closedByBroker({ replyCode, replyText, classId, methodId }: ChannelClose): void {
    this.link.writer.method(this.number, { id: MethodId.ChannelCloseOk });
    const refused = new RefusedError(replyCode, replyText);
    const failedId = classId * 0x10000 + methodId;
    // Requests are answered in order: if it was one, it is the first of those that wait.
    if (this.requests[0]?.id === failedId) this.requests.shift()!.reject(refused);
    this.ended(refused);
  }

  private ended(error: Error | undefined): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.link.release(this);
    const interrupted = new InterruptedError(`the channel was closed: ${error?.message ?? "by its user"}`, {
      cause: error,
    });
    for (const { reject } of this.requests.splice(0)) reject(interrupted);
    this.onClose?.(error);
  }

  private async call<Reply extends Method["id"] = Method["id"]>(method: Method): Promise<MethodOf<Reply>> {
    this.assertOpen();
    const answer = await this.request(method);
    return answer.method as MethodOf<Reply>;
  }

  private request(method: Method): Promise<Answer> {
    return new Promise((resolve, reject) => {
      // Throws, and is not asked then, when a name is too long.
      this.link.writer.method(this.number, method);
      this.requests.push({ id: method.id, resolve, reject });
    });
  }

  private send(method: Method): void {
    if (this.state === "open") this.link.writer.method(this.number, method);
  }

  private assertOpen(): void {
    if (this.state !== "open") throw new InterruptedError("the channel is closed");
  }
}

/** The reply's method id follows the request's (AMQP 0-9-1 §1.5). */
function isReply(request: number, reply: number): boolean {
  return reply === request + 1 || (request === MethodId.BasicGet && reply === MethodId.BasicGetEmpty);
}

function received(method: Method, { properties, body }: Content): ReceivedMessage {
  const { exchange, routingKey } = method as MethodOf<typeof MethodId.BasicDeliver>;
  return {
    deliveryTag: "deliveryTag" in method ? Number(method.deliveryTag) : 0,
    redelivered: "redelivered" in method && method.redelivered,
    exchange,
    routingKey,
    properties,
    body,
  };
}

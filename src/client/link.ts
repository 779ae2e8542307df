import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions as TlsOptions } from "node:tls";
import {
  ByteReader,
  frameMinSize,
  FrameType,
  MethodId,
  readMethod,
  type FieldTable,
  type Method,
} from "../wire/index.ts";
import { Channel, type ChannelLink } from "./channel.ts";
import { InterruptedError, RefusedError } from "./errors.ts";
import { FrameParser } from "./frame-parser.ts";
import { FrameWriter } from "./frame-writer.ts";
import { toTable } from "./headers.ts";

/** How a connection is made. */
export interface LinkOptions {
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  /** What the broker's operator sees. */
  readonly connectionName: string;
  /** In seconds; the broker may want a shorter one. 0: none, unless the broker wants one. */
  readonly heartbeat: number;
  /** The most channels; the broker may want fewer. */
  readonly channelMax: number;
  /** For the socket and the handshake together; undefined waits as long as it takes. */
  readonly connectionTimeoutMs: number | undefined;
  /** Node's TLS options; `true` takes their defaults. */
  readonly tls?: TlsOptions | boolean;
}

/** `host:port`, or the path of a unix socket. */
export type Place = { readonly host: string } | { readonly socketPath: string };

const protocolHeader = Buffer.from("AMQP\0\0\x09\x01", "latin1");
const frameMax = 131_072;
const closeTimeoutMs = 5_000;

/** One connection, from its socket to its end. */
export class Link implements ChannelLink {
  readonly writer: FrameWriter;
  /** Resolves when the connection has ended, with why; undefined when it was closed here. */
  readonly ended: Promise<Error | undefined>;
  /** What the broker calls itself: `Warren`, `RabbitMQ`. */
  product = "";
  /** The broker takes no publishes for a while, for this reason; undefined when it does again. */
  onBlocked: ((reason: string | undefined) => void) | undefined;
  private readonly socket: Socket;
  private readonly parser = new FrameParser((...frame) => this.receive(...frame));
  private readonly channels = new Map<number, Channel>();
  private lastNumber = 0;
  private channelMax = 0;
  private expected: PromiseWithResolvers<Method> | undefined;
  private heartbeats: NodeJS.Timeout | undefined;
  private hasRead = true;
  private hasWritten = true;
  private silentBeats = 0;
  private isClosing = false;
  private failure: Error | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.writer = new FrameWriter((bytes) => {
      this.hasWritten = true;
      if (!socket.destroyed) socket.write(bytes);
    });
    this.ended = new Promise((resolve) => socket.once("close", () => resolve(this.end())));
    // A name with several addresses: one of them says as much as all.
    socket.on("error", (error) => {
      this.failure ??= error instanceof AggregateError ? (error.errors[0] as Error) : error;
    });
    socket.on("data", (chunk: Buffer) => this.read(chunk));
  }

  /** @throws RefusedError when the broker does not let us in; Error when none answers */
  static async open(place: Place, options: LinkOptions, signal?: AbortSignal): Promise<Link> {
    const socket = openSocket(place, options.tls);
    const link = new Link(socket);
    const stop = (): void => void socket.destroy(new Error("the connection was closed"));
    const { connectionTimeoutMs } = options;
    const overdue = (): void => void socket.destroy(new Error(`no answer within ${connectionTimeoutMs} ms`));
    const timer = connectionTimeoutMs === undefined ? undefined : setTimeout(overdue, connectionTimeoutMs);
    signal?.addEventListener("abort", stop);
    try {
      if (signal?.aborted) stop();
      await Promise.race([
        link.shakeHands(options),
        link.ended.then((error) => Promise.reject(error ?? new Error("closed"))),
      ]);
      return link;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  async openChannel(): Promise<Channel> {
    if (!this.isOpen) throw new InterruptedError("the connection is closed");
    const channel = new Channel(this.freeNumber(), this);
    this.channels.set(channel.number, channel);
    await channel.open();
    return channel;
  }

  release({ number }: Channel): void {
    this.channels.delete(number);
  }

  get isOpen(): boolean {
    return !this.socket.destroyed && !this.isClosing;
  }

  /** Sends all that was written, then says goodbye and waits for the answer. Closing twice is fine. */
  async close(): Promise<void> {
    if (!this.isClosing && !this.socket.destroyed) {
      this.isClosing = true;
      this.writer.method(0, {
        id: MethodId.ConnectionClose,
        replyCode: 200,
        replyText: "done",
        classId: 0,
        methodId: 0,
      });
      this.writer.flush();
      const timer = setTimeout(() => this.socket.destroy(), closeTimeoutMs);
      void this.ended.then(() => clearTimeout(timer));
    }
    await this.ended;
  }

  /** Closes at once, without a word. */
  destroy(): void {
    this.isClosing = true;
    this.socket.destroy();
  }

  private async shakeHands(options: LinkOptions): Promise<void> {
    await once(this.socket, options.tls ? "secureConnect" : "connect");
    this.socket.setNoDelay(true);
    this.socket.write(protocolHeader);
    const start = await this.next(MethodId.ConnectionStart);
    this.product = productOf(start.serverProperties);
    this.sendNow({
      id: MethodId.ConnectionStartOk,
      clientProperties: clientProperties(options.connectionName),
      mechanism: "PLAIN",
      response: `\0${options.username}\0${options.password}`,
      locale: "en_US",
    });
    const tune = await this.next(MethodId.ConnectionTune);
    const heartbeat = agreed(tune.heartbeat, options.heartbeat);
    this.channelMax = agreed(tune.channelMax, options.channelMax);
    this.writer.frameMax = agreed(tune.frameMax, frameMax);
    if (this.writer.frameMax < frameMinSize)
      throw new Error(`the broker wants frames of ${tune.frameMax} bytes; it must take ${frameMinSize}`);
    this.parser.maxPayload = this.writer.frameMax - 8;
    this.sendNow({
      id: MethodId.ConnectionTuneOk,
      channelMax: this.channelMax,
      frameMax: this.writer.frameMax,
      heartbeat,
    });
    this.sendNow({ id: MethodId.ConnectionOpen, virtualHost: options.vhost });
    await this.next(MethodId.ConnectionOpenOk);
    if (heartbeat > 0) this.heartbeats = setInterval(() => this.beat(), (heartbeat * 1000) / 2);
  }

  private async next<Id extends Method["id"]>(id: Id): Promise<Extract<Method, { id: Id }>> {
    this.expected = Promise.withResolvers<Method>();
    const method = await this.expected.promise;
    if (method.id !== id) throw new Error("the broker does not keep to the protocol's handshake");
    return method as Extract<Method, { id: Id }>;
  }

  private read(chunk: Buffer): void {
    this.hasRead = true;
    try {
      this.parser.push(chunk);
    } catch (error) {
      this.socket.destroy(error as Error);
    }
  }

  private receive(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    if (type === FrameType.Heartbeat) return;
    // A channel that is no longer known was closed from both ends at once.
    if (number === 0) this.receiveMethod(new ByteReader(bytes, start, end));
    else this.channels.get(number)?.receive(type, bytes, start, end);
  }

  private receiveMethod(reader: ByteReader): void {
    const method = readMethod(reader.long(), reader);
    switch (method?.id) {
      case MethodId.ConnectionClose:
        this.failure = new RefusedError(method.replyCode, method.replyText);
        this.sendNow({ id: MethodId.ConnectionCloseOk });
        this.socket.destroySoon();
        return;
      case MethodId.ConnectionCloseOk:
        this.socket.destroy();
        return;
      case MethodId.ConnectionBlocked:
        this.onBlocked?.(method.reason);
        return;
      case MethodId.ConnectionUnblocked:
        this.onBlocked?.(undefined);
        return;
      default:
        if (method) this.expected?.resolve(method);
    }
  }

  private sendNow(method: Method): void {
    this.writer.method(0, method);
    this.writer.flush();
  }

  /** Twice in each interval: something is sent, and something must have come in two of them (AMQP 0-9-1 §4.2.7). */
  private beat(): void {
    if (!this.hasWritten) this.writer.heartbeat();
    this.hasWritten = false;
    this.silentBeats = this.hasRead ? 0 : this.silentBeats + 1;
    this.hasRead = false;
    if (this.silentBeats >= 4) this.socket.destroy(new Error("the broker has sent no heartbeat"));
  }

  private freeNumber(): number {
    for (let tried = 0; tried < this.channelMax; tried++) {
      // Round robin: answers to one that was just closed may still be on their way.
      this.lastNumber = (this.lastNumber % this.channelMax) + 1;
      if (!this.channels.has(this.lastNumber)) return this.lastNumber;
    }
    throw new Error(`the broker allows ${this.channelMax} channels on a connection, and all are open`);
  }

  /** The socket has closed. */
  private end(): Error | undefined {
    clearInterval(this.heartbeats);
    const error =
      this.failure ?? (this.isClosing ? undefined : new Error("the broker has closed the connection"));
    const lost = error ?? new Error("the connection was closed");
    for (const channel of this.channels.values()) channel.lost(lost);
    return error;
  }
}

function openSocket(place: Place, tls: LinkOptions["tls"]): Socket {
  if ("socketPath" in place) return connect({ path: place.socketPath });
  const { hostname, port } = new URL(`amqp://${place.host}`);
  const where = { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  if (!tls) return connect(where);
  return connectTls({ servername: where.host, ...where, ...(tls === true ? {} : tls) });
}

function clientProperties(connectionName: string): FieldTable {
  return toTable({
    product: "Warren",
    platform: `Node.js ${process.version}`,
    connection_name: connectionName,
    capabilities: {
      authentication_failure_close: true,
      "basic.nack": true,
      "connection.blocked": true,
      consumer_cancel_notify: true,
      exchange_exchange_bindings: true,
      publisher_confirms: true,
    },
  });
}

function productOf(properties: FieldTable): string {
  const product = properties.get("product");
  return product?.type === "longstr" && typeof product.value === "string" ? product.value : "";
}

/** The lower of the two, where 0 is no limit (AMQP 0-9-1 §4.2.1). */
function agreed(theirs: number, ours: number): number {
  return theirs === 0 || ours === 0 ? Math.max(theirs, ours) : Math.min(theirs, ours);
}

/**
 * An AMQP client made of frames, for tests that must send what no proper client sends and see exactly what comes back.
 */
import { connect, type Socket } from "node:net";
import {
  ByteReader,
  ByteWriter,
  basicClassId,
  FrameType,
  frameEnd,
  MethodId,
  readMethod,
  writeMethod,
  writeProperties,
  type BasicProperties,
  type FieldTable,
  type Method,
} from "../../src/wire/index.ts";

/** What the broker sent: a method, a content header or body as raw bytes, a heartbeat, or the end of the connection. */
export type Received =
  | { readonly kind: "method"; readonly channel: number; readonly method: Method }
  | { readonly kind: "header" | "body" | "heartbeat"; readonly channel: number; readonly payload: Uint8Array }
  | { readonly kind: "protocol-header"; readonly payload: Uint8Array }
  | { readonly kind: "end" };

export interface LoginOptions {
  user?: string;
  password?: string;
  vhost?: string;
  channelMax?: number;
  frameMax?: number;
  heartbeat?: number;
  /** Capabilities that the client says it has, such as `connection.blocked`. */
  capabilities?: readonly string[];
}

export class RawClient implements AsyncDisposable {
  readonly socket: Socket;
  /** Everything received and not yet taken by {@link next}. */
  readonly inbox: Received[] = [];
  ended = false;
  private pending: Uint8Array = new Uint8Array(0);
  private wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => this.receive(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.ended = true;
      this.push({ kind: "end" });
    });
  }

  /** With `allowHalfOpen` it does not hang up when the broker does. */
  static async open(port: number, host = "127.0.0.1", allowHalfOpen = false): Promise<RawClient> {
    const socket = connect({ port, host, noDelay: true, allowHalfOpen });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawClient(socket);
  }

  /** Connects, authenticates, opens the virtual host and channel 1. */
  static async login(port: number, options: LoginOptions = {}): Promise<RawClient> {
    const client = await RawClient.open(port);
    await client.handshake(options);
    await client.openChannel(1);
    return client;
  }

  async handshake(options: LoginOptions = {}): Promise<void> {
    this.bytes(protocolHeader);
    await this.expect(MethodId.ConnectionStart);
    this.method(0, startOk(options.user ?? "guest", options.password ?? "guest", options.capabilities));
    const tune = await this.expect(MethodId.ConnectionTune);
    this.method(0, {
      id: MethodId.ConnectionTuneOk,
      channelMax: options.channelMax ?? tune.channelMax,
      frameMax: options.frameMax ?? tune.frameMax,
      heartbeat: options.heartbeat ?? 0,
    });
    this.method(0, { id: MethodId.ConnectionOpen, virtualHost: options.vhost ?? "/" });
    await this.expect(MethodId.ConnectionOpenOk);
  }

  async openChannel(channel: number): Promise<void> {
    this.method(channel, { id: MethodId.ChannelOpen });
    await this.expect(MethodId.ChannelOpenOk);
  }

  bytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  frame(type: number, channel: number, payload: Uint8Array): void {
    this.bytes(encodeFrame(type, channel, payload));
  }

  method(channel: number, method: Method): void {
    this.frame(FrameType.Method, channel, encodeMethod(method));
  }

  /** Sends a method and waits for the method that answers it. */
  async call<Id extends Method["id"]>(channel: number, method: Method, reply: Id): Promise<MethodOf<Id>> {
    this.method(channel, method);
    return this.expect(reply);
  }

  header(channel: number, bodySize: number | bigint, properties: BasicProperties = {}): void {
    this.frame(FrameType.Header, channel, encodeHeader(bodySize, properties));
  }

  body(channel: number, payload: Uint8Array): void {
    this.frame(FrameType.Body, channel, payload);
  }

  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    body: Uint8Array | string,
    options: { mandatory?: boolean; properties?: BasicProperties; frameMax?: number } = {},
  ): void {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    this.method(channel, {
      id: MethodId.BasicPublish,
      exchange,
      routingKey,
      mandatory: options.mandatory ?? false,
      immediate: false,
    });
    this.header(channel, bytes.length, options.properties);
    const limit = (options.frameMax ?? 131_072) - 8;
    for (let at = 0; at < bytes.length; at += limit) this.body(channel, bytes.subarray(at, at + limit));
  }

  /** The next thing received; waits for it. */
  async next(): Promise<Received> {
    while (this.inbox.length === 0) {
      if (this.ended) return { kind: "end" };
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.inbox.shift()!;
  }

  /** The next method, which must have this id; throws with what came instead. Heartbeats are passed over. */
  async expect<Id extends Method["id"]>(id: Id): Promise<MethodOf<Id>> {
    for (;;) {
      const received = await this.next();
      if (received.kind === "heartbeat") continue;
      if (received.kind === "method" && received.method.id === id) return received.method as MethodOf<Id>;
      throw new Error(`expected method 0x${id.toString(16)}, received ${describe(received)}`);
    }
  }

  /** A delivery, return or get-ok with its content put together. */
  async content<Id extends Method["id"]>(
    id: Id,
  ): Promise<{ method: MethodOf<Id>; header: Uint8Array; body: Uint8Array }> {
    const method = await this.expect(id);
    const header = await this.next();
    if (header.kind !== "header") throw new Error(`expected a content header, received ${describe(header)}`);
    const size = Number(new ByteReader(header.payload, 4).longlong());
    const body = new Uint8Array(size);
    for (let at = 0; at < size;) {
      const part = await this.next();
      if (part.kind !== "body") throw new Error(`expected a body frame, received ${describe(part)}`);
      body.set(part.payload, at);
      at += part.payload.length;
    }
    return { method, header: header.payload, body };
  }

  async close(): Promise<void> {
    if (this.ended) return;
    const closed = new Promise<void>((resolve) => this.socket.once("close", () => resolve()));
    this.socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private receive(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.pending.length > 0) {
      bytes = new Uint8Array(this.pending.length + chunk.length);
      bytes.set(this.pending);
      bytes.set(chunk, this.pending.length);
    }
    let at = 0;
    if (bytes.length >= 8 && bytes[0] === 65 && bytes[1] === 77 && bytes[2] === 81 && bytes[3] === 80) {
      this.push({ kind: "protocol-header", payload: bytes.slice(0, 8) });
      at = 8;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    while (bytes.length - at >= 8) {
      const size = view.getUint32(at + 3);
      if (bytes.length - at < size + 8) break;
      if (bytes[at + 7 + size] !== frameEnd) throw new Error("the broker sent a frame with a wrong end");
      this.push(parse(bytes[at], view.getUint16(at + 1), bytes.slice(at + 7, at + 7 + size)));
      at += size + 8;
    }
    this.pending = bytes.slice(at);
  }

  private push(received: Received): void {
    this.inbox.push(received);
    this.wake?.();
  }
}

export type MethodOf<Id extends Method["id"]> = Extract<Method, { readonly id: Id }>;

export const protocolHeader: Uint8Array = Uint8Array.of(65, 77, 81, 80, 0, 0, 9, 1);

export function startOk(
  user: string,
  password: string,
  capabilities: readonly string[] = [],
): MethodOf<typeof MethodId.ConnectionStartOk> {
  const value = new Map(capabilities.map((name) => [name, { type: "bool", value: true } as const]));
  const clientProperties: FieldTable = new Map([["capabilities", { type: "table", value }]]);
  return {
    id: MethodId.ConnectionStartOk,
    clientProperties,
    mechanism: "PLAIN",
    response: `\0${user}\0${password}`,
    locale: "en_US",
  };
}

export function encodeFrame(type: number, channel: number, payload: Uint8Array): Uint8Array {
  const writer = new ByteWriter(payload.length + 8);
  writer.octet(type);
  writer.short(channel);
  writer.long(payload.length);
  writer.raw(payload);
  writer.octet(frameEnd);
  return writer.written();
}

export function encodeMethod(method: Method): Uint8Array {
  const writer = new ByteWriter();
  writeMethod(writer, method);
  return writer.written();
}

export function encodeHeader(bodySize: number | bigint, properties: BasicProperties = {}): Uint8Array {
  const writer = new ByteWriter();
  writer.short(basicClassId);
  writer.short(0);
  writer.longlong(BigInt(bodySize));
  writeProperties(writer, properties);
  return writer.written();
}

/** In one line, for error messages. */
function describe(received: Received): string {
  if (received.kind !== "method") return received.kind;
  return JSON.stringify(received.method, (_key, value: unknown) =>
    typeof value === "bigint" ? Number(value) : value,
  );
}

function parse(type: number, channel: number, payload: Uint8Array): Received {
  switch (type) {
    case FrameType.Method: {
      const reader = new ByteReader(payload);
      reader.isLenient = true;
      const id = reader.long();
      const method = readMethod(id, reader);
      if (!method) throw new Error(`the broker sent an unknown method 0x${id.toString(16)}`);
      return { kind: "method", channel, method };
    }
    case FrameType.Header:
      return { kind: "header", channel, payload };
    case FrameType.Body:
      return { kind: "body", channel, payload };
    default:
      return { kind: "heartbeat", channel, payload };
  }
}

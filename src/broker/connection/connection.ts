/**
 * Hot path: `receive` reads every frame. Benchmark: T16, T1K, P1K in bench/.
 *
 * One client connection: frames in, by state; errors out, as channel.close or connection.close.
 */
import type { Socket } from "node:net";
import type { Clock, Logger, Timer } from "../../base/index.ts";
import {
  ByteReader,
  FrameType,
  frameEnd,
  MalformedError,
  MethodId,
  methodName,
  readMethod,
  ReplyCode,
  type Method,
} from "../../wire/index.ts";
import { Permissions, type AccessRules, type Logins, type Users } from "../auth/index.ts";
import { ChannelError, ConnectionError, replyText } from "../errors.ts";
import type { Definitions, MessageStore } from "../storage/index.ts";
import type { GateWaiter, PublishGate } from "../publish-gate.ts";
import type { OpenConnections } from "../open-connections.ts";
import type { Compatibility } from "../queue-arguments.ts";
import type { Churn } from "../traffic.ts";
import type { VirtualHost } from "../virtual-host.ts";
import type { VirtualHosts } from "../virtual-hosts.ts";
import { acknowledge } from "./basic-methods.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { Channel, type ChannelConnection } from "./channel.ts";
import type { Consumer } from "./consumer.ts";
import { frameError, frameTooLarge, unexpectedFrame } from "./frame-errors.ts";
import { Handshake, type LoggedIn, type Tuning } from "./handshake.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Output, type OutputOwner } from "./output.ts";
import { plainAddress, type Peer } from "./peer.ts";
import { PublishFrames } from "./publish-frames.ts";
import { SocketReader, type HoldReason, type ReadResources, type Receiver } from "./socket-reader.ts";

/** What all connections of a broker share. */
export interface ConnectionContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly users: Users;
  readonly rules: AccessRules;
  readonly logins: Logins;
  readonly store: MessageStore;
  readonly definitions: Definitions;
  readonly gate: PublishGate;
  readonly virtualHosts: VirtualHosts;
  readonly connections: OpenConnections;
  readonly outputBuffers: BufferPool;
  readonly reading: ReadResources;
  readonly staticReads: boolean;
  readonly limits: ConnectionLimits;
  readonly compatibility: Compatibility;
  readonly churn: Churn;
  connectionEnded(connection: Connection): void;
}

interface ConnectionLimits {
  /** Offered in connection.tune. */
  readonly channelMax: number;
  readonly frameMax: number;
  readonly heartbeatSeconds: number;
  readonly maxMessageBytes: number;
  /** From accept to connection.open; RabbitMQ's `handshake_timeout`. */
  readonly handshakeTimeoutMs: number;
}

/** While the peer leaves this much of our replies unread, we do not read from it. Deliveries stop far earlier. */
const unreadRepliesAt = 16 << 20;
/** How long the peer may take to answer connection.close. */
const closeTimeoutMs = 5_000;
const exchangeClassId = 40;
const queueClassId = 50;
const protocolHeader = Uint8Array.of(65, 77, 81, 80, 0, 0, 9, 1);

type State = "protocol-header" | "handshake" | "open" | "closing" | "ended";

export class Connection implements ChannelConnection, Receiver, OutputOwner, GateWaiter {
  readonly output: Output;
  readonly store: MessageStore;
  readonly clock: Clock;
  readonly compatibility: Compatibility;
  readonly maxMessageBytes: number;
  readonly peer: Peer;
  readonly connectedAtMs: number;
  /** What the login has settled, once the connection is open. */
  login: LoggedIn | undefined;
  /** Pieces of bytes that have arrived. */
  reads = 0;
  vhost!: VirtualHost;
  user = "";
  permissions!: Permissions;
  wantsCancelNotify = false;
  /** The client asked to be told of alarms that stop it. */
  private wantsBlocked = false;
  private isBlocked = false;
  /** Bytes it may send though the gate is closed, since it holds deliveries; below 0 when used up. See PublishGate. */
  private allowanceBytes = 0;
  private readonly context: ConnectionContext;
  private readonly gate: PublishGate;
  private readonly socket: Socket;
  private readonly reader: SocketReader;
  private readonly log: Logger;
  private readonly handshake: Handshake;
  private readonly heartbeat: Heartbeat;
  private readonly channels = new Map<number, Channel>();
  private readonly publishFrames = new PublishFrames();
  private state: State = "protocol-header";
  private deadline: Timer;
  /** Consumers without room in the output, in the order in which they came. */
  private readonly awaitingOutput = new Set<Consumer>();
  private peerHasEnded = false;
  private channelMax = 0;
  private frameMax: number;
  private lastChannel: Channel | null = null;
  /** Where the frame in hand ends: parsing goes on there after an error. */
  private nextFrame = 0;
  private currentChannel = 0;
  private currentMethod = 0;

  constructor(accepted: Socket, peer: Peer, context: ConnectionContext) {
    this.context = context;
    this.peer = peer;
    this.connectedAtMs = context.clock.nowMs();
    this.reader = new SocketReader(accepted, context.reading, context.staticReads);
    this.socket = this.reader.socket;
    this.socket.setNoDelay(true);
    this.log = context.log;
    this.store = context.store;
    this.clock = context.clock;
    this.compatibility = context.compatibility;
    this.gate = context.gate;
    this.maxMessageBytes = context.limits.maxMessageBytes;
    this.frameMax = context.limits.frameMax;
    this.output = new Output(this.socket, context.reading.turn, context.outputBuffers, this);
    this.handshake = new Handshake(context, this.output, peer, (refusal) => this.loginSettled(refusal));
    this.heartbeat = new Heartbeat(context.clock, this.output, this.reader, (seconds) => {
      this.log.warn({ peer: this.peer.name }, `missed heartbeats from client, timeout: ${seconds}s`);
      this.socket.destroy();
    });
    this.deadline = context.clock.after(context.limits.handshakeTimeoutMs, () => {
      this.log.warn({ peer: this.peer.name }, "handshake timeout");
      this.socket.destroy();
    });
    this.socket.on("error", (error) =>
      this.log.debug({ peer: this.peer.name, error: error.message }, "socket error"),
    );
    this.socket.on("end", () => this.peerEnded());
    this.socket.on("close", () => this.end());
    this.reader.start(this);
  }

  /** Takes whole frames from `bytes[start, end)`; returns where the first incomplete one starts. */
  receive(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    this.heartbeat.received = true;
    this.reads++;
    let at = start;
    if (this.state === "protocol-header") {
      if (end - at < 8) return at;
      if (!this.acceptProtocol(bytes, at)) return end;
      at += 8;
    }
    while (this.state !== "ended") {
      try {
        at = this.frames(bytes, view, at, end);
        break;
      } catch (error) {
        this.fail(error);
        at = this.nextFrame;
      }
    }
    if (this.state === "ended") return end;
    if (this.output.unsentBytes > unreadRepliesAt) this.reader.hold("replies");
    return at;
  }

  private frames(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    let at = start;
    while (end - at >= 8) {
      const size = view.getUint32(at + 3);
      // RabbitMQ bears with clients that count only the payload.
      if (size > this.frameMax) {
        // It cannot be skipped: whatever follows is not to be trusted.
        this.nextFrame = end;
        this.currentMethod = 0;
        throw frameTooLarge(bytes[at], size, this.frameMax - 8);
      }
      const next = at + 8 + size;
      if (next > end) return at;
      this.nextFrame = next;
      if (bytes[next - 1] !== frameEnd) {
        this.currentMethod = 0;
        throw frameError(bytes, at, next, `{invalid_frame_end_marker,${bytes[next - 1]}}`);
      }
      if (bytes[at] === FrameType.Method && size >= 4 && this.state === "open") {
        const id = view.getUint32(at + 7);
        if (id === MethodId.BasicPublish) {
          if (!this.gate.isOpen && !(this.allowanceBytes > 0 && this.gate.hasRoom)) {
            this.awaitGate();
            return at;
          }
          const published = this.publish(bytes, view, at, next, end);
          this.allowanceBytes -= published - at;
          at = published;
          continue;
        }
        if (id === MethodId.BasicAck && size === 13) {
          this.acknowledge(view, at);
          at = next;
          continue;
        }
      }
      if (!this.hasRoomForCommit(bytes, view, at, size)) {
        this.awaitGate();
        return at;
      }
      if (bytes[at] === FrameType.Body && !this.hasRoomForBody(view.getUint16(at + 1), size)) {
        this.awaitGate();
        return at;
      }
      this.allowanceBytes -= size;
      this.frame(bytes, view, at, next);
      at = next;
      // What stands behind connection.close is not carried out.
      if (this.state === "ended") return end;
      // A few bytes may ask for a megabyte each (basic.get): look after each, not after all that have arrived.
      if (this.output.unsentBytes > unreadRepliesAt) this.reader.hold("replies");
      if (this.reader.isHeld) return at;
    }
    return at;
  }

  private hasRoomForBody(channelId: number, bytes: number): boolean {
    const assembly = this.channels.get(channelId)?.assembly;
    return !assembly || !assembly.endsWith(bytes) || this.gate.hasRoomFor(assembly.bodyBytes);
  }

  private awaitGate(): void {
    this.allowanceBytes = 0;
    this.reader.hold("publishing");
    this.gate.wait(this);
    this.alarmsChanged();
  }

  /** All that a transaction has done goes to the log at once. */
  private hasRoomForCommit(bytes: Uint8Array, view: DataView, at: number, size: number): boolean {
    if (bytes[at] !== FrameType.Method || size < 4 || view.getUint32(at + 7) !== MethodId.TxCommit)
      return true;
    const transaction = this.channels.get(view.getUint16(at + 1))?.transaction;
    // What only settles may use what is kept for that.
    return !transaction || transaction.mostLogBytes === 0 || this.gate.hasRoomFor(transaction.mostLogBytes);
  }

  get isOpen(): boolean {
    return this.state === "open";
  }

  get allChannels(): Iterable<Channel> {
    return this.channels.values();
  }

  /** As RabbitMQ names it. */
  get name(): string {
    const { address, port } = this.local;
    return `${this.peer.name} -> ${address}:${port}`;
  }

  get receivedBytes(): number {
    return this.socket.bytesRead;
  }

  get sentBytes(): number {
    return this.socket.bytesWritten;
  }

  /** The end of the connection that is here. */
  get local(): { readonly address: string; readonly port: number } {
    const { localAddress, localPort } = this.socket;
    return {
      address: localAddress === undefined ? "unix" : plainAddress(localAddress),
      port: localPort ?? 0,
    };
  }

  /** An alarm keeps it from publishing. */
  get isStopped(): boolean {
    return this.gate.stops(this);
  }

  get channelCount(): number {
    return this.channels.size;
  }

  get holdsDeliveries(): boolean {
    for (const { unacked } of this.channels.values()) if (unacked.count > 0) return true;
    return false;
  }

  resumePublishing(allowanceBytes: number): void {
    this.allowanceBytes = Number.isFinite(allowanceBytes) ? allowanceBytes : 0;
    if (this.isBlocked && this.gate.raised.length === 0) this.alarmsChanged();
    this.goOn("publishing");
  }

  /** https://www.rabbitmq.com/docs/connection-blocked: a client is told when it is stopped for want of a resource, once. */
  alarmsChanged(): void {
    const { raised } = this.gate;
    if (!this.wantsBlocked || this.isBlocked === raised.length > 0) return;
    this.isBlocked = raised.length > 0;
    this.output.method(
      0,
      this.isBlocked
        ? { id: MethodId.ConnectionBlocked, reason: `low on ${raised.join(" & ")}` }
        : { id: MethodId.ConnectionUnblocked },
    );
  }

  /**
   * Withholds what is written from now on, and reads nothing more, until the store has committed what was done up to now:
   * for replies that promise something durable.
   */
  holdUntilCommitted(): void {
    this.reader.hold("commit");
    this.output.hold();
    this.store.awaitCommit({
      needsDisk: true,
      beforeCommit() {},
      committed: () => {
        this.output.release();
        this.goOn("commit");
      },
    });
  }

  private goOn(reason: HoldReason): void {
    this.reader.release(reason);
    if (this.peerHasEnded) this.peerEnded();
  }

  /**
   * basic.publish with its content. If header and body have arrived, in one frame each, the message is published from
   * the read buffer; otherwise it is put together frame by frame. Returns where the next frame starts.
   */
  private publish(bytes: Uint8Array, view: DataView, at: number, next: number, end: number): number {
    const channelId = view.getUint16(at + 1);
    const channel = this.openChannel(channelId, MethodId.BasicPublish);
    if (channel.closing) return next;
    channel.expectMethod();
    const { publishFrames, frameMax, maxMessageBytes } = this;
    publishFrames.readMethod(bytes, at, next);
    const { mandatory, routeAt, routeEnd } = publishFrames;
    const contentEnd = publishFrames.readContent(
      bytes,
      view,
      next,
      end,
      channelId,
      frameMax,
      maxMessageBytes,
    );
    if (contentEnd === 0) {
      channel.expectContent(bytes.subarray(routeAt, routeEnd), mandatory);
      return next;
    }
    this.nextFrame = contentEnd;
    channel.publisher.publish(publishFrames.message, mandatory);
    return contentEnd;
  }

  private acknowledge(view: DataView, at: number): void {
    const channel = this.openChannel(view.getUint16(at + 1), MethodId.BasicAck);
    if (channel.closing) return;
    channel.expectMethod();
    const tag = view.getUint32(at + 11) * 0x1_0000_0000 + view.getUint32(at + 15);
    acknowledge(channel, tag, (view.getUint8(at + 19) & 1) !== 0);
  }

  /** Any frame that has no path of its own above. */
  private frame(bytes: Uint8Array, view: DataView, at: number, next: number): void {
    const channel = view.getUint16(at + 1);
    const payload = bytes.subarray(at + 7, next - 1);
    this.currentChannel = channel;
    this.currentMethod = 0;
    switch (bytes[at]) {
      case FrameType.Method:
        return this.methodFrame(channel, payload);
      case FrameType.Header:
        return this.contentChannel(channel)?.header(payload);
      case FrameType.Body:
        return this.contentChannel(channel)?.body(payload);
      case FrameType.Heartbeat:
        if (payload.length > 0) throw frameError(bytes, at, next, "unknown_frame");
        if (channel !== 0) throw unexpectedFrame(bytes, at, next);
        return;
      default:
        throw frameError(bytes, at, next, "unknown_frame");
    }
  }

  /** The channel that a content frame is for; undefined when the connection is closing and passes over it. */
  private contentChannel(channelId: number): Channel | undefined {
    if (this.state === "closing") return undefined;
    const methodId = this.channels.get(channelId)?.assembly ? MethodId.BasicPublish : 0;
    return this.openChannel(channelId, methodId);
  }

  private methodFrame(channelId: number, payload: Uint8Array): void {
    const reader = new ByteReader(payload);
    const id = reader.long();
    this.currentMethod = id;
    const channel = this.channels.get(channelId);
    if (channel?.assembly) {
      this.currentMethod = MethodId.BasicPublish;
      channel.expectMethod();
    }
    const method = readMethod(id, reader);
    if (method === undefined) {
      throw new ConnectionError(ReplyCode.CommandInvalid, `unknown method ${id >>> 16}.${id & 0xffff}`);
    }
    if (reader.remaining > 0)
      throw new MalformedError(`${methodName(id)} has ${reader.remaining} bytes too many`);
    this.log.debug({ peer: this.peer.name, channel: channelId, method: methodName(id) }, "method");
    if (this.state === "closing") this.whileClosing(method);
    else if (this.state === "handshake") this.duringHandshake(channelId, method);
    else if (channelId === 0) this.connectionMethod(method);
    else if (method.id === MethodId.ChannelOpen && !this.channels.has(channelId))
      this.openNewChannel(channelId);
    else this.openChannel(channelId, id).handle(method);
    // Exchanges, queues and bindings are durable before the client is told of them.
    const isDeclaration = id >>> 16 === exchangeClassId || id >>> 16 === queueClassId;
    if (isDeclaration && this.context.definitions.isDirty && !this.reader.isHeld) this.holdUntilCommitted();
  }

  private duringHandshake(channelId: number, method: Method): void {
    if (channelId !== 0) {
      throw new ConnectionError(ReplyCode.ChannelError, "a channel is used before connection.open-ok");
    }
    if (method.id === MethodId.ConnectionClose) return this.closedByClient();
    // RabbitMQ names no method when it refuses a login.
    if (method.id === MethodId.ConnectionStartOk) this.currentMethod = 0;
    if (this.handshake.handle(method)) this.opened(this.handshake.result());
    else if (this.handshake.isAuthenticating) this.reader.hold("login");
    else if (method.id === MethodId.ConnectionTuneOk) this.applyTuning(this.handshake.tuning!);
  }

  /** Whether the client is who it says may take a while. */
  private loginSettled(refusal: ConnectionError | undefined): void {
    if (this.state !== "handshake") return;
    if (refusal) this.fail(refusal);
    this.goOn("login");
  }

  private applyTuning(tuning: Tuning): void {
    this.channelMax = tuning.channelMax;
    this.frameMax = tuning.frameMax;
    this.output.frameMax = tuning.frameMax;
    this.heartbeat.start(tuning.heartbeatSeconds);
  }

  private opened(result: LoggedIn): void {
    this.deadline.cancel();
    this.login = result;
    this.context.churn.connectionsCreated++;
    this.vhost = result.vhost;
    this.user = result.user;
    this.permissions = new Permissions(this.context.rules, result.user, result.vhost.name);
    this.wantsCancelNotify = result.wantsCancelNotify;
    this.wantsBlocked = result.wantsBlocked;
    this.state = "open";
    this.log.info({ peer: this.peer.name, user: result.user, vhost: result.vhost.name }, "connection open");
  }

  private connectionMethod(method: Method): void {
    switch (method.id) {
      case MethodId.ConnectionClose:
        return this.closedByClient();
      case MethodId.ConnectionUpdateSecret:
        // The new secret counts at the next login; PLAIN credentials do not expire in between.
        return this.output.method(0, { id: MethodId.ConnectionUpdateSecretOk });
      case MethodId.ConnectionCloseOk:
        return;
      default:
        throw new ConnectionError(ReplyCode.ChannelError, "unexpected method in connection state running");
    }
  }

  private openNewChannel(channelId: number): void {
    if (this.channels.size >= this.channelMax) {
      throw new ConnectionError(
        ReplyCode.NotAllowed,
        `number of channels opened (${this.channels.size}) has reached the negotiated channel_max (${this.channelMax})`,
      );
    }
    this.assertChannelLimit();
    const channel = new Channel(channelId, this);
    this.channels.set(channelId, channel);
    channel.send({ id: MethodId.ChannelOpenOk });
  }

  private assertChannelLimit(): void {
    const { maxChannels } = this.context.users.get(this.user)?.limits ?? {};
    if (maxChannels === undefined || this.context.connections.channelsOf(this.user) < maxChannels) return;
    // RabbitMQ names no method here.
    this.currentMethod = 0;
    throw new ConnectionError(
      ReplyCode.NotAllowed,
      `number of channels opened for user '${this.user}' has reached the maximum allowed user limit of (${maxChannels})`,
    );
  }

  private openChannel(channelId: number, methodId: number): Channel {
    this.currentChannel = channelId;
    this.currentMethod = methodId;
    const { lastChannel } = this;
    if (lastChannel !== null && lastChannel.id === channelId) return lastChannel;
    const channel = this.channels.get(channelId);
    if (!channel) {
      throw channelId === 0
        ? new ConnectionError(ReplyCode.ChannelError, "unexpected method in connection state running")
        : new ConnectionError(ReplyCode.ChannelError, "expected 'channel.open'");
    }
    this.lastChannel = channel;
    return channel;
  }

  channelClosed(channel: Channel): void {
    this.channels.delete(channel.id);
    this.lastChannel = null;
  }

  awaitOutput(consumer: Consumer): void {
    this.awaitingOutput.add(consumer);
  }

  forgetConsumer(consumer: Consumer): void {
    this.awaitingOutput.delete(consumer);
  }

  /** Serves the consumers that wait for room, in the order in which they came, until there is none again. */
  outputReady(): void {
    for (const consumer of this.awaitingOutput) {
      if (this.output.full) break;
      // It goes to the end of the line if it fills the output again.
      this.awaitingOutput.delete(consumer);
      if (consumer.parked && consumer.hasCredit()) consumer.queue.resume(consumer);
    }
    if (this.output.unsentBytes < unreadRepliesAt) this.goOn("replies");
  }

  outpacing(): void {
    this.reader.outpacing = true;
  }

  /**
   * Closes the connection from our side: tells the client why and because of which method, if any, waits for its close-ok,
   * then ends the socket.
   */
  close(code: ReplyCode, text: string, methodId = 0): void {
    if (this.state === "ended" || this.state === "closing") return;
    if (this.state === "protocol-header") {
      this.socket.destroy();
      return;
    }
    this.output.method(0, {
      id: MethodId.ConnectionClose,
      replyCode: code,
      replyText: replyText(code, text),
      classId: methodId >>> 16,
      methodId: methodId & 0xffff,
    });
    this.release();
    this.state = "closing";
    // Read on: all but the client's answer is passed over.
    this.gate.forget(this);
    this.handshake.abandon();
    this.reader.release("publishing");
    this.reader.release("login");
    this.deadline.cancel();
    this.deadline = this.context.clock.after(closeTimeoutMs, () => this.socket.destroy());
  }

  /** Closes channels with deliveries that have waited too long for their acknowledgement. */
  lookForOverdue(timeoutMs: number): void {
    const nowMs = this.clock.nowMs();
    try {
      for (const channel of this.channels.values()) channel.lookForOverdue(nowMs, timeoutMs);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ends the socket at once. */
  destroy(): void {
    this.socket.destroy();
  }

  private acceptProtocol(bytes: Uint8Array, at: number): boolean {
    for (let index = 0; index < 8; index++) {
      if (bytes[at + index] === protocolHeader[index]) continue;
      // Another protocol or version: say which one is spoken here and hang up (AMQP 0-9-1 §4.2.2).
      this.log.warn(
        { peer: this.peer.name, bytes: Buffer.from(bytes.subarray(at, at + 8)).toString("hex") },
        "bad header",
      );
      this.socket.write(protocolHeader);
      this.hangUp();
      return false;
    }
    this.state = "handshake";
    this.handshake.start();
    return true;
  }

  private closedByClient(): void {
    this.release();
    this.output.method(0, { id: MethodId.ConnectionCloseOk });
    this.hangUp();
  }

  /** Nothing more will be said: sends what there is and ends the socket, by force if the peer takes no more of it. */
  private hangUp(): void {
    this.state = "ended";
    this.output.flush();
    this.socket.end();
    this.destroyUnlessProgress(this.socket.writableLength);
  }

  private destroyUnlessProgress(unsentBytes: number): void {
    this.deadline.cancel();
    this.deadline = this.context.clock.after(closeTimeoutMs, () => {
      const { writableLength } = this.socket;
      if (writableLength < unsentBytes) this.destroyUnlessProgress(writableLength);
      else this.socket.destroy();
    });
  }

  /** The peer sends nothing more, so that nobody can use what it holds. */
  private peerEnded(): void {
    if (this.state === "ended") return;
    this.peerHasEnded = true;
    // What it sent before is still to be carried out.
    if (this.reader.isHeld) return;
    this.log.debug({ peer: this.peer.name, state: this.state }, "connection ended without connection.close");
    this.release();
    this.hangUp();
  }

  private whileClosing(method: Method): void {
    if (method.id === MethodId.ConnectionClose) return this.closedByClient();
    if (method.id === MethodId.ConnectionCloseOk) this.hangUp();
  }

  /** The one place where errors become frames. */
  private fail(error: unknown): void {
    const channel = this.channels.get(this.currentChannel);
    if (error instanceof ChannelError && channel) {
      this.log.warn({ peer: this.peer.name, channel: channel.id, code: error.code }, error.message);
      return channel.fail(error, this.currentMethod);
    }
    const { code, message } = this.hardError(error);
    if (this.handshake.hangsUpSilently) {
      this.state = "ended";
      this.socket.destroy();
    } else {
      this.close(code, message, this.currentMethod);
    }
  }

  /** What the client is told of an error that ends the connection; the log is told more. */
  private hardError(error: unknown): { code: ReplyCode; message: string } {
    if (error instanceof ConnectionError || error instanceof ChannelError) {
      this.log.warn({ peer: this.peer.name, channel: this.currentChannel, code: error.code }, error.message);
      return error;
    }
    if (error instanceof MalformedError) {
      this.log.warn({ peer: this.peer.name, channel: this.currentChannel }, error.message);
      return { code: ReplyCode.FrameError, message: error.message };
    }
    this.log.error({ peer: this.peer.name, error: (error as Error).stack }, "internal error");
    return { code: ReplyCode.InternalError, message: "" };
  }

  /** Gives everything back that the connection holds: to others, so that all its consumers stop first. */
  private release(): void {
    const channels = [...this.channels.values()];
    this.channels.clear();
    this.lastChannel = null;
    this.awaitingOutput.clear();
    this.gate.forget(this);
    try {
      for (const channel of channels) channel.stop();
      for (const channel of channels) channel.requeueUnacked();
      if (this.vhost) this.vhost.deleteExclusiveQueues(this);
    } catch (error) {
      // This runs where nothing catches it. A failed storage says so itself.
      this.log.error(
        { peer: this.peer.name, error: (error as Error).stack },
        "cannot give back what was held",
      );
    }
  }

  private countAsPast(): void {
    if (!this.login) return;
    const { past } = this.vhost;
    past.receivedBytes += this.receivedBytes;
    past.sentBytes += this.sentBytes;
    this.context.churn.connectionsClosed++;
  }

  private end(): void {
    if (this.state !== "ended")
      this.log.debug({ peer: this.peer.name, state: this.state }, "connection lost");
    this.release();
    this.state = "ended";
    this.handshake.abandon();
    this.deadline.cancel();
    this.heartbeat.stop();
    this.output.flush();
    this.reader.close();
    this.countAsPast();
    this.context.connectionEnded(this);
  }
}

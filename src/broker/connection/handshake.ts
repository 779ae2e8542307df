import { createRequire } from "node:module";
import {
  frameMinSize,
  MethodId,
  ReplyCode,
  type FieldTable,
  type FieldValue,
  type Method,
} from "../../wire/index.ts";
import { readCredentials, saslMechanisms } from "../auth/index.ts";
import { ConnectionError } from "../errors.ts";
import type { VirtualHost } from "../virtual-host.ts";
import type { ConnectionContext } from "./connection.ts";
import type { Output } from "./output.ts";

/** What the peers agreed on in connection.tune and tune-ok. */
export interface Tuning {
  readonly channelMax: number;
  readonly frameMax: number;
  readonly heartbeatSeconds: number;
}

type Step = "start-ok" | "tune-ok" | "open" | "done";

/** From the protocol header to connection.open-ok: authentication, tuning, choice of the virtual host. */
/** What a login has settled. */
export interface LoggedIn {
  readonly vhost: VirtualHost;
  readonly user: string;
  /** The client asked to be told when the broker cancels a consumer. */
  readonly wantsCancelNotify: boolean;
  /** And when it is stopped because memory or disk run short. */
  readonly wantsBlocked: boolean;
}

export class Handshake {
  tuning: Tuning | undefined;
  private readonly context: ConnectionContext;
  private readonly output: Output;
  private readonly fromLoopback: boolean;
  private step: Step = "start-ok";
  private clientCapabilities: FieldTable = new Map();
  private user = "";
  private vhost: VirtualHost | undefined;

  constructor(context: ConnectionContext, output: Output, fromLoopback: boolean) {
    this.context = context;
    this.output = output;
    this.fromLoopback = fromLoopback;
  }

  /**
   * A failed login ends in silence, as AMQP 0-9-1 §4.10 wants it, unless the client has said that it understands
   * connection.close at that point. https://www.rabbitmq.com/docs/auth-notification
   */
  get hangsUpSilently(): boolean {
    return this.step === "start-ok" && !this.clientCan("authentication_failure_close");
  }

  start(): void {
    this.output.method(0, {
      id: MethodId.ConnectionStart,
      versionMajor: 0,
      versionMinor: 9,
      serverProperties,
      mechanisms: saslMechanisms,
      locales: "en_US",
    });
  }

  /** Takes the client's next step; true when the connection is open. @throws ConnectionError 403, 503, 530 */
  handle(method: Method): boolean {
    if (this.step === "start-ok" && method.id === MethodId.ConnectionStartOk) {
      this.startOk(method);
      return false;
    }
    if (this.step === "tune-ok" && method.id === MethodId.ConnectionTuneOk) {
      this.tuneOk(method);
      return false;
    }
    if (this.step === "open" && method.id === MethodId.ConnectionOpen) {
      this.open(method.virtualHost);
      return true;
    }
    throw new ConnectionError(ReplyCode.ChannelError, `unexpected method in connection state ${this.step}`);
  }

  result(): LoggedIn {
    return {
      vhost: this.vhost!,
      wantsCancelNotify: this.clientCan("consumer_cancel_notify"),
      wantsBlocked: this.clientCan("connection.blocked"),
      user: this.user,
    };
  }

  private startOk(method: Extract<Method, { id: typeof MethodId.ConnectionStartOk }>): void {
    const offered = method.clientProperties.get("capabilities");
    if (offered?.type === "table") this.clientCapabilities = offered.value;
    const credentials = readCredentials(method.mechanism, method.response as Uint8Array);
    if (!credentials) {
      throw refused(
        `unsupported authentication mechanism '${method.mechanism}'; offered are ${saslMechanisms}`,
      );
    }
    const { user, password } = credentials;
    const isGuestFromAfar = user === this.context.loopbackUser && !this.fromLoopback;
    if (isGuestFromAfar) {
      this.context.log.warn(
        { user },
        `user '${user}' may only log in from this machine: create another user`,
      );
    }
    if (isGuestFromAfar || !this.context.users.verify(user, password)) {
      throw refused(
        `Login was refused using authentication mechanism ${method.mechanism}. For details see the broker logfile.`,
      );
    }
    this.user = user;
    this.step = "tune-ok";
    const { channelMax, frameMax, heartbeatSeconds } = this.context.limits;
    this.output.method(0, { id: MethodId.ConnectionTune, channelMax, frameMax, heartbeat: heartbeatSeconds });
  }

  private tuneOk(method: Extract<Method, { id: typeof MethodId.ConnectionTuneOk }>): void {
    const { limits } = this.context;
    const channelMax = negotiated("channel_max", method.channelMax, limits.channelMax, 1);
    const frameMax = negotiated("frame_max", method.frameMax, limits.frameMax, frameMinSize);
    this.tuning = { channelMax, frameMax, heartbeatSeconds: method.heartbeat };
    this.step = "open";
  }

  private open(name: string): void {
    const vhost = this.context.virtualHosts.get(name);
    if (!vhost) throw new ConnectionError(ReplyCode.NotAllowed, `vhost ${name} not found`);
    this.vhost = vhost;
    this.step = "done";
    this.output.method(0, { id: MethodId.ConnectionOpenOk });
  }

  private clientCan(capability: string): boolean {
    const field = this.clientCapabilities.get(capability);
    return field?.type === "bool" && field.value;
  }
}

/** The client may only lower what was offered, and 0, "no limit", is higher. In RabbitMQ's words. */
function negotiated(what: string, wanted: number, offered: number, least: number): number {
  if (wanted === 0 || wanted > offered) {
    const shown = wanted === 0 ? "0 (no limit)" : wanted;
    throw new ConnectionError(
      ReplyCode.NotAllowed,
      `negotiated ${what} = ${shown} is higher than the maximum allowed value (${offered})`,
    );
  }
  if (wanted < least) {
    throw new ConnectionError(
      ReplyCode.NotAllowed,
      `negotiated ${what} = ${wanted} is lower than the minimum allowed value (${least})`,
    );
  }
  return wanted;
}

function refused(text: string): ConnectionError {
  return new ConnectionError(ReplyCode.AccessRefused, text);
}

function capabilities(): FieldTable {
  const names = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "per_consumer_qos",
    "authentication_failure_close",
  ];
  return new Map(names.map((name) => [name, { type: "bool", value: true } satisfies FieldValue]));
}

const { version } = createRequire(import.meta.url)("../../../package.json") as { version: string };

const serverProperties: FieldTable = new Map<string, FieldValue>([
  ["capabilities", { type: "table", value: capabilities() }],
  ["product", { type: "longstr", value: "Warren" }],
  ["version", { type: "longstr", value: version }],
  ["platform", { type: "longstr", value: `Node.js ${process.version}` }],
  ["copyright", { type: "longstr", value: "The Warren authors" }],
  ["information", { type: "longstr", value: "Licensed under the Apache License 2.0" }],
]);

import { createRequire } from "node:module";
import {
  frameMinSize,
  MethodId,
  ReplyCode,
  type FieldTable,
  type FieldValue,
  type Method,
} from "../../wire/index.ts";
import { readCredentials, saslMechanisms, type Origin } from "../auth/index.ts";
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

type Step = "start-ok" | "authenticating" | "tune-ok" | "open" | "done";

/** What a login has settled. */
export interface LoggedIn {
  readonly vhost: VirtualHost;
  readonly user: string;
  /** The client asked to be told when the broker cancels a consumer. */
  readonly wantsCancelNotify: boolean;
  /** And when it is stopped because memory or disk run short. */
  readonly wantsBlocked: boolean;
  /** Of SASL. */
  readonly mechanism: string;
  /** What the client says of itself. */
  readonly clientProperties: FieldTable;
  readonly tuning: Tuning;
}

/** From the protocol header to connection.open-ok: authentication, tuning, choice of the virtual host. */
export class Handshake {
  tuning: Tuning | undefined;
  private readonly context: ConnectionContext;
  private readonly output: Output;
  private readonly origin: Origin;
  private readonly loginSettled: (refusal?: ConnectionError) => void;
  private step: Step = "start-ok";
  private clientProperties: FieldTable = new Map();
  private clientCapabilities: FieldTable = new Map();
  private mechanism = "";
  private user = "";
  private vhost: VirtualHost | undefined;
  private callOff: (() => void) | undefined;

  /** Calls `loginSettled` when it is known whether the client is who it says, with the refusal if it is not. */
  constructor(
    context: ConnectionContext,
    output: Output,
    origin: Origin,
    loginSettled: (refusal?: ConnectionError) => void,
  ) {
    this.context = context;
    this.output = output;
    this.origin = origin;
    this.loginSettled = loginSettled;
  }

  /** It is being found out who the client is: nothing more can be handled until then. */
  get isAuthenticating(): boolean {
    return this.step === "authenticating";
  }

  /** The connection ends: nobody waits for the login any more. */
  abandon(): void {
    this.callOff?.();
  }

  /**
   * A failed login ends in silence, as AMQP 0-9-1 §4.10 wants it, unless the client has said that it understands
   * connection.close at that point. https://www.rabbitmq.com/docs/auth-notification
   */
  get hangsUpSilently(): boolean {
    const isLoggingIn = this.step === "start-ok" || this.step === "authenticating";
    return isLoggingIn && !this.clientCan("authentication_failure_close");
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

  /** Takes the client's next step; true when the connection is open. @throws ConnectionError 403, 504, 530 */
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
      mechanism: this.mechanism,
      clientProperties: this.clientProperties,
      tuning: this.tuning!,
    };
  }

  private startOk(method: Extract<Method, { id: typeof MethodId.ConnectionStartOk }>): void {
    this.clientProperties = method.clientProperties;
    this.mechanism = method.mechanism;
    const offered = method.clientProperties.get("capabilities");
    if (offered?.type === "table") this.clientCapabilities = offered.value;
    const credentials = readCredentials(method.mechanism, method.response as Uint8Array);
    if (!credentials) {
      throw refused(
        `unsupported authentication mechanism '${method.mechanism}'; offered are ${saslMechanisms}`,
      );
    }
    this.step = "authenticating";
    this.callOff = this.context.logins.attempt(credentials, this.origin, (isAccepted) => {
      this.callOff = undefined;
      if (isAccepted) this.accepted(credentials.user);
      this.loginSettled(isAccepted ? undefined : loginRefused(method.mechanism));
    });
  }

  private accepted(user: string): void {
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
    if (!vhost) throw notAllowed(`vhost ${name} not found`);
    this.assertConnectionLimits(vhost);
    if (!this.context.rules.permission(this.user, name)) throw notAllowed(this.refusedVhost(name));
    this.vhost = vhost;
    this.step = "done";
    this.output.method(0, { id: MethodId.ConnectionOpenOk });
  }

  /** Those of the virtual host come first, even for who may not open it. */
  private assertConnectionLimits({ name, limits }: VirtualHost): void {
    const { connections, users } = this.context;
    if (isReached(limits.maxConnections, connections.ofVhost(name))) {
      throw notAllowed(`${this.refusedVhost(name)}: connection limit (${limits.maxConnections}) is reached`);
    }
    const { maxConnections } = users.get(this.user)?.limits ?? {};
    if (isReached(maxConnections, connections.ofUser(this.user))) {
      throw notAllowed(
        `connection refused for user '${this.user}': user connection limit (${maxConnections}) is reached`,
      );
    }
  }

  private refusedVhost(name: string): string {
    return `access to vhost '${name}' refused for user '${this.user}'`;
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

function isReached(limit: number | undefined, open: Iterable<unknown>): boolean {
  return limit !== undefined && [...open].length >= limit;
}

function notAllowed(text: string): ConnectionError {
  return new ConnectionError(ReplyCode.NotAllowed, text);
}

function loginRefused(mechanism: string): ConnectionError {
  return refused(
    `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
  );
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

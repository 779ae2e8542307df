import type { Broker, ClientActions, UserView, VirtualHostView } from "../broker/index.ts";
import { badRequest, HttpError, notAuthorised, nothingThere, notFound } from "./http-error.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { Rates } from "./rates.ts";
import type { Access } from "./resource.ts";

/** What all requests share. */
export interface ApiContext {
  readonly broker: Broker;
  readonly node: NodeFacts;
  readonly rates: Rates;
}

export interface RequestParts {
  readonly user: UserView;
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The body's text; none is an empty one. */
  readonly body: string;
}

/** A request of somebody who has logged in. */
export class ApiRequest {
  readonly broker: Broker;
  readonly node: NodeFacts;
  readonly rates: Rates;
  readonly user: UserView;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: RequestParts["headers"];
  private readonly parts: RequestParts;

  constructor({ broker, node, rates }: ApiContext, parts: RequestParts) {
    this.broker = broker;
    this.node = node;
    this.rates = rates;
    this.user = parts.user;
    this.query = parts.query;
    this.headers = parts.headers;
    this.parts = parts;
  }

  /** The same request, now that its body has come. */
  with(body: string, context: ApiContext): ApiRequest {
    return new ApiRequest(context, { ...this.parts, body });
  }

  get isAdministrator(): boolean {
    return this.user.tags.includes("administrator");
  }

  /** May see what belongs to others. */
  get isMonitor(): boolean {
    return this.isAdministrator || this.user.tags.includes("monitoring");
  }

  parameter(name: string): string {
    return this.parts.parameters[name];
  }

  /** @throws HttpError 401 */
  assertAccess(access: Access): void {
    if (this.isAdministrator) return;
    if (access === "administrator") throw notAuthorised("Not administrator user");
    if (access === "monitoring" && !this.isMonitor) throw notAuthorised("Not monitor user");
    const name = this.parts.parameters["vhost"];
    const needsVhost = access === "vhost" || (access === "vhost or monitoring" && !this.isMonitor);
    // Of one that does not exist everybody may learn that it does not.
    if (!needsVhost || name === undefined || !this.broker.inspection.vhost(name)) return;
    if (!this.mayOpen(name)) throw notAuthorised("User not authorised to access virtual host");
  }

  /** What another user has made: for monitors to see, for administrators to end. @throws HttpError 401 */
  assertMayTouch(owner: string, toEnd: boolean): void {
    if (owner === this.user.name || (toEnd ? this.isAdministrator : this.isMonitor)) return;
    throw notAuthorised("User not authorised to access object");
  }

  mayOpen(vhost: string): boolean {
    return this.broker.inspection.mayOpen(this.user.name, vhost);
  }

  /** The virtual host of the path. @throws HttpError 404 */
  get vhost(): VirtualHostView {
    const vhost = this.broker.inspection.vhost(this.parameter("vhost"));
    if (!vhost) throw nothingThere();
    return vhost;
  }

  /** The same, if the path names one. @throws HttpError 404 */
  get givenVhost(): VirtualHostView | undefined {
    return this.parts.parameters["vhost"] === undefined ? undefined : this.vhost;
  }

  /** Those whose queues and exchanges the user is shown: all, one, or those that it may open. @throws HttpError 404 */
  get listedVhosts(): readonly VirtualHostView[] {
    const one = this.givenVhost;
    if (one) return [one];
    const { vhosts } = this.broker.inspection;
    return this.isAdministrator ? vhosts : vhosts.filter(({ name }) => this.mayOpen(name));
  }

  /** Does as the user in the virtual host of the path. @throws HttpError 404 */
  get actions(): ClientActions {
    const name = this.parameter("vhost");
    if (!this.broker.inspection.vhost(name)) throw notFound("vhost_not_found");
    if (!this.mayOpen(name)) throw notAuthorised("Access refused.");
    return this.broker.as(this.user.name, name);
  }

  /** The body's fields; an empty body has none. @throws HttpError 400 */
  get body(): JsonObject {
    const { body } = this.parts;
    if (body === "") return {};
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      throw badRequest("not_json");
    }
    if (!isObject(value)) throw badRequest("not_json");
    return value;
  }

  /** The body's fields, of which these must be there. @throws HttpError 400 */
  bodyWith<Name extends string>(...names: readonly Name[]): JsonObject & Record<Name, unknown> {
    const { body } = this;
    const missing = names.filter((name) => body[name] === undefined).map((name) => `{key_missing,${name}}`);
    if (missing.length > 0) throw badRequest(erlangList(missing));
    return body as JsonObject & Record<Name, unknown>;
  }

  /** @throws HttpError 400 */
  header(name: string): string | undefined {
    const value = this.headers[name];
    if (Array.isArray(value)) throw new HttpError(400);
    return value;
  }
}

/** As Erlang prints a list: over several lines when it is longer than one. */
function erlangList(items: readonly string[]): string {
  const inOneLine = `[${items.join(",")}]`;
  return inOneLine.length < erlangLineCharacters ? inOneLine : `[${items.join(",\n ")}]`;
}

const erlangLineCharacters = 79;

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** RabbitMQ takes `true` and "true". @throws HttpError 400 */
export function booleanOf(value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value === "boolean") return value;
  if (value === "true" || value === "false") return value === "true";
  throw badRequest(["not_boolean", shown(value)]);
}

/** A whole number, as such or as text. @throws HttpError 400 */
export function integerOf(value: unknown): number {
  const number = typeof value === "string" && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number)) return number;
  throw badRequest(["not_integer", shown(value)]);
}

/** @throws HttpError 400 */
export function textOf(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw badRequest(["not_string", name]);
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

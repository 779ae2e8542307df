import type { ApiRequest } from "./api-request.ts";

export type ApiMethod = "GET" | "PUT" | "POST" | "DELETE";

/** Who may, beside administrators. All must have one of the tags that RabbitMQ's management plugin asks for. */
export type Access =
  /** Everybody. */
  | "user"
  /** Who may open the virtual host that the path names. */
  | "vhost"
  /** The same, or `monitoring`. */
  | "vhost or monitoring"
  | "monitoring"
  | "administrator";

/** What is sent back: JSON with status 200, or one of these. Text goes as it is, with the content type among its headers. */
export class Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** Answers with what is to be sent as JSON, or with an {@link Answer}. */
export type Handler = (request: ApiRequest) => unknown;

/** Something with a path, and what can be done to it. */
export interface Resource {
  /** Below /api unless it says where, with parameters as `:name`. */
  readonly path: string;
  readonly below?: string;
  readonly access: Access;
  readonly methods: { readonly [method in ApiMethod]?: Handler };
  /** Who may change it, where that is not who may see it. */
  readonly changedBy?: Access;
}

export const noContent: Answer = new Answer(204);

/** As RabbitMQ says it of what was put there: whether it is new. */
export function put(isNew: boolean): Answer {
  return new Answer(isNew ? 201 : 204);
}

/** A refusal, with RabbitMQ's status and body. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  /** Undefined for an answer without one. */
  readonly body: { readonly error: string; readonly reason: Reason } | undefined;

  constructor(status: number, body?: { error: string; reason: Reason }) {
    super(body ? `${body.error}: ${JSON.stringify(body.reason)}` : `${status}`);
    this.status = status;
    this.body = body;
  }
}

/** RabbitMQ shows some reasons as what they are in Erlang: `{not_boolean,"maybe"}` becomes a list. */
export type Reason = string | readonly string[];

export function badRequest(reason: Reason): HttpError {
  return new HttpError(400, { error: "bad_request", reason });
}

/** The path names something that is not there, or means nothing. */
export function nothingThere(): HttpError {
  return new HttpError(404, { error: "Object Not Found", reason: "Not Found" });
}

/** Something that the request needs is not there. */
export function notFound(reason: string): HttpError {
  return new HttpError(404, { error: "not_found", reason });
}

export function notAuthorised(reason: string): HttpError {
  return new HttpError(401, { error: "not_authorised", reason });
}

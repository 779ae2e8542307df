import type { IncomingMessage, ServerResponse } from "node:http";
import { fastify, type FastifyReply, type FastifyRequest, type HTTPMethods } from "fastify";
import type { Logger } from "../base/index.ts";
import { ApiRequest, type ApiContext } from "./api-request.ts";
import { authenticate } from "./authentication.ts";
import { resources } from "./controllers/index.ts";
import { HttpError, nothingThere } from "./http-error.ts";
import { Answer, type ApiMethod, type Resource } from "./resource.ts";

/** Bodies may be this long: what is published comes in one, and takes more room as base64. */
const mostBodyBytes = 32 << 20;
/** A name may have 255 bytes, each of which may be percent-encoded twice. */
const mostParameterCharacters = 255 * 5;
const methods: HTTPMethods[] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];

declare module "fastify" {
  interface FastifyRequest {
    /** Set when it is known who asks. */
    api: ApiRequest | undefined;
  }
}

/** RabbitMQ's management API at `/api`, and what else needs a login. */
export async function createApi(
  context: ApiContext,
  logger: Logger,
): Promise<(request: IncomingMessage, response: ServerResponse) => void> {
  const app = fastify({
    bodyLimit: mostBodyBytes,
    exposeHeadRoutes: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: mostParameterCharacters },
    frameworkErrors: ({ statusCode = 400 }, _request, reply) =>
      refuse(reply as FastifyReply, new HttpError(statusCode)),
  });
  app.decorateRequest("api", undefined);
  // Whatever it says it is, it is JSON: RabbitMQ looks at the body alone.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
  app.setNotFoundHandler((_request, reply) => refuse(reply, nothingThere()));
  app.setErrorHandler((error, request, reply) => refuse(reply, httpErrorOf(error, request, logger)));
  for (const resource of resources) {
    app.route({
      method: methods,
      url: `${resource.below ?? "/api"}${resource.path}`,
      // Before the body is read: from strangers it never is.
      onRequest: async (request, reply) => {
        setHeaders(reply);
        if (answerByMethod(resource, request, reply)) return reply;
        return admit(context, resource, request);
      },
      handler: async (request, reply) => {
        const handle = resource.methods[apiMethod(request)!]!;
        send(reply, await handle(withBody(context, request)));
        return reply;
      },
    });
  }
  await app.ready();
  return (request, response) => app.routing(request, response);
}

/** HEAD is GET without its body. */
function apiMethod({ method }: FastifyRequest): ApiMethod | undefined {
  if (method === "HEAD") return "GET";
  return (["GET", "PUT", "POST", "DELETE"] as const).find((known) => known === method);
}

/** OPTIONS, and methods that there are not for this: anybody may know. True when that was the answer. */
function answerByMethod(resource: Resource, request: FastifyRequest, reply: FastifyReply): boolean {
  const method = apiMethod(request);
  const isOptions = request.method === "OPTIONS";
  if (!isOptions && method !== undefined && resource.methods[method]) return false;
  const known = Object.keys(resource.methods);
  const allowed = known.includes("GET") ? ["HEAD", ...known] : known;
  void reply
    .header("allow", [...allowed, "OPTIONS"].join(", "))
    .code(isOptions ? 200 : 405)
    .send();
  return true;
}

/** @throws HttpError 400, 401, 403 */
async function admit(context: ApiContext, resource: Resource, request: FastifyRequest): Promise<void> {
  const changes = request.method !== "GET" && request.method !== "HEAD";
  if (changes) assertSameSite(request);
  const user = await authenticate(request.raw, context.broker);
  request.api = new ApiRequest(context, {
    user,
    parameters: request.params as Record<string, string>,
    query: flat(request.query as Record<string, string | string[]>),
    headers: request.headers,
    body: "",
  });
  request.api.assertAccess(changes ? (resource.changedBy ?? resource.access) : resource.access);
}

/**
 * A browser that knows the credentials would add them to what another site's page sends here, too. It says then where the
 * page is from.
 * @throws HttpError 403
 */
function assertSameSite({ headers }: FastifyRequest): void {
  const { origin, host } = headers;
  if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)) return;
  throw new HttpError(403, {
    error: "forbidden",
    reason: "requests of other sites' pages change nothing here",
  });
}

function withBody(context: ApiContext, request: FastifyRequest): ApiRequest {
  const { api, body } = request;
  if (typeof body !== "string" || body === "") return api!;
  return api!.with(body, context);
}

/** Of a parameter that is given twice the last counts. */
function flat(query: Readonly<Record<string, string | string[]>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(query).map(([name, value]) => [name, typeof value === "string" ? value : value.at(-1)!]),
  );
}

function setHeaders(reply: FastifyReply): void {
  void reply.headers({
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    vary: "accept, accept-encoding, origin",
  });
}

function send(reply: FastifyReply, result: unknown): void {
  const { status, body, headers } = result instanceof Answer ? result : new Answer(200, result);
  void reply.code(status).headers(headers);
  if (body === undefined || typeof body === "string") void reply.send(body);
  // As bytes, since to text a charset would be added, which JSON does not have.
  else void reply.header("content-type", "application/json").send(Buffer.from(JSON.stringify(body)));
}

function refuse(reply: FastifyReply, { status, body }: HttpError): void {
  setHeaders(reply);
  if (status === 401) void reply.header("www-authenticate", 'Basic realm="Warren"');
  send(reply, new Answer(status, body));
}

/** What a handler threw that is no refusal is our mistake; the client is not told more. */
function httpErrorOf(error: unknown, request: FastifyRequest, logger: Logger): HttpError {
  if (error instanceof HttpError) return error;
  const { statusCode, message } = error as { statusCode?: number; message: string };
  if (statusCode !== undefined && statusCode < 500)
    return new HttpError(statusCode, { error: "bad_request", reason: message });
  logger.error(
    { method: request.method, url: request.url, error: (error as Error).stack },
    "http request failed",
  );
  return new HttpError(500, { error: "internal_server_error", reason: "the broker's log says more" });
}

import type { IncomingMessage } from "node:http";
import type { Broker, UserView } from "../broker/index.ts";
import { HttpError } from "./http-error.ts";

/** Tags that permit to use the API at all. https://www.rabbitmq.com/docs/management#permissions */
const managementTags: ReadonlySet<string> = new Set([
  "administrator",
  "monitoring",
  "policymaker",
  "management",
]);

/** Who asks, by HTTP's basic authentication. @throws HttpError 400, 401 */
export async function authenticate(request: IncomingMessage, broker: Broker): Promise<UserView> {
  const { authorization } = request.headers;
  if (authorization === undefined) throw new HttpError(401);
  const credentials = basicCredentials(authorization);
  const { remoteAddress = "" } = request.socket;
  const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/, "");
  const origin = { address, isLoopback: address === "::1" || address.startsWith("127.") };
  const isRight = await whileThere(request, (signal) => broker.login(credentials, origin, signal));
  const user = isRight ? broker.inspection.user(credentials.user) : undefined;
  if (!user) throw new HttpError(401, { error: "not_authorized", reason: "Login failed" });
  if (!user.tags.some((tag) => managementTags.has(tag))) {
    throw new HttpError(401, { error: "not_authorised", reason: "Not management user" });
  }
  return user;
}

/** @throws HttpError 401 for another scheme, 400 for what is not base64 of `user:password`. */
function basicCredentials(authorization: string): { user: string; password: string } {
  const [, encoded] = /^basic +(.*)$/i.exec(authorization) ?? [];
  if (encoded === undefined) throw new HttpError(401, { error: "not_authorized", reason: "Login failed" });
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0 || !/^[\w+/-]+={0,2}$/.test(encoded)) throw new HttpError(400);
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The signal comes when nobody waits for the answer any more. */
async function whileThere<T>(
  { socket }: IncomingMessage,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  socket.once("close", abort);
  try {
    return await work(controller.signal);
  } finally {
    socket.off("close", abort);
  }
}

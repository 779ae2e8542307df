import { ChannelError, ConnectionError } from "../../broker/index.ts";
import { badRequest, notAuthorised, notFound } from "../http-error.ts";

const accessRefused = 403;
const missing = 404;

/** Does what an AMQP client could; what that would be told as an error of its channel is told as RabbitMQ tells it over HTTP. */
export async function asClient<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ChannelError) && !(error instanceof ConnectionError)) throw error;
    if (error.code === accessRefused) throw notAuthorised("Access refused.");
    if (error.code === missing) throw notFound(error.message);
    throw badRequest(error.message);
  }
}

import { AMQPConnectionError } from "rabbitmq-client";

/**
 * Whether what was asked for was cut short by something else, so that it may be asked again: the connection broke, or the
 * channel was closed for what somebody else has asked on it.
 */
export function isInterruption(error: unknown): boolean {
  if (error instanceof AMQPConnectionError) return true;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return code === "CH_CLOSE" || typeof syscall === "string";
}

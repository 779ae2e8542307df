import { RefusedError, type Channel } from "../../../client/index.ts";
import type { QueueDefinition } from "../../queue.ts";

export type QueueType = "classic" | "quorum";

/** The queue, what leads to it, its dead-letter exchange and the queue for dead letters. */
export async function declareTopology(
  channel: Channel,
  queue: QueueDefinition,
  type: QueueType,
): Promise<void> {
  const { name, deadLetter, binding, isPassive } = queue;
  if (binding) {
    const { exchange } = binding;
    await explained(`exchange '${exchange}'`, () =>
      channel.exchangeDeclare({ exchange, type: "topic", durable: true }),
    );
  }
  if (isPassive) return;
  const typed = type === "quorum" ? { "x-queue-type": type } : {};
  await explained(`exchange '${deadLetter.exchange}'`, () =>
    channel.exchangeDeclare({ exchange: deadLetter.exchange, type: "direct", durable: true }),
  );
  await explained(`queue '${deadLetter.queue}'`, () =>
    channel.queueDeclare({ queue: deadLetter.queue, durable: true, arguments: typed }),
  );
  await channel.queueBind(deadLetter);
  await explained(`queue '${name}'`, () =>
    channel.queueDeclare({ queue: name, durable: true, arguments: queueArguments(queue, type) }),
  );
  for (const routingKey of binding?.routingKeys ?? [])
    await channel.queueBind({ exchange: binding!.exchange, queue: name, routingKey });
}

/** @throws Error that says what to do when something of the name is there that is not the same. */
async function explained(what: string, declare: () => Promise<unknown>): Promise<void> {
  try {
    await declare();
  } catch (error) {
    if (!(error instanceof RefusedError) || error.code !== "PRECONDITION_FAILED") throw error;
    throw new Error(
      `${what} exists with other arguments than this task asks for. Describe it as it is (queue: { name, maxPriority, ttl, deadLetter }), ` +
        `choose another name, or delete it. The broker says: ${error.message}`,
      { cause: error },
    );
  }
}

function queueArguments(
  { maxPriority, ttl, deadLetter }: QueueDefinition,
  type: QueueType,
): Record<string, unknown> {
  return {
    "x-dead-letter-exchange": deadLetter.exchange,
    "x-dead-letter-routing-key": deadLetter.routingKey,
    ...(ttl !== undefined && { "x-message-ttl": ttl }),
    ...(type === "quorum"
      ? {
          "x-queue-type": "quorum",
          "x-dead-letter-strategy": "at-least-once",
          "x-overflow": "reject-publish",
        }
      : maxPriority > 0 && { "x-max-priority": maxPriority }),
  };
}

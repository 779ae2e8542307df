import { fieldText, type FieldTable, type FieldValue } from "../../wire/index.ts";

/** What a queue does beyond its maximum length. https://www.rabbitmq.com/docs/maxlength#overflow-behaviour */
type Overflow = "drop-head" | "reject-publish" | "reject-publish-dlx";

/** What a queue's arguments say, once they have been checked. Limits that are not set are infinite. */
export interface QueueSettings {
  readonly type: "classic" | "quorum";
  readonly ttlMs: number;
  /** Unused for so long, the queue is deleted. */
  readonly expiresMs: number;
  readonly maxLength: number;
  /** Of ready bodies. */
  readonly maxBytes: number;
  readonly overflow: Overflow;
  /** Priorities go from 0 to this. */
  readonly maxPriority: number;
  /** Where dead letters go: an exchange's name, perhaps that of the default exchange; undefined drops them. */
  readonly deadLetterExchange: string | undefined;
  /** Undefined keeps the message's own. */
  readonly deadLetterRoutingKey: string | undefined;
  /** Dead letters stay until a queue has taken them. */
  readonly deadLettersAtLeastOnce: boolean;
  readonly singleActiveConsumer: boolean;
  /** Returned to the queue more often, a message is dead. */
  readonly deliveryLimit: number;
}

/** Reads arguments that have been checked. `defaultDeliveryLimit` is for quorum queues that have none of their own. */
export function queueSettings(table: FieldTable, defaultDeliveryLimit: number): QueueSettings {
  const text = (name: string): string | undefined => {
    const field = table.get(name);
    return field?.type === "longstr" ? fieldText(field) : undefined;
  };
  const limit = (name: string): number => {
    const field = table.get(name);
    const value = field === undefined ? Number.NaN : Number(fieldText(field));
    // To RabbitMQ any text is more than any number.
    return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
  };
  const type = text("x-queue-type") === "quorum" ? "quorum" : "classic";
  const overflow = (text("x-overflow") ?? "drop-head") as Overflow;
  const deadLetterExchange = text("x-dead-letter-exchange");
  const maxPriority = table.has("x-max-priority") ? limit("x-max-priority") : 0;
  return {
    type,
    ttlMs: limit("x-message-ttl"),
    expiresMs: limit("x-expires"),
    maxLength: limit("x-max-length"),
    maxBytes: limit("x-max-length-bytes"),
    // Quorum queues have no such thing, and RabbitMQ takes the default instead.
    overflow: type === "quorum" && overflow === "reject-publish-dlx" ? "drop-head" : overflow,
    maxPriority,
    deadLetterExchange,
    deadLetterRoutingKey: text("x-dead-letter-routing-key"),
    // https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering
    deadLettersAtLeastOnce:
      text("x-dead-letter-strategy") === "at-least-once" &&
      deadLetterExchange !== undefined &&
      overflow === "reject-publish",
    singleActiveConsumer: isTrue(table.get("x-single-active-consumer")),
    deliveryLimit: table.has("x-delivery-limit") ? limit("x-delivery-limit") : defaultDeliveryLimit,
  };
}

function isTrue(field: FieldValue | undefined): boolean {
  return field?.type === "bool" && field.value;
}

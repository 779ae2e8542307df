import type { FieldTable, FieldValue } from "../../wire/index.ts";
import { composeMessage, knownProperties, type MessageView } from "../storage/index.ts";

/** The message with a header that says how often it has come back. https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling */
export function withDeliveryCount(message: MessageView, count: number): MessageView {
  const { headers } = knownProperties(message);
  const value = { type: "long", value: BigInt(count) } as const;
  return composeMessage(message, { headers: withHeader(headers, "x-delivery-count", value) });
}

/** A table with a value set. It is sorted by its keys then, as RabbitMQ's are when it has set one. */
function withHeader(table: FieldTable, key: string, value: FieldValue): FieldTable {
  return sortedTable(new Map([...table, [key, value]]));
}

export function sortedTable(table: FieldTable): FieldTable {
  return new Map([...table].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

import { fieldText, ReplyCode, type FieldTable } from "../wire/index.ts";
import { ChannelError } from "./errors.ts";

/** A further routing key of a message, and which header named it. */
export interface CopyKey {
  readonly header: "CC" | "BCC";
  readonly key: string;
}

/**
 * The routing keys that stand in the headers CC and BCC. https://www.rabbitmq.com/docs/sender-selected
 * @throws ChannelError 406 when either is not a list. What is no text in the list is passed over, as in RabbitMQ.
 */
export function copyKeys(headers: FieldTable): CopyKey[] {
  const keys: CopyKey[] = [];
  for (const header of ["CC", "BCC"] as const) {
    const field = headers.get(header);
    if (field === undefined) continue;
    if (field.type !== "array") {
      throw new ChannelError(
        ReplyCode.PreconditionFailed,
        `invalid message: {unacceptable_type_in_header,"${header}",${field.type}}`,
      );
    }
    for (const value of field.value) {
      if (value.type === "longstr") keys.push({ header, key: fieldText(value) });
    }
  }
  return keys;
}

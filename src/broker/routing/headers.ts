import { fieldText, ReplyCode, sameValue, type FieldTable, type FieldValue } from "../../wire/index.ts";
import { ChannelError } from "../errors.ts";
import type { Binding, ExchangeType, RoutedMessage, RoutingTarget } from "./exchange-type.ts";

type Match = "all" | "any" | "all-with-x" | "any-with-x";

/**
 * Routes by the message's headers: a binding's arguments are what must be there. A `void` argument asks only that the
 * header exists. `x-match` says whether all or any must match; headers that start with `x-` are ignored unless it ends
 * in `-with-x`. https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-headers
 */
export class HeadersExchange implements ExchangeType {
  readonly needsHeaders = true;
  private readonly bindings = new Map<Binding, { any: boolean; wanted: [string, FieldValue][] }>();

  add(binding: Binding): void {
    const match = matchOf(binding.arguments);
    const withX = match.endsWith("-with-x");
    const wanted = [...binding.arguments].filter(([key]) =>
      withX ? key !== "x-match" : !key.startsWith("x-"),
    );
    this.bindings.set(binding, { any: match.startsWith("any"), wanted });
  }

  remove(binding: Binding): void {
    this.bindings.delete(binding);
  }

  route(message: RoutedMessage, collect: (target: RoutingTarget) => void): void {
    const headers = message.headers();
    const has = ([key, value]: [string, FieldValue]): boolean => {
      const header = headers.get(key);
      return header !== undefined && (value.type === "void" || sameValue(header, value));
    };
    for (const [binding, { any, wanted }] of this.bindings) {
      if (any ? wanted.some(has) : wanted.every(has)) collect(binding.destination);
    }
  }
}

/** @throws ChannelError 406 when `x-match` is none of the four words, in RabbitMQ's terms. */
function matchOf(bindingArguments: FieldTable): Match {
  const field = bindingArguments.get("x-match");
  if (field === undefined) return "all";
  if (field.type !== "longstr") {
    throw new ChannelError(
      ReplyCode.PreconditionFailed,
      `Invalid x-match field type ${field.type} (value ${fieldText(field)}); expected longstr`,
    );
  }
  const match = fieldText(field);
  if (match === "all" || match === "any" || match === "all-with-x" || match === "any-with-x") return match;
  throw new ChannelError(
    ReplyCode.PreconditionFailed,
    `Invalid x-match field value <<"${match}">>; expected all, any, all-with-x, or any-with-x`,
  );
}

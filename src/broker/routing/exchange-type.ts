import type { FieldTable } from "../../wire/index.ts";

/** What an exchange routes to: a queue, or another exchange. Routing knows nothing else about either. */
export interface RoutingTarget {
  readonly name: string;
}

/** What routing may ask of a message. Headers are decoded only when asked for. */
export interface RoutedMessage {
  readonly routingKey: string;
  headers(): FieldTable;
}

export interface Binding {
  readonly destination: RoutingTarget;
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

/**
 * How an exchange finds the targets of a message. One implementation per exchange type; each keeps the bindings in the
 * form that answers fastest. The exchange has checked that bindings are not added twice and exist when removed.
 */
export interface ExchangeType {
  /** Whether {@link route} looks at more than the routing key, so that its answer must not be cached by key. */
  readonly needsHeaders: boolean;
  add(binding: Binding): void;
  remove(binding: Binding): void;
  /** Calls `collect` for each target; it may be called more than once for the same. */
  route(message: RoutedMessage, collect: (target: RoutingTarget) => void): void;
}

export const routingTypeNames = ["direct", "fanout", "headers", "topic"] as const;
/** How an exchange routes. */
export type RoutingTypeName = (typeof routingTypeNames)[number];

/** A delayed exchange holds messages for a while and routes them then as its argument `x-delayed-type` says. */
export type ExchangeTypeName = RoutingTypeName | "x-delayed-message";
export const exchangeTypeNames: readonly ExchangeTypeName[] = [...routingTypeNames, "x-delayed-message"];

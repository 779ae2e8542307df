import type { Binding, ExchangeType, RoutedMessage, RoutingTarget } from "./exchange-type.ts";

/** Routes to the bindings whose key is the routing key. */
export class DirectExchange implements ExchangeType {
  readonly needsHeaders = false;
  private readonly byKey = new Map<string, Binding[]>();

  add(binding: Binding): void {
    const bindings = this.byKey.get(binding.routingKey);
    if (bindings) bindings.push(binding);
    else this.byKey.set(binding.routingKey, [binding]);
  }

  remove(binding: Binding): void {
    const bindings = this.byKey.get(binding.routingKey)!;
    bindings.splice(bindings.indexOf(binding), 1);
    if (bindings.length === 0) this.byKey.delete(binding.routingKey);
  }

  route(message: RoutedMessage, collect: (target: RoutingTarget) => void): void {
    for (const binding of this.byKey.get(message.routingKey) ?? []) collect(binding.destination);
  }
}

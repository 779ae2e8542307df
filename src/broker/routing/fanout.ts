import type { Binding, ExchangeType, RoutedMessage, RoutingTarget } from "./exchange-type.ts";

/** Routes to all bindings, whatever the routing key. */
export class FanoutExchange implements ExchangeType {
  readonly needsHeaders = false;
  private readonly bindings = new Set<Binding>();

  add(binding: Binding): void {
    this.bindings.add(binding);
  }

  remove(binding: Binding): void {
    this.bindings.delete(binding);
  }

  route(_message: RoutedMessage, collect: (target: RoutingTarget) => void): void {
    for (const binding of this.bindings) collect(binding.destination);
  }
}

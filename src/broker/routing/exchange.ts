import { ExchangeTraffic } from "../traffic.ts";
import { fieldText, sameTable, type FieldTable } from "../../wire/index.ts";
import { DirectExchange } from "./direct.ts";
import {
  routingTypeNames,
  type Binding,
  type ExchangeType,
  type ExchangeTypeName,
  type RoutedMessage,
  type RoutingTarget,
  type RoutingTypeName,
} from "./exchange-type.ts";
import { FanoutExchange } from "./fanout.ts";
import { HeadersExchange } from "./headers.ts";
import { TopicExchange } from "./topic.ts";

const implementations: Record<RoutingTypeName, new () => ExchangeType> = {
  direct: DirectExchange,
  fanout: FanoutExchange,
  headers: HeadersExchange,
  topic: TopicExchange,
};

export interface ExchangeOptions {
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** Only other exchanges may route to it; clients may not publish to it. */
  readonly internal: boolean;
  readonly arguments: FieldTable;
}

/** An exchange with its bindings. */
export class Exchange implements RoutingTarget {
  readonly name: string;
  readonly typeName: ExchangeTypeName;
  readonly options: ExchangeOptions;
  /** Gets what this one cannot route: an exchange's name. https://www.rabbitmq.com/docs/ae */
  readonly alternate: string | undefined;
  readonly routesByTopic: boolean;
  readonly traffic: ExchangeTraffic = new ExchangeTraffic();
  private readonly type: ExchangeType;
  /** By destination and routing key, so that neither thousands of queues nor thousands of keys make a bind slow. */
  private readonly byDestination = new Map<RoutingTarget, Map<string, Binding[]>>();
  bindingCount = 0;

  /** A delayed exchange must have a {@link delayedType}. */
  constructor(name: string, typeName: ExchangeTypeName, options: ExchangeOptions) {
    this.name = name;
    this.typeName = typeName;
    this.options = options;
    const alternate = options.arguments.get("alternate-exchange");
    this.alternate = alternate ? fieldText(alternate) : undefined;
    const routesAs = typeName === "x-delayed-message" ? delayedType(options.arguments)! : typeName;
    this.routesByTopic = routesAs === "topic";
    this.type = new implementations[routesAs]();
  }

  get needsHeaders(): boolean {
    return this.type.needsHeaders;
  }

  /** The same destination, key and arguments make the same binding: false when it was there already. */
  bind(binding: Binding): boolean {
    const alike = this.alike(binding);
    if (alike.some((existing) => sameTable(existing.arguments, binding.arguments))) return false;
    this.type.add(binding);
    let byKey = this.byDestination.get(binding.destination);
    if (!byKey) {
      byKey = new Map();
      this.byDestination.set(binding.destination, byKey);
    }
    byKey.set(binding.routingKey, [...alike, binding]);
    this.bindingCount++;
    return true;
  }

  /** The binding that is gone; undefined when there was no such one. */
  unbind(binding: Binding): Binding | undefined {
    const alike = this.alike(binding);
    const found = alike.find((existing) => sameTable(existing.arguments, binding.arguments));
    if (!found) return undefined;
    this.type.remove(found);
    this.bindingCount--;
    const byKey = this.byDestination.get(binding.destination)!;
    if (alike.length > 1)
      byKey.set(
        binding.routingKey,
        alike.filter((other) => other !== found),
      );
    else byKey.delete(binding.routingKey);
    if (byKey.size === 0) this.byDestination.delete(binding.destination);
    return found;
  }

  /** All bindings of which this is the source. */
  bindings(): Binding[] {
    return [...this.byDestination.values()].flatMap((byKey) => [...byKey.values()].flat());
  }

  /** Removes all bindings to a queue or exchange that is gone, and returns them. */
  forget(destination: RoutingTarget): readonly Binding[] {
    const byKey = this.byDestination.get(destination);
    if (!byKey) return [];
    this.byDestination.delete(destination);
    const bindings = [...byKey.values()].flat();
    for (const binding of bindings) this.type.remove(binding);
    this.bindingCount -= bindings.length;
    return bindings;
  }

  route(message: RoutedMessage, collect: (target: RoutingTarget) => void): void {
    this.type.route(message, collect);
  }

  /** The bindings with the same destination and routing key; they differ in their arguments. */
  private alike(binding: Binding): readonly Binding[] {
    return this.byDestination.get(binding.destination)?.get(binding.routingKey) ?? [];
  }
}

/** How a delayed exchange with these arguments routes; undefined when they do not say. */
export function delayedType(table: FieldTable): RoutingTypeName | undefined {
  const field = table.get("x-delayed-type");
  return routingTypeNames.find((known) => field?.type === "longstr" && field.value === known);
}

export {
  exchangeTypeNames,
  type Binding,
  type ExchangeTypeName,
  type RoutingTarget,
} from "./exchange-type.ts";
export { delayedType, Exchange, type ExchangeOptions } from "./exchange.ts";

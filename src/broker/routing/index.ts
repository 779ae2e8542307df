export {
  exchangeTypeNames,
  type Binding,
  type ExchangeTypeName,
  type RoutingTarget,
} from "./exchange-type.ts";
export { Exchange, type ExchangeOptions } from "./exchange.ts";

export { startBroker, type Broker, type BrokerOptions, type BrokerUsage } from "./broker.ts";
export { systemClock, type Clock, type Logger, type Timer } from "../base/index.ts";

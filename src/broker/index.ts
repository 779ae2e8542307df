export { startBroker, type Broker, type BrokerOptions, type BrokerUsage } from "./broker.ts";
export type { DelayedMessage } from "./delayed-messages.ts";
export { checkDataDirectory, repairDataDirectory, type DataDirectoryReport } from "./data-directory.ts";
export { systemClock, type Clock, type Logger, type Timer } from "../base/index.ts";
export type { BasicProperties, FieldTable, FieldValue } from "../wire/index.ts";
export type { Credentials, Origin } from "./auth/index.ts";
export { ChannelError, ConnectionError } from "./errors.ts";
export type * from "./inspection.ts";
export { Deliveries, Publishes, type Churn, type ExchangeTraffic } from "./traffic.ts";
export type { BindingNames, ClientActions, GotMessage, MessageFate } from "./local-client.ts";
export type {
  BrokerAdmin,
  ImportedUser,
  PermissionInfo,
  TopicPermissionInfo,
  UserInfo,
  VirtualHostDescription,
  VirtualHostInfo,
} from "./admin.ts";

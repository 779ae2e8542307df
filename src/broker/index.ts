export { startBroker, type Broker, type BrokerOptions, type BrokerUsage } from "./broker.ts";
export type { DelayedMessage } from "./delayed-messages.ts";
export { checkDataDirectory, repairDataDirectory, type DataDirectoryReport } from "./data-directory.ts";
export { systemClock, type Clock, type Logger, type Timer } from "../base/index.ts";
export type {
  BrokerAdmin,
  ImportedUser,
  PermissionInfo,
  TopicPermissionInfo,
  UserInfo,
  VirtualHostInfo,
} from "./admin.ts";

export { checkData, type DataReport } from "./check-data.ts";
export {
  assembleMessage,
  composeMessage,
  knownProperties,
  readHeaders,
  routeOf,
  type KnownProperties,
} from "./compose-message.ts";
export { NoDefinitions, type Definitions } from "./definitions.ts";
export type { Disk } from "./disk.ts";
export { lockDirectory } from "./directory-lock.ts";
export { openLogStorage, type SurvivingMessage } from "./log-storage.ts";
export type { StoppedQueue } from "./log/checkpoint.ts";
export type { LogStore } from "./log/log-store.ts";
export {
  mostDestinations,
  type CommitWaiter,
  type Destination,
  type MessageHandle,
  type MessageStore,
} from "./message-store.ts";
export { MemoryStore } from "./memory-store.ts";
export { MessageView, storedHeaderBytes } from "./message-view.ts";
export { openNodeDisk } from "./node-disk.ts";
export { isRepairUnfinished, repairData, type RepairReport } from "./repair-data.ts";
export { StorageError } from "./storage-error.ts";

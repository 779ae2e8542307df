export { NoDefinitions, type Definitions } from "./definitions.ts";
export type { Disk } from "./disk.ts";
export { lockDirectory } from "./directory-lock.ts";
export { openLogStorage, type LogStorage, type LogStorageOptions } from "./log-storage.ts";
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
export { CorruptionError, StorageError } from "./storage-error.ts";

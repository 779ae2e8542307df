export type { CommitWaiter, Destination, MessageHandle, MessageStore } from "./message-store.ts";
export { MemoryStore } from "./memory-store.ts";
export { MessageView, storedHeaderBytes } from "./message-view.ts";

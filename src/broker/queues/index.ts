export { sortedTable } from "./delivery-count.ts";
export {
  Queue,
  type DeathReason,
  type QueueConsumer,
  type QueueEnvironment,
  type QueueOptions,
} from "./queue.ts";
export { redelivered } from "./ready-messages.ts";

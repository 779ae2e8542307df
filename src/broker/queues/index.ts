export { Queue, type QueueConsumer, type QueueOptions } from "./queue.ts";
export { redelivered } from "./ready-messages.ts";

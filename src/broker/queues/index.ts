export { Queue, type QueueConsumer, type QueueOptions, type TakenMessage } from "./queue.ts";
export { redelivered } from "./ready-messages.ts";

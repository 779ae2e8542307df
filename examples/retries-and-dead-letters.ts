/**
 * Tasks that fail are tried again after a growing delay, and after three attempts end among the failed ones, where an
 * operator reads why. Any RabbitMQ client can do the same; nothing here is Warren's own but the delayed exchange's name, which
 * a RabbitMQ with its delayed-message plugin has, too.
 *
 *     npx node examples/retries-and-dead-letters.ts
 */
import { connect, type ConsumeMessage } from "amqplib";
import { startBroker } from "../src/broker/index.ts"; // in your own program: "warrenmq/broker"

const attempts = 3;

await using broker = await startBroker({ port: 0 });
const connection = await connect(broker.url);
const channel = await connection.createConfirmChannel();

await channel.assertExchange("later", "x-delayed-message", {
  durable: true,
  arguments: { "x-delayed-type": "direct" },
});
await channel.assertExchange("agent_dlx", "direct", { durable: true });
await channel.assertQueue("failed_tasks", { durable: true });
await channel.bindQueue("failed_tasks", "agent_dlx", "failed_tasks");
await channel.assertQueue("agent_tasks", {
  durable: true,
  deadLetterExchange: "agent_dlx",
  deadLetterRoutingKey: "failed_tasks",
  maxPriority: 10,
});
await channel.bindQueue("agent_tasks", "later", "agent_tasks");

await channel.prefetch(3);
await channel.consume("agent_tasks", (task) => void work(task!));

const over = Promise.withResolvers<void>();
await channel.consume("failed_tasks", (letter) => {
  const { headers } = letter!.properties;
  console.log(
    `${letter!.content.toString()} has failed: ${headers!["x-first-death-reason"]} in ${headers!["x-first-death-queue"]}`,
  );
  channel.ack(letter!);
  over.resolve();
});

for (const [task, priority] of [
  ["summarise", 5],
  ["impossible", 9],
] as const)
  channel.sendToQueue("agent_tasks", Buffer.from(task), { persistent: true, priority, messageId: task });
await channel.waitForConfirms();

await over.promise;
await connection.close();

/** Publishes a failed task again, confirmed, before it acknowledges it: a crash in between repeats it and loses nothing. */
async function work(task: ConsumeMessage): Promise<void> {
  const attempt = ((task.properties.headers?.["attempt"] as number | undefined) ?? 0) + 1;
  console.log(`${task.content.toString()}, attempt ${attempt}`);
  if (task.content.toString() !== "impossible") return channel.ack(task);
  // The last attempt: it is dead.
  if (attempt === attempts) return channel.nack(task, false, false);
  const { messageId, priority } = task.properties;
  channel.publish("later", "agent_tasks", task.content, {
    persistent: true,
    messageId: messageId as string,
    priority: priority as number,
    headers: { attempt, "x-delay": 100 * 2 ** attempt },
  });
  await channel.waitForConfirms();
  channel.ack(task);
}

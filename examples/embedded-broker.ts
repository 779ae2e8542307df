/**
 * A broker inside this program, used by an ordinary RabbitMQ client: a producer hands out work, two workers share it.
 *
 *     npx node examples/embedded-broker.ts
 */
import { connect } from "amqplib";
import { startBroker } from "../src/broker/index.ts"; // in your own program: "warrenmq/broker"

await using broker = await startBroker({ port: 0 });
console.log(`broker on port ${broker.port}`);

const connection = await connect(broker.url);
const queue = "tasks";
const done: string[] = [];

const allDone = Promise.withResolvers<void>();
for (const worker of ["one", "two"]) {
  const channel = await connection.createChannel();
  await channel.assertQueue(queue);
  // Each worker holds one task at a time, so that a slow task does not block others.
  await channel.prefetch(1);
  await channel.consume(queue, (message) => {
    if (message === null) return;
    done.push(message.content.toString());
    console.log(`worker ${worker} did ${message.content.toString()}`);
    channel.ack(message);
    if (done.length === 6) allDone.resolve();
  });
}

const producer = await connection.createConfirmChannel();
for (let number = 1; number <= 6; number++) producer.sendToQueue(queue, Buffer.from(`task ${number}`));
await producer.waitForConfirms();
console.log("all tasks are confirmed");

await allDone.promise;
await connection.close();

/** What a broker remembers of deliveries: after an orderly stop exactly those that were made, after a crash nothing. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { connect } from "amqplib";
import { expect, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess, type BrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ack, bindQueue, consume, declareExchange, declareQueue } from "../support/methods.ts";
import { RawClient } from "../support/raw-client.ts";

const queues = ["a", "b", "c"] as const;
type QueueName = (typeof queues)[number];

test("after an orderly stop exactly what had been delivered comes back as redelivered, after another one too", async () => {
  const dataDir = dataDirectory();
  let broker = await startBrokerProcess({ dataDir });
  await publish(broker, 1, 6);
  await stop(broker, await holdSome(broker));
  const afterOneStop = {
    a: ["1 again", "2 again", "3 again", "4", "5", "6"],
    b: ["1 again", "3 again", "4", "5", "6"],
    c: ["1 again", "2", "3", "4", "5", "6"],
  };
  await expectContents(dataDir, afterOneStop);

  broker = await startBrokerProcess({ dataDir });
  await stop(broker);
  await expectContents(dataDir, afterOneStop);

  broker = await startBrokerProcess({ dataDir });
  await publish(broker, 7, 7);
  const client = await RawClient.login(broker.port);
  expect(await receive(client, "c", 3)).toEqual(["1 again", "2", "3"]);
  client.method(1, ack(2));
  const next = await client.content(MethodId.BasicDeliver);
  expect(describeDelivery(next.body, next.method.redelivered)).toBe("4");
  await stop(broker, [client]);
  await expectContents(dataDir, {
    a: [...afterOneStop.a, "7"],
    b: [...afterOneStop.b, "7"],
    c: ["1 again", "3 again", "4 again", "5", "6", "7"],
  });
  expect(broker.errors).toEqual([]);
});

test("after kill -9 everything comes back as redelivered, also after an orderly stop that follows", async () => {
  const dataDir = dataDirectory();
  let broker = await startBrokerProcess({ dataDir });
  await publish(broker, 1, 6);
  await holdSome(broker);
  // What is settled is settled when its transaction is.
  const client = await RawClient.login(broker.port);
  await client.call(1, { id: MethodId.TxSelect }, MethodId.TxSelectOk);
  expect(await get(client, "c")).toBe("1 again");
  client.method(1, ack(1));
  await client.call(1, { id: MethodId.TxCommit }, MethodId.TxCommitOk);
  await broker.kill();
  const all = (...numbers: number[]): string[] => numbers.map((number) => `${number} again`);
  const afterKill = { a: all(1, 2, 3, 4, 5, 6), b: all(1, 3, 4, 5, 6), c: all(2, 3, 4, 5, 6) };
  await expectContents(dataDir, afterKill);

  broker = await startBrokerProcess({ dataDir });
  await publish(broker, 7, 8);
  const other = await RawClient.login(broker.port);
  await readyIs(other, "a", 8);
  await stop(broker, [other]);
  await expectContents(dataDir, {
    a: [...afterKill.a, "7", "8"],
    b: [...afterKill.b, "7", "8"],
    c: [...afterKill.c, "7", "8"],
  });

  // A checkpoint from before the crash is no excuse.
  broker = await startBrokerProcess({ dataDir });
  await broker.kill();
  await expectContents(dataDir, {
    a: [...afterKill.a, ...all(7, 8)],
    b: [...afterKill.b, ...all(7, 8)],
    c: [...afterKill.c, ...all(7, 8)],
  });
  expect(broker.errors).toEqual([]);
});

test("an orderly stop remembers thousands of deliveries, out of order and of messages of all lengths", async () => {
  const dataDir = dataDirectory();
  const broker = await startBrokerProcess({ dataDir });
  const count = 3000;
  await publish(broker, 1, count);
  const client = await RawClient.login(broker.port);
  await receive(client, "a", 1500);
  // Every third one is given back and stays ready, every third is acknowledged, the others are held.
  const cancel = { id: MethodId.BasicCancel, consumerTag: "a", noWait: false } as const;
  await client.call(1, cancel, MethodId.BasicCancelOk);
  for (let number = 1500; number > 0; number--) {
    if (number % 3 === 0) client.method(1, nack(number));
    if (number % 3 === 1) client.method(1, ack(number));
  }
  await readyIs(client, "a", count - 1000);
  await stop(broker, [client]);
  const expected: string[] = [];
  for (let number = 1; number <= count; number++) {
    if (number > 1500) expected.push(String(number));
    else if (number % 3 !== 1) expected.push(`${number} again`);
  }
  const untouched = Array.from({ length: count }, (_, index) => String(index + 1));
  await expectContents(dataDir, { a: expected, b: untouched, c: untouched });
  expect(broker.errors).toEqual([]);
});

function nack(deliveryTag: number) {
  return {
    id: MethodId.BasicNack,
    deliveryTag: BigInt(deliveryTag),
    multiple: false,
    requeue: true,
  } as const;
}

/** Publishes messages with these numbers, each to all queues. */
async function publish(broker: BrokerProcess, first: number, last: number): Promise<void> {
  const client = await RawClient.login(broker.port);
  await client.call(1, declareExchange("all", "fanout", { durable: true }), MethodId.ExchangeDeclareOk);
  for (const queue of queues) {
    await client.call(1, declareQueue(queue, { durable: true }), MethodId.QueueDeclareOk);
    await client.call(1, bindQueue(queue, "all", ""), MethodId.QueueBindOk);
  }
  await client.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  for (let number = first; number <= last; number++) {
    client.publish(1, "all", "", bodyOf(number), { properties: { deliveryMode: 2 } });
  }
  for (let confirmed = 0; confirmed <= last - first;) {
    confirmed = Number((await client.expect(MethodId.BasicAck)).deliveryTag);
  }
  await client.close();
}

/** Some are longer than what the log keeps in one piece. */
function bodyOf(number: number): Uint8Array {
  const body = Buffer.alloc(number % 1000 === 5 ? 400_000 : 4 + (number % 50), number);
  body.writeUInt32BE(number);
  return body;
}

function describeDelivery(body: Uint8Array, redelivered: boolean): string {
  const number = Buffer.from(body).readUInt32BE();
  expect(Buffer.from(body).equals(bodyOf(number))).toBe(true);
  return `${number}${redelivered ? " again" : ""}`;
}

/**
 * Of the messages 1 to 6: in a, a consumer holds three; in b, two consumers had two each at most, of which 2 is
 * acknowledged; in c, one was given back.
 */
async function holdSome(broker: BrokerProcess): Promise<RawClient[]> {
  const first = await RawClient.login(broker.port);
  expect(await receive(first, "a", 3)).toEqual(["1", "2", "3"]);
  const second = await RawClient.login(broker.port);
  expect(await receive(first, "b", 1)).toEqual(["1"]);
  expect(await receive(second, "b", 1)).toEqual(["2"]);
  second.method(1, ack(1));
  const next = await second.content(MethodId.BasicDeliver);
  expect(describeDelivery(next.body, next.method.redelivered)).toBe("3");
  expect(await get(second, "c")).toBe("1");
  second.method(1, nack(3));
  await readyIs(second, "c", 6);
  await readyIs(second, "b", 3);
  return [first, second];
}

/** Stops the broker in order while these clients hold messages; they part as proper clients do. */
async function stop(broker: BrokerProcess, clients: readonly RawClient[] = []): Promise<void> {
  const stopped = broker.stop();
  for (const client of clients) {
    await client.expect(MethodId.ConnectionClose);
    client.method(0, { id: MethodId.ConnectionCloseOk });
  }
  await stopped;
}

async function get(client: RawClient, queue: QueueName): Promise<string> {
  client.method(1, { id: MethodId.BasicGet, queue, noAck: false });
  const { method, body } = await client.content(MethodId.BasicGetOk);
  return describeDelivery(body, method.redelivered);
}

/** What a consumer gets that may hold so many. */
async function receive(client: RawClient, queue: QueueName, count: number): Promise<string[]> {
  const qos = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: count, global: false } as const;
  await client.call(1, qos, MethodId.BasicQosOk);
  await client.call(1, consume(queue, { consumerTag: queue }), MethodId.BasicConsumeOk);
  const received: string[] = [];
  while (received.length < count) {
    const { method, body } = await client.content(MethodId.BasicDeliver);
    received.push(describeDelivery(body, method.redelivered));
  }
  return received;
}

/** Waits until the broker has carried out what was sent. */
async function readyIs(client: RawClient, queue: QueueName, count: number): Promise<void> {
  const declare = declareQueue(queue, { durable: true, passive: true });
  await expect
    .poll(async () => (await client.call(1, declare, MethodId.QueueDeclareOk)).messageCount)
    .toBe(count);
}

/** What a broker finds in the queues of a stopped one: by the checkpoint, if there is one, and by the log. */
async function expectContents(dataDir: string, expected: Record<QueueName, string[]>): Promise<void> {
  // Copies, since looking is delivering.
  const [asItIs, withoutCheckpoint] = [dataDirectory(), dataDirectory()];
  cpSync(dataDir, asItIs, { recursive: true });
  cpSync(dataDir, withoutCheckpoint, { recursive: true });
  rmSync(join(withoutCheckpoint, "checkpoint"), { force: true });
  expect(await contents(asItIs)).toEqual(expected);
  expect(await contents(withoutCheckpoint), "without the checkpoint").toEqual(expected);
}

async function contents(dataDir: string): Promise<Record<QueueName, string[]>> {
  await using broker = await startBroker({ port: 0, dataDir });
  const connection = await connect(broker.url);
  const channel = await connection.createChannel();
  const found: Record<QueueName, string[]> = { a: [], b: [], c: [] };
  for (const queue of queues) {
    for (;;) {
      const message = await channel.get(queue, { noAck: true });
      if (!message) break;
      found[queue].push(describeDelivery(message.content, message.fields.redelivered));
    }
  }
  await connection.close();
  return found;
}

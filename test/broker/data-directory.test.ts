import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { FaultyDisk } from "../support/faulty-disk.ts";
import { consume, declareQueue } from "../support/methods.ts";
import { NumberedPublisher, NumberedReader } from "../support/numbered-messages.ts";
import { listenOnFreePort } from "../support/ports.ts";
import { Random } from "../support/random.ts";
import { RawClient } from "../support/raw-client.ts";

const persistent = { properties: { deliveryMode: 2 } };
const confirmSelect = { id: MethodId.ConfirmSelect, noWait: false } as const;

test("a broker that cannot listen leaves its data directory as it was", async () => {
  const dataDir = dataDirectory();
  {
    await using broker = await startBroker({ port: 0, dataDir });
    await using client = await RawClient.login(broker.port);
    await client.call(1, declareQueue("kept", { durable: true }), MethodId.QueueDeclareOk);
    await client.call(1, confirmSelect, MethodId.ConfirmSelectOk);
    client.publish(1, "", "kept", "a message", persistent);
    await client.expect(MethodId.BasicAck);
  }
  const other = createServer();
  const port = await listenOnFreePort(other);
  await expect(startBroker({ port, dataDir })).rejects.toThrow("another program listens there");
  other.close();
  await using broker = await startBroker({ port: 0, dataDir });
  await using client = await RawClient.login(broker.port);
  const declared = await client.call(1, declareQueue("kept", { durable: true }), MethodId.QueueDeclareOk);
  expect(declared.messageCount).toBe(1);
});

test("a client is told of a declaration only when that is on the disk", async () => {
  const disk = new FaultyDisk(new Random(1));
  const broker = await startBroker({ port: 0, disk });
  onTestFinished(() => broker.stop(100));
  const client = await RawClient.login(broker.port);
  onTestFinished(() => client.close());
  await client.call(1, declareQueue("first", { durable: true }), MethodId.QueueDeclareOk);
  disk.hold({ operation: "sync", file: /definitions/ });
  client.method(1, declareQueue("second", { durable: true }));
  await expect.poll(() => disk.pending()).toHaveLength(1);
  // Another connection gets its answers meanwhile, to what needs no disk.
  const other = await RawClient.login(broker.port);
  onTestFinished(() => other.close());
  expect(client.inbox).toEqual([]);
  disk.release();
  await client.expect(MethodId.QueueDeclareOk);
});

test("a long message that is never acknowledged is moved on when the log is cleaned", async () => {
  const total = 4_000;
  const broker = await startBroker({ port: 0, dataDir: dataDirectory() });
  onTestFinished(() => broker.stop(100));
  const [holding, publishing, consuming] = await Promise.all(
    [0, 1, 2].map(() => RawClient.login(broker.port)),
  );
  onTestFinished(async () => {
    await Promise.all([holding.close(), publishing.close(), consuming.close()]);
  });
  await publishing.call(1, declareQueue("long", { durable: true }), MethodId.QueueDeclareOk);
  await publishing.call(1, declareQueue("traffic", { durable: true }), MethodId.QueueDeclareOk);
  await publishing.call(1, confirmSelect, MethodId.ConfirmSelectOk);
  publishing.publish(1, "", "long", new Uint8Array(64 << 20).fill(7), persistent);
  await publishing.expect(MethodId.BasicAck);

  const reader = new NumberedReader(consuming, { ackEvery: 10 });
  consuming.method(1, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 50, global: false });
  consuming.method(1, consume("traffic"));
  // On a channel of its own, which counts its confirms from 1.
  const traffic = await RawClient.login(broker.port);
  onTestFinished(() => traffic.close());
  await traffic.call(1, confirmSelect, MethodId.ConfirmSelectOk);
  const options = { bodyBytes: 100_000, persistent: true, confirmWindow: 100 };
  await new NumberedPublisher(traffic, "traffic", options).publishUpTo(total);
  await reader.until(total);
  expect(broker.usage().logBytes).toBeLessThan(400 << 20);
  holding.method(1, { id: MethodId.BasicGet, queue: "long", noAck: true });
  const { body } = await holding.content(MethodId.BasicGetOk);
  expect(body.length).toBe(64 << 20);
  expect(body.every((octet) => octet === 7)).toBe(true);
}, 60_000);

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess, type BrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { consume, declareQueue } from "../support/methods.ts";
import { NumberedPublisher, NumberedReader } from "../support/numbered-messages.ts";
import { RawClient } from "../support/raw-client.ts";

const mebibyte = 1 << 20;
const total = 1_000_000;

test("a backlog of a million 1 KiB messages is on disk, survives a stop and kill -9, and is drained in order", async () => {
  const dataDir = dataDirectory();
  let broker = await startBrokerProcess({ dataDir });
  let client = await RawClient.login(broker.port);
  await client.call(1, declareQueue("backlog", { durable: true }), MethodId.QueueDeclareOk);
  await client.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
  const publisher = new NumberedPublisher(client, "backlog", {
    bodyBytes: 1024,
    persistent: true,
    confirmWindow: 4000,
  });
  await publisher.publishUpTo(total);
  report("filled", broker, dataDir);
  expect(broker.residentBytes()).toBeLessThan(250 * mebibyte);

  let beganMs = performance.now();
  await broker.stop();
  console.log(`stopped in ${Math.round(performance.now() - beganMs)} ms`);
  beganMs = performance.now();
  broker = await startBrokerProcess({ dataDir });
  console.log(`started after a clean stop in ${Math.round(performance.now() - beganMs)} ms`);
  await broker.kill();
  beganMs = performance.now();
  broker = await startBrokerProcess({ dataDir });
  console.log(`started after kill -9 in ${Math.round(performance.now() - beganMs)} ms`);
  report("recovered", broker, dataDir);

  client = await RawClient.login(broker.port);
  const reader = new NumberedReader(client, { ackEvery: 100 });
  client.method(1, { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 500, global: false });
  client.method(1, consume("backlog"));
  await reader.until(total);
  expect(reader.outOfOrder).toBeUndefined();
  report("drained", broker, dataDir);
  expect(broker.residentBytes()).toBeLessThan(250 * mebibyte);
  await expect.poll(() => sizeOf(dataDir), { timeout: 10_000 }).toBeLessThan(200 * mebibyte);
  await expect.poll(async () => (await broker.usage()).messages).toBe(0);
  expect(broker.errors).toEqual([]);
}, 120_000);

function report(when: string, broker: BrokerProcess, dataDir: string): void {
  const rss = Math.round(broker.residentBytes() / mebibyte);
  console.log(`${when}: RSS ${rss} MiB, disk ${Math.round(sizeOf(dataDir) / mebibyte)} MiB`);
}

function sizeOf(directory: string): number {
  return readdirSync(directory).reduce(
    (sum, name) => sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** Publishers that never stop beside consumers that want their share. The figures stand for two cores of 2024. */
import { expect, onTestFinished, test } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess, type BrokerProcess } from "../support/broker-process.ts";
import { consume, declareQueue } from "../support/methods.ts";
import { NumberedPublisher, NumberedReader } from "../support/numbered-messages.ts";
import { RawClient } from "../support/raw-client.ts";

const queue = "flow";
const mebibyte = 1 << 20;

test("one connection publishes and acknowledges through five million messages", async () => {
  const total = 5_000_000;
  const broker = await startBrokerProcess();
  const client = await login(broker);
  await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
  await client.call(1, consume(queue), MethodId.BasicConsumeOk);
  const publisher = new NumberedPublisher(client, queue);
  const samples: Promise<{ stored: number; outstanding: number }>[] = [];
  const sample = async (acknowledged: number): Promise<{ stored: number; outstanding: number }> => {
    const { messages } = await broker.usage();
    return { stored: messages, outstanding: publisher.published - acknowledged };
  };
  const reader = new NumberedReader(client, {
    ackEvery: 500,
    onRead: () => {
      // What was acknowledged two samples ago has reached the broker by now: socket buffers hold less than that.
      if (reader.received < samples.length * 250_000) return;
      samples.push(sample(acknowledged.at(-2) ?? 0));
      acknowledged.push(reader.acknowledged);
    },
  });
  const acknowledged: number[] = [];

  await Promise.all([publisher.publishUpTo(total), reader.until(total)]);
  expect(reader.outOfOrder).toBeUndefined();
  expect(samples.length).toBeGreaterThanOrEqual(20);
  for (const { stored, outstanding } of await Promise.all(samples)) {
    expect(stored).toBeLessThanOrEqual(outstanding);
  }
  await expect.poll(async () => (await broker.usage()).messages).toBe(0);
  expect((await broker.usage()).messageMemoryBytes).toBeLessThan(64 * mebibyte);
}, 60_000);

test.each([
  { consumer: "a consumer with prefetch 200", prefetchCount: 200, ackEvery: 50, least: 0.08 },
  { consumer: "a consumer without acknowledgements", prefetchCount: 0, ackEvery: 0, least: 0.5 },
])(
  "$consumer keeps up with a publisher that floods",
  async ({ prefetchCount, ackEvery, least }) => {
    const total = 1_000_000;
    const broker = await startBrokerProcess();
    const [flooding, consuming] = [await login(broker), await login(broker)];
    await flooding.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
    const qos = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount, global: false } as const;
    await consuming.call(1, qos, MethodId.BasicQosOk);
    await consuming.call(1, consume(queue, { noAck: ackEvery === 0 }), MethodId.BasicConsumeOk);
    const publisher = new NumberedPublisher(flooding, queue);
    const reader = new NumberedReader(consuming, { ackEvery });

    await publisher.publishUpTo(total);
    // Its answer comes when all that was published has been read.
    await flooding.call(1, declareQueue(queue, { passive: true }), MethodId.QueueDeclareOk);
    // Measured: 14 to 28 % with prefetch 200, where each 200 wait for the client's answer; 92 to 100 % without.
    expect(reader.received / total).toBeGreaterThan(least);
    await reader.until(total);
    expect(reader.outOfOrder).toBeUndefined();
    await expect.poll(async () => (await broker.usage()).messages).toBe(0);
  },
  60_000,
);

async function login(broker: BrokerProcess): Promise<RawClient> {
  const client = await RawClient.login(broker.port);
  onTestFinished(() => client.close());
  return client;
}

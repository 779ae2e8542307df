import { expect, test } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { declareQueue } from "../support/methods.ts";
import { RawClient } from "../support/raw-client.ts";

const mebibyte = 1 << 20;
const times = 1500;

test("a connection that does nothing but transactions and durable declarations keeps no buffer for each", async () => {
  const broker = await startBrokerProcess({ dataDir: dataDirectory() });
  const client = await RawClient.login(broker.port);
  await client.call(1, declareQueue("q", { durable: true }), MethodId.QueueDeclareOk);
  await client.call(1, { id: MethodId.TxSelect }, MethodId.TxSelectOk);
  const before = broker.residentBytes();
  for (let number = 0; number < times; number++) {
    client.publish(1, "", "q", "a message", { properties: { deliveryMode: 2 } });
    await client.call(1, { id: MethodId.TxCommit }, MethodId.TxCommitOk);
    await client.call(1, declareQueue(`q${number}`, { durable: true }), MethodId.QueueDeclareOk);
  }
  const grownBytes = broker.residentBytes() - before;
  console.log(`${times} commits and declarations: RSS grew by ${Math.round(grownBytes / mebibyte)} MiB`);
  expect(grownBytes).toBeLessThan(60 * mebibyte);
});

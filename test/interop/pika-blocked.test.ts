import { connect } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import type { BrokerName } from "../support/broker-selection.ts";
import { selectedBrokers } from "../support/broker-selection.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { addressOf } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";
import { startRabbitmq } from "../support/rabbitmq.ts";

const queue = "backlog";

/** A broker of the test's own, since an alarm concerns all who publish. */
interface AlarmingBroker {
  url: string;
  /** Makes memory run short, where a publisher's messages alone do not. */
  raiseAlarm(): Promise<void>;
  endAlarm(): Promise<void>;
}

for (const name of selectedBrokers) {
  test(`pika: a publisher is told that it is blocked, waits, and is told that it may go on [${name}]`, async () => {
    const broker = await startAlarming(name);
    const publisher = startProgram(addressOf(broker.url), "pika/patient_publisher.py", queue, "65536");
    await publisher.next("ready");
    await broker.raiseAlarm();
    expect(await publisher.next("blocked")).toMatchObject({ reason: "low on memory" });
    expect(publisher.untaken("unblocked")).toEqual([]);
    await broker.endAlarm();
    await publisher.next("unblocked");
    await publisher.finished();
    expect(publisher.untaken("sent")).toHaveLength(1);
  }, 60_000);
}

async function startAlarming(name: BrokerName): Promise<AlarmingBroker> {
  if (name === "warren") {
    const { port } = await startBrokerProcess({ memoryLimitBytes: 1 << 20 });
    const url = `amqp://guest:guest@127.0.0.1:${port}`;
    return { url, raiseAlarm: async () => {}, endAlarm: () => purge(url) };
  }
  const rabbitmq = await startRabbitmq();
  onTestFinished(() => rabbitmq.stop());
  return {
    url: rabbitmq.url,
    raiseAlarm: () => rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1MB"),
    endAlarm: () => rabbitmq.control("set_vm_memory_high_watermark", "0.9"),
  };
}

async function purge(url: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.purgeQueue(queue);
  await connection.close();
}

import { expect, test } from "vitest";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { startProgram, type Program } from "../support/program.ts";

describeEachBroker("pika: consumers and refusals", (broker) => {
  test("a queue that is full refuses what comes then with a nack, and goes on when there is room", async () => {
    const program = startProgram(broker(), "pika/overflow.py", broker().queueName("full"));
    await program.finished();
    expect(program.untaken("confirmed")).toMatchObject([{ body: "fits" }, { body: "fits again" }]);
    expect(program.untaken("refused")).toMatchObject([{ body: "is refused", returned: 0 }]);
    expect(program.untaken("kept")).toMatchObject([{ body: "fits" }]);
  });

  test("what is not acknowledged comes again after basic.recover, and the flow stays active", async () => {
    const queue = broker().queueName("recovered");
    const program = startProgram(broker(), "pika/recover.py", queue);
    await program.finished();
    expect(program.untaken("flow")).toMatchObject([{ active: true }]);
    expect(program.untaken("received")).toMatchObject([
      { body: "one", redelivered: false },
      { body: "two", redelivered: false },
      { body: "three", redelivered: false },
      { body: "two", redelivered: true },
      { body: "three", redelivered: true },
    ]);
    expect(await queueState(broker(), queue)).toEqual({ ready: 2, consumers: 0 });
  });

  test("a consumer of higher priority gets everything until it is busy", async () => {
    const queue = await declareQueue(broker());
    const low = await startConsumer(broker(), queue);
    const high = await startConsumer(broker(), queue, "--priority", "10", "--prefetch", "2");
    await publish(broker(), queue, "1", "2", "3");

    expect((await high.take("received", 2)).map(({ body }) => body)).toEqual(["1", "2"]);
    expect(await low.next("received")).toMatchObject({ body: "3" });
    expect(low.untaken("received")).toEqual([]);
  });

  test("a queue that one consumes exclusively refuses others, with 403", async () => {
    const queue = await declareQueue(broker());
    const only = await startConsumer(broker(), queue, "--exclusive");
    const other = startProgram(broker(), "pika/consume.py", queue);
    expect(await other.next("refused")).toMatchObject({
      code: 403,
      text: `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`,
    });
    await only.stop();
    await startConsumer(broker(), queue, "--exclusive");
  });

  test("a consumer is told that its queue was deleted", async () => {
    const queue = await declareQueue(broker());
    const consumer = startProgram(broker(), "pika/consume.py", queue);
    const { tag } = await consumer.next("ready");
    const channel = await broker().observer.createChannel();
    await channel.deleteQueue(queue);
    await channel.close();
    expect(await consumer.next("cancelled")).toMatchObject({ tag });
  });
});

async function declareQueue(broker: BrokerUnderTest): Promise<string> {
  const queue = broker.queueName("consumed");
  const channel = await broker.observer.createChannel();
  await channel.assertQueue(queue);
  await channel.close();
  return queue;
}

async function startConsumer(broker: BrokerUnderTest, queue: string, ...options: string[]): Promise<Program> {
  const consumer = startProgram(broker, "pika/consume.py", ...options, queue);
  await consumer.next("ready");
  return consumer;
}

async function publish(broker: BrokerUnderTest, queue: string, ...bodies: string[]): Promise<void> {
  await startProgram(broker, "pika/send.py", "--undeclared", queue, ...bodies).finished();
}

import { expect, test } from "vitest";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

describeEachBroker("bunny: the Ruby client", (broker) => {
  test("publishes and subscribes, through an exchange that is bound to another", async () => {
    const [exchange, other] = [broker().exchangeName("fanout"), broker().exchangeName("topic")];
    const program = startProgram(broker(), "bunny/publish_subscribe.rb", exchange, other);
    await program.finished();
    expect(program.untaken("received")).toMatchObject([
      {
        deliveries: [
          ["fanout", exchange, "news.today", "text/plain", "first"],
          ["fanout", exchange, "weather.today", "application/octet-stream", "second"],
          ["topic", exchange, "news.today", "text/plain", "first"],
        ],
      },
    ]);
    expect(program.untaken("after unbinding")).toMatchObject([
      { delivery: ["fanout", exchange, "news.today", "application/octet-stream", "third"] },
    ]);
    expect(program.untaken("left")).toMatchObject([{ count: 0 }]);
  });

  test("publishes to those who want all, or any, of some headers", async () => {
    const program = startProgram(broker(), "bunny/headers.rb", broker().exchangeName("headers"));
    await program.finished();
    expect(program.untaken("all")).toMatchObject([{ bodies: ["both"] }]);
    expect(program.untaken("any")).toMatchObject([{ bodies: ["both", "one"] }]);
  });

  test("is confirmed, is returned what is unroutable, settles in every way, and is refused", async () => {
    const queue = broker().queueName("settled");
    const program = startProgram(broker(), "bunny/confirms.rb", queue);
    await program.finished();
    expect(program.untaken("confirmed")).toMatchObject([{ all: true, refused: [] }]);
    expect(program.untaken("returned")).toMatchObject([{ message: [312, "NO_ROUTE", "7", "to nobody"] }]);
    const [{ deliveries }] = program.untaken("settled");
    expect(deliveries).toHaveLength(6);
    expect(deliveries).toEqual(
      expect.arrayContaining([
        ["1", false],
        ["1", true],
        ["2", false],
        ["4", false],
      ]),
    );
    expect(program.untaken("left")).toMatchObject([{ count: 0 }]);
    expect(program.untaken("refused")).toMatchObject([
      { text: expect.stringContaining("inequivalent arg 'auto_delete'") },
    ]);
  });

  test("a quorum queue gives a message up that has come back too often", async () => {
    const [queue, dead] = [broker().queueName("quorum"), broker().queueName("dead")];
    const program = startProgram(broker(), "bunny/quorum.rb", queue, dead);
    await program.finished();
    expect(program.untaken("confirmed")).toMatchObject([{ all: true }]);
    expect(program.untaken("delivered")).toMatchObject([
      { count: null, redelivered: false },
      { count: 1, redelivered: true },
      { count: 2, redelivered: true },
    ]);
    expect(program.untaken("dead")).toMatchObject([
      { body: "poison", reason: "delivery_limit", queue, count: 1 },
    ]);
    expect(program.untaken("refused")).toMatchObject([
      { text: expect.stringContaining("invalid property 'non-durable'") },
    ]);
  });

  for (const { way, breakIt } of waysToBreak) {
    test(`recovers its queue, binding and consumer after ${way}`, async () => {
      const [exchange, queue] = [broker().exchangeName("direct"), broker().queueName("recovered")];
      const route = await openBreakableRoute(broker());
      const worker = startProgram({ ...broker(), ...route }, "bunny/recovering_worker.rb", exchange, queue);
      await worker.next("ready");
      const channel = await broker().observer.createConfirmChannel();
      channel.publish(exchange, "work", Buffer.from("lost with its queue"));
      await worker.next("received");

      breakIt(route);
      await worker.next("recovered");
      expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 1 });
      channel.publish(exchange, "work", Buffer.from("after"));
      expect(await worker.next("received")).toMatchObject({ body: "after", redelivered: false });
      worker.say("stop");
      await worker.finished();
      await channel.close();
      // It went with its last consumer.
      expect(await queueState(broker(), queue)).toBeUndefined();
    });
  }
});

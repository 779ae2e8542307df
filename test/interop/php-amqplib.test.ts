import { expect, test } from "vitest";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

describeEachBroker("php-amqplib", (broker) => {
  test("publishes with headers of every type, consumes with a timeout, and gets", async () => {
    const [exchange, queue] = [broker().exchangeName("tasks"), broker().queueName("tasks")];
    const program = startProgram(broker(), "php/publish_consume.php", exchange, queue);
    await program.finished();
    expect(program.untaken("declared")).toMatchObject([{ queue, ready: 0, consumers: 0 }]);
    const received = program.untaken("received");
    expect(received.map(({ body, redelivered }) => [body, redelivered])).toEqual([
      ["task 1", false],
      ["task 2", false],
      ["task 2", true],
      ["task 3", false],
    ]);
    expect(received[0]).toMatchObject({
      routing_key: "tasks",
      timestamp: 1_700_000_000,
      headers: {
        number: 1,
        big: 5_000_000_000,
        yes: true,
        nothing: null,
        list: [1, "two"],
        nested: { deeper: "still" },
      },
    });
    expect(program.untaken("idle")).toHaveLength(1);
    expect(program.untaken("nothing")).toMatchObject([{ got: null }]);
    expect(program.untaken("got")).toMatchObject([{ body: "to get", left: 0 }]);
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("publishes in transactions", async () => {
    const program = startProgram(broker(), "php/transactions.php", broker().queueName("transacted"));
    await program.finished();
    expect(program.untaken("rolled back")).toMatchObject([{ ready: 0 }]);
    expect(program.untaken("open")).toMatchObject([{ ready: 0 }]);
    expect(program.untaken("committed")).toMatchObject([{ ready: 1 }]);
  });

  test("handles what is confirmed, refused by a full queue, and returned", async () => {
    const queue = broker().queueName("full");
    const program = startProgram(broker(), "php/confirms.php", queue);
    await program.finished();
    const bodies = (event: string): unknown[] => program.untaken(event).map(({ body }) => body);
    expect(bodies("confirmed")).toEqual(["one", "two", "to nobody"]);
    expect(bodies("refused")).toEqual(["three"]);
    expect(program.untaken("returned")).toMatchObject([
      { code: 312, text: "NO_ROUTE", key: `${queue} missing`, body: "to nobody" },
    ]);
  });

  test("waits for what comes late, by a queue whose messages expire into another", async () => {
    const [delay, queue] = [broker().queueName("delay"), broker().queueName("tasks")];
    const program = startProgram(broker(), "php/delays.php", delay, queue);
    await program.finished();
    expect(program.untaken("received")).toMatchObject([{ body: "later", reason: "expired", queue: delay }]);
    expect(program.untaken("refused")).toMatchObject([
      {
        code: 406,
        text:
          `PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue '${queue}' in vhost '/': ` +
          "received none but current is the value '5' of type 'signedint'",
      },
    ]);
  });
});

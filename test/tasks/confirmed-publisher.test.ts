import { expect, onTestFinished, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { Connection, type Publication } from "../../src/client/index.ts";
import { UnroutableError } from "../../src/tasks/index.ts";
import { ConfirmedPublisher } from "../../src/tasks/transports/amqp/confirmed-publisher.ts";
import { connectionOptions, parseAmqpUrl } from "../../src/tasks/transports/amqp/connection-options.ts";
import { describeEachBroker, queueState } from "../support/brokers.ts";

describeEachBroker("a publisher with confirms", (broker) => {
  async function opened(): Promise<ConfirmedPublisher> {
    const connection = await Connection.open(
      connectionOptions(parseAmqpUrl(broker().url), "test", silentLogger),
    );
    const publisher = new ConfirmedPublisher(connection, 5_000, silentLogger);
    onTestFinished(async () => {
      await publisher.close();
      await connection.close();
    });
    return publisher;
  }

  function messageTo(routingKey: string, properties: Publication["properties"] = {}): Publication {
    return { exchange: "", routingKey, mandatory: true, properties, body: Buffer.from("x") };
  }

  async function outcomesOf(publishing: Promise<void>[]): Promise<unknown[]> {
    const outcomes = await Promise.allSettled(publishing);
    return outcomes.map((outcome) => (outcome.status === "fulfilled" ? "published" : outcome.reason));
  }

  async function queueNamed(purpose: string): Promise<string> {
    const queue = broker().queueName(purpose);
    const channel = await broker().observer.createChannel();
    await channel.assertQueue(queue);
    await channel.close();
    return queue;
  }

  test("a message that is refused fails alone, and those beside it are published", async () => {
    const publisher = await opened();
    const queue = await queueNamed("beside");
    const outcomes = await outcomesOf(
      Array.from({ length: 20 }, (_, index) =>
        publisher.publish(messageTo(queue, index === 7 ? { expiration: "soon" } : {})),
      ),
    );
    expect(outcomes.map((outcome) => outcome === "published")).toEqual(
      Array.from({ length: 20 }, (_, index) => index !== 7),
    );
    expect(String(outcomes[7])).toMatch(/PRECONDITION_FAILED.*expiration/);
    // Those before it may have been stored without a confirm, and are published again then.
    expect((await queueState(broker(), queue))?.ready).toBeGreaterThanOrEqual(19);
  });

  test("a message to an exchange that is gone fails alone, too", async () => {
    const publisher = await opened();
    const queue = await queueNamed("beside-gone");
    const gone = { ...messageTo(queue), exchange: broker().exchangeName("gone") };
    const outcomes = await outcomesOf([gone, messageTo(queue)].map((message) => publisher.publish(message)));
    expect(outcomes[0]).toBeInstanceOf(UnroutableError);
    expect(outcomes[1]).toBe("published");
  });

  test("a message that no queue takes is an error, with others before and behind it", async () => {
    const publisher = await opened();
    const queue = await queueNamed("routable");
    const outcomes = await outcomesOf(
      [queue, `${queue}-missing`, queue].map((key) => publisher.publish(messageTo(key, { messageId: key }))),
    );
    expect(outcomes.map((outcome) => outcome instanceof UnroutableError)).toEqual([false, true, false]);
  });

  test("what is aborted, and what is left when it closes, rejects", async () => {
    const publisher = await opened();
    const queue = await queueNamed("ended");
    const aborted = publisher.publish(messageTo(queue), AbortSignal.abort(new Error("no longer wanted")));
    await expect(aborted).rejects.toThrow("no longer wanted");
    const left = publisher.publish(messageTo(queue));
    const closing = publisher.close();
    await expect(left).rejects.toThrow("the bus was closed before");
    await closing;
  });
});

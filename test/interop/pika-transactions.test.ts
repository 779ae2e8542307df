import { expect, test } from "vitest";
import { describeEachBroker } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

describeEachBroker("pika: transactions", (broker) => {
  test("messages are forwarded by transactions; what is rolled back stays", async () => {
    const [source, target] = [broker().queueName("source"), broker().queueName("target")];
    const channel = await broker().observer.createConfirmChannel();
    await channel.assertQueue(source);
    await channel.assertQueue(target);
    for (const body of ["one", "undo", "two"]) channel.sendToQueue(source, Buffer.from(body));
    await channel.waitForConfirms();

    const forwarder = startProgram(broker(), "pika/forward.py", source, target);
    await forwarder.finished();
    expect(forwarder.untaken("done")).toMatchObject([{ body: "one" }, { body: "undo" }, { body: "two" }]);

    expect(await contentOf(target)).toEqual([
      { body: "ONE", redelivered: false },
      { body: "TWO", redelivered: false },
    ]);
    expect(await contentOf(source)).toEqual([{ body: "undo", redelivered: true }]);

    async function contentOf(queue: string): Promise<unknown[]> {
      const found: unknown[] = [];
      for (;;) {
        const message = await channel.get(queue, { noAck: true });
        if (!message) return found;
        found.push({ body: message.content.toString(), redelivered: message.fields.redelivered });
      }
    }
  });
});

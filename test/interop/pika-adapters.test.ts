import { expect, test } from "vitest";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { startProgram } from "../support/program.ts";

const count = 100;

describeEachBroker("pika: its adapters", (broker) => {
  for (const adapter of ["select", "asyncio", "tornado", "gevent"]) {
    test(`${adapter}: publishes with confirms, is returned what is unroutable, consumes, closes`, async () => {
      await roundTrip("ConnectionClosedByClient", "pika/adapters.py", adapter);
    });
  }

  test("twisted: the same by deferreds", () => roundTrip("ConnectionDone", "pika/twisted_adapter.py"));

  async function roundTrip(reason: string, file: string, ...adapter: string[]): Promise<void> {
    const queue = broker().queueName("adapter");
    const program = startProgram(broker(), file, ...adapter, queue, String(count));
    await program.finished();
    expect(await program.next("returned")).toMatchObject({ reply_code: 312, body: "to nobody" });
    expect(await program.next("confirmed")).toMatchObject({ count: count + 1 });
    expect(await program.next("received")).toMatchObject({ count });
    expect(await program.next("closed")).toMatchObject({ reason });
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  }
});

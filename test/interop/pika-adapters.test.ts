import { expect, test } from "vitest";
import { describeEachBroker, queueState } from "../support/brokers.ts";
import { startProgram, type Program } from "../support/program.ts";

const count = 100;
const adapters = ["select", "asyncio", "tornado", "gevent", "twisted"];

describeEachBroker("pika: its adapters", (broker) => {
  for (const adapter of adapters) {
    test(`b12 ${adapter}: publishes with confirms, is returned what is unroutable, consumes, closes`, async () => {
      const queue = broker().queueName("adapter");
      const program = start(adapter, queue);
      await program.finished();
      expect(await program.next("returned")).toMatchObject({ reply_code: 312, body: "to nobody" });
      expect(await program.next("confirmed")).toMatchObject({ count: count + 1 });
      expect(await program.next("received")).toMatchObject({ count });
      const reason = adapter === "twisted" ? "ConnectionDone" : "ConnectionClosedByClient";
      expect(await program.next("closed")).toMatchObject({ reason });
      expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
    });
  }

  /** Twisted has an interface of its own; the others share one. */
  function start(adapter: string, queue: string): Program {
    return adapter === "twisted"
      ? startProgram(broker(), "pika/twisted_adapter.py", queue, String(count))
      : startProgram(broker(), "pika/adapters.py", adapter, queue, String(count));
  }
});

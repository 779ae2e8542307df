/** `compat: "4"`: rules of RabbitMQ 4.3, from its documentation. No RabbitMQ of that version judges here. */
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { Session } from "../differential/session.ts";

async function start(): Promise<Session> {
  const broker = await startBroker({ port: 0, compat: "4" });
  onTestFinished(() => broker.stop(100));
  return Session.open(broker.port, "");
}

test("queues that are neither durable nor exclusive are refused", async () => {
  const session = await start();
  await session.declare("durable", {}, { durable: true });
  await session.declare("exclusive", {}, { exclusive: true });
  await session.declare("neither");
  expect(session.transcript).toEqual([
    ["declare durable", ["durable", 0, 0]],
    ["declare exclusive", ["exclusive", 0, 0]],
    [
      "declare neither",
      expect.stringContaining(
        "connection closed: 541 INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.",
      ),
    ],
  ]);
});

test("a prefetch for a whole channel is refused, one for consumers is not", async () => {
  const session = await start();
  for (const global of [false, true])
    await session.noted(
      `global ${global}`,
      { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 1, global },
      MethodId.BasicQosOk,
    );
  expect(session.transcript).toEqual([
    ["global false", "ok"],
    [
      "global true",
      expect.stringContaining("connection closed: 541 INTERNAL_ERROR - Feature `global_qos` is deprecated."),
    ],
  ]);
});

test("only basic.reject counts towards the delivery limit, which is 20 unless the queue says otherwise", async () => {
  const session = await start();
  await session.declare("q", { "x-queue-type": "quorum", "x-delivery-limit": 1 }, { durable: true });
  await session.publish("", "q", "limit 1");
  for (let times = 0; times < 5; times++) session.nack((await session.get("q"))!, true);
  session.reject((await session.get("q"))!, true);
  session.reject((await session.get("q"))!, true);
  expect(await session.get("q")).toBeUndefined();

  await session.declare("p", { "x-queue-type": "quorum" }, { durable: true });
  await session.publish("", "p", "limit 20");
  for (let times = 0; times < 21; times++) session.reject((await session.get("p"))!, true);
  expect(await session.get("p")).toBeUndefined();
});

test("anything else than 3 and 4 is no version", async () => {
  await expect(startBroker({ port: 0, compat: "5" as "4" })).rejects.toThrow(
    'compat is 5; it must be "3" or "4"',
  );
});

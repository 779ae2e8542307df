import { expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { Session } from "../differential/session.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

const minuteMs = 60_000;

async function start(
  consumerTimeoutMs?: number,
): Promise<{ broker: Broker; session: Session; clock: ManualClock }> {
  const clock = new ManualClock(1_700_000_000_000);
  const broker = await startBroker({ port: 0, clock, heartbeatSeconds: 0, consumerTimeoutMs });
  onTestFinished(() => broker.stop(100));
  return { broker, session: await Session.open(broker.port, ""), clock };
}

test("a delivery that is not acknowledged for half an hour closes its channel and goes to another consumer", async () => {
  const { session, clock } = await start();
  await session.declare("q");
  await session.consume("q", "hangs", { channel: 1, prefetch: 1 });
  await session.publish("", "q", "task");
  await session.delivered(1, 1);
  clock.advance(29 * minuteMs);
  await session.consume("q", "works", { channel: 2 });
  session.transcript.length = 0;
  clock.advance(2 * minuteMs);
  await session.closing();
  expect(session.transcript).toEqual([
    [
      "closed",
      "channel closed: 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: " +
        "1800000 ms. This timeout value can be configured, see consumers doc guide to learn more (0, 0)",
    ],
  ]);
  const [again] = await session.delivered(1, 2);
  expect(again.shown).toMatchObject({ to: "works", body: "task", redelivered: true });
});

test("deliveries that are acknowledged in time keep their channel open, however many there are", async () => {
  const { session, clock } = await start(10 * minuteMs);
  await session.declare("q");
  await session.consume("q", "c");
  for (let minutes = 0; minutes < 100; minutes += 3) {
    await session.publish("", "q", String(minutes));
    const [delivery] = await session.delivered(1);
    clock.advance(9 * minuteMs);
    session.ack(delivery);
    await session.settled();
  }
  await session.count("q");
  expect(session.transcript.at(-1)).toEqual(["count q", [0, 1]]);
});

test("it can be switched off", async () => {
  const { session, clock } = await start(Number.POSITIVE_INFINITY);
  await session.declare("q");
  await session.consume("q", "c");
  await session.publish("", "q", "task");
  const [delivery] = await session.delivered(1);
  clock.advance(10_000 * minuteMs);
  session.ack(delivery);
  await session.settled();
  await session.count("q");
  expect(session.transcript.at(-1)).toEqual(["count q", [0, 1]]);
});

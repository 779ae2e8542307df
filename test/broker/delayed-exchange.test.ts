/**
 * Exchanges of type x-delayed-message. RabbitMQ's plugin is in no package of Debian's, so that no RabbitMQ judges here: what
 * is tested is what its documentation and source say.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import type { FieldValue } from "../../src/wire/index.ts";
import { Session } from "../differential/session.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

const startMs = 1_700_000_000_000;
const delay = (value: number): Map<string, FieldValue> =>
  new Map([["x-delay", { type: "signedint", value }]]);

async function start(
  options: BrokerOptions = {},
): Promise<{ broker: Broker; session: Session; clock: ManualClock }> {
  const clock = new ManualClock(startMs);
  const broker = await startBroker({ port: 0, clock, heartbeatSeconds: 0, ...options });
  onTestFinished(() => broker.stop(100));
  return { broker, session: await Session.open(broker.port, ""), clock };
}

async function seen(session: Session, queue: string): Promise<string[]> {
  session.transcript.length = 0;
  await session.drain(queue);
  const [[, messages]] = session.transcript as [string, { body: string }[]][];
  return messages.map(({ body }) => body);
}

async function declareDelayed(session: Session, durable = false): Promise<void> {
  await session.declareExchange("later", "x-delayed-message", { "x-delayed-type": "topic" }, { durable });
  await session.declare("q", {}, { durable });
  await session.bind("q", "later", "task.*");
}

test("d15 messages come when they are due, in the order of their times; a delay of none is none", async () => {
  const { broker, session, clock } = await start();
  await declareDelayed(session);
  for (const [body, delayMs] of [
    ["third", 3000],
    ["first", 1000],
    ["second", 2000],
    ["also second", 2000],
  ] as const)
    await session.publish("later", "task.a", body, { headers: delay(delayMs), mandatory: true });
  await session.publish("later", "task.a", "now", { headers: delay(0) });
  await session.publish("later", "task.a", "now, too");
  await session.publish("later", "task.a", "negative", { headers: delay(-500) });
  expect(broker.usage().delayedMessages).toBe(4);
  expect(broker.delayedMessages("later").map(({ dueMs }) => dueMs - startMs)).toEqual([
    1000, 2000, 2000, 3000,
  ]);
  expect(await seen(session, "q")).toEqual(["now", "now, too", "negative"]);
  clock.advance(999);
  expect(await seen(session, "q")).toEqual([]);
  clock.advance(1);
  await session.until("q", 1);
  expect(await seen(session, "q")).toEqual(["first"]);
  clock.advance(2000);
  await session.until("q", 3);
  expect(await seen(session, "q")).toEqual(["second", "also second", "third"]);
  expect(broker.usage().delayedMessages).toBe(0);
});

test("a message shows its delay negated, so that the next delayed exchange lets it pass", async () => {
  const { session, clock } = await start();
  await declareDelayed(session);
  await session.declareExchange("again", "x-delayed-message", { "x-delayed-type": "fanout" });
  await session.declare("r");
  await session.bind("r", "again", "");
  await session.bindExchange("again", "later", "task.a");
  await session.publish("later", "task.a", "twice", { headers: delay(100), messageId: "m" });
  clock.advance(100);
  await session.until("r", 1);
  session.transcript.length = 0;
  await session.drain("r");
  expect(session.transcript).toEqual([
    [
      "drain r",
      [
        {
          body: "twice",
          exchange: "later",
          routingKey: "task.a",
          messageId: "m",
          headers: [["x-delay", "long", -100]],
          left: 0,
        },
      ],
    ],
  ]);
});

test("it is routed by the bindings that there are when it is due", async () => {
  const { session, clock } = await start();
  await declareDelayed(session);
  await session.publish("later", "other.key", "bound late", { headers: delay(500) });
  await session.bind("q", "later", "other.*");
  clock.advance(500);
  await session.until("q", 1);
  expect(await seen(session, "q")).toEqual(["bound late"]);
});

test("messages are cancelled by their message-id, and no others", async () => {
  const { broker, session, clock } = await start();
  await declareDelayed(session);
  for (const [body, messageId] of [
    ["1", "a"],
    ["2", "b"],
    ["3", "a"],
    ["4", undefined],
  ] as const)
    await session.publish("later", "task.a", body, { headers: delay(1000), ...(messageId && { messageId }) });
  expect(await broker.cancelDelayed("later", "a")).toBe(2);
  expect(await broker.cancelDelayed("later", "a")).toBe(0);
  expect(broker.delayedMessages("later").map(({ messageId }) => messageId)).toEqual(["b", undefined]);
  clock.advance(1000);
  await session.until("q", 2);
  expect(await seen(session, "q")).toEqual(["2", "4"]);
  expect(() => broker.delayedMessages("amq.topic")).toThrow("is of type topic, not x-delayed-message");
  await expect(broker.cancelDelayed("nowhere", "a")).rejects.toThrow("does not exist");
});

test("its type must be known, and is compared when it is declared again", async () => {
  const { session } = await start();
  await session.declareExchange("x", "x-delayed-message");
  await session.declareExchange("x", "x-delayed-message", { "x-delayed-type": "unheard-of" });
  expect(session.transcript[0]).toEqual([
    "exchange x",
    "channel closed: 406 PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type (40, 10)",
  ]);
  expect(session.transcript[1]).toEqual([
    "exchange x",
    "connection closed: 503 COMMAND_INVALID - unknown exchange type 'unheard-of' (40, 10)",
  ]);
});

test("a deleted exchange takes what it holds with it", async () => {
  const { broker, session } = await start();
  await declareDelayed(session);
  await session.publish("later", "task.a", "lost", { headers: delay(1000) });
  await session[Symbol.asyncDispose]();
  await expect.poll(() => broker.usage().messages).toBe(0);
  expect(broker.usage().delayedMessages).toBe(0);
});

for (const end of ["stop", "kill"] as const) {
  test(`delayed messages keep their times over a ${end}`, async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "warren-delayed-"));
    onTestFinished(() => rmSync(dataDir, { recursive: true }));
    const before = await start({ dataDir });
    await declareDelayed(before.session, true);
    for (const [body, delayMs] of [
      ["2", 20_000],
      ["1", 10_000],
      ["cancelled", 15_000],
    ] as const)
      await before.session.publish("later", "task.a", body, {
        headers: delay(delayMs),
        deliveryMode: 2,
        messageId: body,
      });
    expect(await before.broker.cancelDelayed("later", "cancelled")).toBe(1);
    await before.broker.stop(0);
    // Without its checkpoint the log is read, as after a kill.
    if (end === "kill") rmSync(join(dataDir, "checkpoint"));

    const clock = new ManualClock(startMs + 15_000);
    const after = await startBroker({ port: 0, clock, heartbeatSeconds: 0, dataDir });
    onTestFinished(() => after.stop(100));
    const session = await Session.open(after.port, "");
    clock.advance(0);
    await session.until("q", 1);
    expect(await seen(session, "q")).toEqual(["1"]);
    expect(after.usage().delayedMessages).toBe(1);
    clock.advance(5_000);
    await session.until("q", 1);
    expect(await seen(session, "q")).toEqual(["2"]);
  });
}

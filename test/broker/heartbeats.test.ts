import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { FrameType, MethodId } from "../../src/wire/index.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { encodeFrame, protocolHeader, RawClient } from "../support/raw-client.ts";
import { ownQueue } from "../support/raw-login.ts";

const heartbeatFrame = encodeFrame(FrameType.Heartbeat, 0, new Uint8Array(0));
const end = { kind: "end" };

describe.each([{ staticReads: true }, { staticReads: false }])(
  "time-outs, static reads: $staticReads",
  ({ staticReads }) => {
    let clock: ManualClock;
    let broker: Broker;
    beforeEach(async () => {
      clock = new ManualClock();
      broker = await startBroker({ port: 0, clock, staticReads, handshakeTimeoutMs: 10_000 });
    });
    const clients: RawClient[] = [];
    afterEach(async () => {
      await Promise.all(clients.splice(0).map((client) => client.close()));
      await broker.stop();
    });

    async function login(heartbeat: number): Promise<RawClient> {
      const client = await RawClient.login(broker.port, { heartbeat });
      clients.push(client);
      return client;
    }

    async function expectHeartbeat(client: RawClient): Promise<void> {
      expect(await client.next()).toMatchObject({ kind: "heartbeat", channel: 0 });
    }

    test("a silent client is cut after two intervals, not before", async () => {
      const client = await login(1);
      clock.advance(2_000);
      await ownQueueIsThere(client);
      clock.advance(500);
      clock.advance(1_999);
      expect(broker.usage().connections).toBe(1);
      clock.advance(1);
      await untilEnd(client);
      expect(broker.usage()).toMatchObject({ connections: 0, queues: 0 });
    });

    test("a client that sends heartbeats stays, and gets heartbeats while the broker has nothing to say", async () => {
      const client = await login(1);
      // What answered the login counts as a sign of life.
      clock.advance(500);
      for (let halfSeconds = 0; halfSeconds < 60; halfSeconds++) {
        client.bytes(heartbeatFrame);
        await reading(client);
        clock.advance(500);
      }
      expect(client.ended).toBe(false);
      const beats = client.inbox.filter(({ kind }) => kind === "heartbeat");
      expect(beats.length).toBeLessThanOrEqual(60);
      clock.advance(500);
      clock.advance(500);
      await expectHeartbeat(client);
      await ownQueueIsThere(client);
    });

    test("without heartbeats a silent client stays, and gets none", async () => {
      const client = await login(0);
      clock.advance(3_600_000);
      await ownQueueIsThere(client);
      expect(client.inbox).toEqual([]);
    });

    test("a client that never finishes its login is cut when the time for it is over", async () => {
      const silent = await RawClient.open(broker.port);
      const started = await RawClient.open(broker.port);
      clients.push(silent, started);
      started.bytes(protocolHeader);
      await started.expect(MethodId.ConnectionStart);
      await expect.poll(() => broker.usage().connections).toBe(2);
      const working = await login(0);
      clock.advance(9_999);
      expect(broker.usage().connections).toBe(3);
      clock.advance(1);
      expect(await silent.next()).toEqual(end);
      expect(await started.next()).toEqual(end);
      await ownQueueIsThere(working);
    });

    test("a client that does not answer connection.close is cut five seconds later", async () => {
      const client = await login(0);
      client.method(9, { id: MethodId.BasicRecoverOk });
      await client.expect(MethodId.ConnectionClose);
      clock.advance(4_999);
      expect(broker.usage().connections).toBe(1);
      clock.advance(1);
      expect(await client.next()).toEqual(end);
    });

    test("no timer outlives its connection", async () => {
      const before = clock.pending;
      const client = await login(1);
      expect(clock.pending).toBeGreaterThan(before);
      await client.close();
      await expect.poll(() => broker.usage().connections).toBe(0);
      expect(clock.pending).toBe(before);
    });
  },
);

/** The broker has read all that the client sent so far, and answers. */
async function ownQueueIsThere(client: RawClient): Promise<void> {
  while (client.inbox[0]?.kind === "heartbeat") client.inbox.shift();
  expect(await ownQueue(client)).toMatch(/^amq\.gen-/);
}

/** Resolves when the broker has had its turn to read. */
async function reading(client: RawClient): Promise<void> {
  await new Promise((resolve) => client.socket.write("", resolve));
  await new Promise(setImmediate);
  await new Promise(setImmediate);
}

async function untilEnd(client: RawClient): Promise<void> {
  for (;;) {
    const received = await client.next();
    if (received.kind === "end") return;
    expect(received.kind).toBe("heartbeat");
  }
}

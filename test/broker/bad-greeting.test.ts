/** What may come before the login is done: anybody can send it. */
import { expect, onTestFinished, test } from "vitest";
import { FrameType, MethodId } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { declareQueue, publishMethod } from "../support/methods.ts";
import {
  encodeFrame,
  encodeHeader,
  encodeMethod,
  protocolHeader,
  RawClient,
  startOk,
} from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";

const text = (latin1: string): Uint8Array => Buffer.from(latin1, "latin1");

const otherProtocols: readonly [name: string, bytes: Uint8Array][] = [
  ["HTTP", text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["TLS", Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)],
  ["AMQP 1.0 with TLS", text("AMQP\x02\x01\x00\x00")],
  ["AMQP 0-9-2", text("AMQP\x00\x00\x09\x02")],
  ["a name in small letters", text("amqp\x00\x00\x09\x01")],
  ["zeros", new Uint8Array(8)],
];

const startOkBytes = encodeMethod(startOk("guest", "guest"));
const hugeTable = startOkBytes.slice();
hugeTable.fill(255, 4, 8);

const wrongSteps: readonly [name: string, bytes: Uint8Array][] = [
  ["start-ok with a table of 0xffffffff bytes", encodeFrame(FrameType.Method, 0, hugeTable)],
  ["start-ok that ends early", encodeFrame(FrameType.Method, 0, startOkBytes.subarray(0, 20))],
  ["a frame of 0xffffffff bytes", Uint8Array.of(1, 0, 0, 255, 255, 255, 255, 0)],
  ["a frame without its end octet", Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)],
  ["an unknown mechanism", method(0, { ...startOk("guest", "guest"), mechanism: "WISHES" })],
  ["a PLAIN response without a password", method(0, { ...startOk("", ""), response: "guest" })],
  ["a wrong password", method(0, startOk("guest", "\u{1f511}"))],
  ["connection.open before start-ok", method(0, { id: MethodId.ConnectionOpen, virtualHost: "/" })],
  ["a channel before the login", method(1, { id: MethodId.ChannelOpen })],
  ["a queue before the login", method(0, declareQueue("before-login"))],
  ["basic.publish before the login", method(1, publishMethod("", "before-login"))],
  ["a content header before the login", encodeFrame(FrameType.Header, 1, encodeHeader(1 << 30))],
  ["a body before the login", encodeFrame(FrameType.Body, 1, new Uint8Array(1000))],
];

const wrongTunings: readonly [name: string, frameMax: number, channelMax: number][] = [
  ["a frame-max below 4096", 4095, 100],
  ["a frame-max above the offered one", 131_073, 100],
  ["a channel-max above the offered one", 131_072, 65_535],
];

describeEachBroker("bad greetings", (broker, brokerName) => {
  // RabbitMQ ends them all alike, but lets a failed login wait for seconds.
  const steps = brokerName === "warren" ? wrongSteps : wrongSteps.slice(0, 1);
  const tunings = brokerName === "warren" ? wrongTunings : wrongTunings.slice(0, 1);

  async function open(): Promise<RawClient> {
    const client = await RawClient.open(broker().port);
    onTestFinished(() => client.close());
    return client;
  }

  async function expectOthersServed(): Promise<void> {
    await ownQueue(await login(broker()));
  }

  test.each(otherProtocols)("%s is told which protocol is spoken here", async (_name, bytes) => {
    const client = await open();
    client.bytes(bytes);
    const answer = await client.next();
    expect({ ...answer, payload: "payload" in answer && Uint8Array.from(answer.payload) }).toEqual({
      kind: "protocol-header",
      payload: protocolHeader,
    });
    expect(await client.next()).toEqual({ kind: "end" });
    await expectOthersServed();
  });

  test.each(steps)("%s ends the connection without a login", async (_name, bytes) => {
    const client = await open();
    client.bytes(protocolHeader);
    await client.expect(MethodId.ConnectionStart);
    client.bytes(bytes);
    expect(await ending(client)).toEqual({ kind: "end" });
    await expectOthersServed();
  });

  test.each(tunings)("%s is refused", async (_name, frameMax, channelMax) => {
    const client = await open();
    client.bytes(protocolHeader);
    await client.expect(MethodId.ConnectionStart);
    client.method(0, startOk(broker().username, broker().password));
    await client.expect(MethodId.ConnectionTune);
    client.method(0, { id: MethodId.ConnectionTuneOk, channelMax, frameMax, heartbeat: 0 });
    client.method(0, { id: MethodId.ConnectionOpen, virtualHost: "/" });
    expect(await ending(client)).toEqual({ kind: "end" });
    await expectOthersServed();
  });
});

/** What comes last, after a connection.close where the broker sends one. */
async function ending(client: RawClient): Promise<unknown> {
  const received = await client.next();
  if (received.kind !== "method" || received.method.id !== MethodId.ConnectionClose) return received;
  client.method(0, { id: MethodId.ConnectionCloseOk });
  return client.next();
}

function method(channel: number, content: Parameters<typeof encodeMethod>[0]): Uint8Array {
  return encodeFrame(FrameType.Method, channel, encodeMethod(content));
}

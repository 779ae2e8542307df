import { connect } from "amqplib";
import { describe, expect, onTestFinished, test } from "vitest";
import { emptyTable, MethodId } from "../../src/wire/index.ts";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import { bindQueue, consume, declareExchange, declareQueue } from "../support/methods.ts";
import { protocolHeader, RawClient, startOk } from "../support/raw-client.ts";

async function started(options: BrokerOptions = {}): Promise<Broker> {
  const broker = await startBroker({ port: 0, ...options });
  onTestFinished(() => broker.stop());
  return broker;
}

describe("startBroker", () => {
  test("gives a URL that any client can use, and can be stopped twice", async () => {
    const broker = await started();
    expect(broker.url).toBe(`amqp://guest:guest@127.0.0.1:${broker.port}`);
    const connection = await connect(broker.url);
    await connection.close();
    await broker.stop();
    await broker.stop();
    await expect(connect(broker.url)).rejects.toThrow(/ECONNREFUSED/);
  });

  test("is disposed at the end of its block", async () => {
    let url = "";
    {
      await using broker = await startBroker({ port: 0 });
      ({ url } = broker);
    }
    await expect(connect(url)).rejects.toThrow(/ECONNREFUSED/);
  });

  test("says who listens on its port, and what to do", async () => {
    const { port } = await started();
    await expect(startBroker({ port })).rejects.toThrow(
      /another program listens there.*choose another port/i,
    );
  });

  test("refuses to listen beyond this machine with guest and guest", async () => {
    await expect(startBroker({ port: 0, host: "0.0.0.0" })).rejects.toThrow(/user guest and password guest/);
    const broker = await started({ host: "0.0.0.0", user: "agent", password: "secret & safe" });
    await (await connect(broker.url)).close();
  });

  test("b8 takes the user and password it was started with, and no others", async () => {
    const broker = await started({ user: "agent", password: "p@ss:w/rd" });
    await (await connect(broker.url)).close();
    const guest = broker.url.replace(/\/\/.*@/, "//guest:guest@");
    await expect(connect(guest)).rejects.toThrow(/ACCESS_REFUSED|403/);
  });

  test("stopping tells clients 320 and waits for them", async () => {
    const broker = await started();
    const client = await RawClient.login(broker.port);
    const stopped = broker.stop();
    expect(await client.expect(MethodId.ConnectionClose)).toMatchObject({
      replyCode: 320,
      replyText: "CONNECTION_FORCED - broker is shutting down",
    });
    client.method(0, { id: MethodId.ConnectionCloseOk });
    await stopped;
    expect(await client.next()).toEqual({ kind: "end" });
  });

  test("stopping does not wait for ever for a client that does not answer", async () => {
    const broker = await started();
    const client = await RawClient.login(broker.port);
    await broker.stop(50);
    await client.expect(MethodId.ConnectionClose);
    expect(await client.next()).toEqual({ kind: "end" });
  });

  test("AMQPLAIN logs in as well as PLAIN", async () => {
    const broker = await started();
    const client = await RawClient.open(broker.port);
    onTestFinished(() => client.close());
    client.bytes(protocolHeader);
    await client.expect(MethodId.ConnectionStart);
    // A field table without its length: LOGIN and PASSWORD, both long strings.
    const response = "\u0005LOGINS\0\0\0\u0005guest\u0008PASSWORDS\0\0\0\u0005guest";
    client.method(0, { ...startOk("", ""), mechanism: "AMQPLAIN", response });
    expect(await client.expect(MethodId.ConnectionTune)).toMatchObject({
      channelMax: 2047,
      frameMax: 131_072,
    });
  });

  test("works the same when sockets are read by events", async () => {
    const broker = await started({ staticReads: false });
    const client = await RawClient.login(broker.port);
    onTestFinished(() => client.close());
    await client.call(1, declareQueue("events", { exclusive: true }), MethodId.QueueDeclareOk);
    await client.call(1, consume("events", { noAck: true }), MethodId.BasicConsumeOk);
    for (const size of [0, 10, 300_000]) {
      client.publish(1, "", "events", new Uint8Array(size).fill(7));
      expect((await client.content(MethodId.BasicDeliver)).body).toHaveLength(size);
    }
  });

  test("refuses options out of their range, by name", async () => {
    await expect(startBroker({ port: 0, channelMax: 0 })).rejects.toThrow("channelMax is 0");
    await expect(startBroker({ port: 0, frameMax: 100 })).rejects.toThrow("frameMax is 100");
    await expect(startBroker({ port: 70_000 })).rejects.toThrow("port is 70000");
  });

  test("the maximum size of a message holds, however it arrives", async () => {
    const broker = await started({ maxMessageBytes: 1000 });
    const client = await RawClient.login(broker.port);
    onTestFinished(() => client.close());
    client.publish(1, "", "nobody", new Uint8Array(1001));
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: 406 });
  });

  test("a long chain of auto-delete exchanges goes with the queue at its end", async () => {
    const broker = await started();
    const client = await RawClient.login(broker.port);
    onTestFinished(() => client.close());
    await client.call(1, declareQueue("end", { exclusive: true }), MethodId.QueueDeclareOk);
    const length = 12_000;
    for (let number = 0; number < length; number++) {
      client.method(1, declareExchange(`x${number}`, "fanout", { autoDelete: true, noWait: true }));
      if (number === 0) continue;
      const bind = { destination: `x${number - 1}`, source: `x${number}`, routingKey: "" };
      client.method(1, { id: MethodId.ExchangeBind, ...bind, noWait: true, arguments: emptyTable });
    }
    await client.call(1, bindQueue("end", "x0", ""), MethodId.QueueBindOk);
    const remove = { id: MethodId.QueueDelete, queue: "end", ifUnused: false, ifEmpty: false } as const;
    await client.call(1, { ...remove, noWait: false }, MethodId.QueueDeleteOk);
    client.method(1, declareExchange(`x${length - 1}`, "fanout", { passive: true }));
    expect(await client.expect(MethodId.ChannelClose)).toMatchObject({ replyCode: 404 });
  });

  test("leaves nothing behind when clients go, however they go", async () => {
    const broker = await started();
    for (let round = 0; round < 20; round++) {
      const client = await RawClient.login(broker.port);
      await client.call(1, declareQueue("", { exclusive: true }), MethodId.QueueDeclareOk);
      await client.call(1, bindQueue("", "amq.topic", "#", emptyTable), MethodId.QueueBindOk);
      for (let count = 0; count < 50; count++) client.publish(1, "amq.topic", "k", "x".repeat(1000));
      await client.call(1, consume(""), MethodId.BasicConsumeOk);
      client.socket.resetAndDestroy();
    }
    await expect
      .poll(() => broker.usage())
      .toMatchObject({ connections: 0, queues: 0, messages: 0, unsentBytes: 0 });
  });
});

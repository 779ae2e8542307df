import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { emptyTable, MethodId } from "../../src/wire/index.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { ack, bindQueue, consume, declareExchange, declareQueue } from "../support/methods.ts";
import { encodeHeader, RawClient, type MethodOf } from "../support/raw-client.ts";
import { login, ownQueue } from "../support/raw-login.ts";

const select = { id: MethodId.TxSelect } as const;
const commit = { id: MethodId.TxCommit } as const;
const rollback = { id: MethodId.TxRollback } as const;
const recover = { id: MethodId.BasicRecover, requeue: true } as const;
const confirmSelect = { id: MethodId.ConfirmSelect, noWait: false } as const;
const close = { id: MethodId.ChannelClose, replyCode: 200, replyText: "", classId: 0, methodId: 0 } as const;
const text = (body: Uint8Array): string => Buffer.from(body).toString();

describeEachBroker("transactions", (broker, brokerName) => {
  test("a channel confirms or is transactional, not both; what is not transactional has nothing to commit", async () => {
    const client = await login(broker());
    await client.call(1, select, MethodId.TxSelectOk);
    await client.call(1, select, MethodId.TxSelectOk);
    client.method(1, confirmSelect);
    expect(await refusal(client)).toEqual([
      "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
      85,
      10,
    ]);

    await client.openChannel(2);
    await client.call(2, confirmSelect, MethodId.ConfirmSelectOk);
    client.method(2, select);
    expect(await refusal(client)).toEqual([
      "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
      90,
      10,
    ]);

    await client.openChannel(3);
    client.method(3, commit);
    expect(await refusal(client)).toEqual(["PRECONDITION_FAILED - channel is not transactional", 90, 20]);

    await client.openChannel(4);
    client.method(4, rollback);
    expect(await refusal(client)).toEqual(["PRECONDITION_FAILED - channel is not transactional", 90, 30]);
  });

  describe("publishing", () => {
    test("messages come at the commit, in order, and not before; selecting again changes nothing", async () => {
      const { client, queue } = await transactional();
      for (const body of ["1", "2", "3"]) client.publish(1, "", queue, body);
      await client.call(1, select, MethodId.TxSelectOk);
      expect(await ready(client, queue)).toBe(0);
      await client.call(1, commit, MethodId.TxCommitOk);
      expect(await ready(client, queue)).toBe(3);
      expect(await drain(client, queue)).toEqual(["1", "2", "3"]);
    });

    test("a rollback drops them, and the next transaction begins", async () => {
      const { client, queue } = await transactional();
      client.publish(1, "", queue, "dropped");
      await client.call(1, rollback, MethodId.TxRollbackOk);
      client.publish(1, "", queue, "kept");
      await client.call(1, commit, MethodId.TxCommitOk);
      await client.call(1, rollback, MethodId.TxRollbackOk);
      await client.call(1, commit, MethodId.TxCommitOk);
      expect(await drain(client, queue)).toEqual(["kept"]);
    });

    test("other channels of the connection publish meanwhile", async () => {
      const { client, queue } = await transactional();
      client.publish(1, "", queue, "later");
      await client.call(1, select, MethodId.TxSelectOk);
      client.publish(2, "", queue, "at once");
      expect(await get(client, queue, false, 2)).toBe("at once");
      await client.call(1, commit, MethodId.TxCommitOk);
      expect(await drain(client, queue)).toEqual(["later"]);
    });

    test("messages of all sizes are kept as they came, however much is read in between", async () => {
      const { client, queue } = await transactional();
      const sent: string[] = [];
      // In one frame, and in several.
      for (const size of [30_000, 130_000, 300_000]) sent.push("0123456789".repeat(size / 10));
      for (let number = 0; number < 600; number++) {
        sent.push(String(number).padEnd((number * number * 37) % 5000, "abcdefg"));
      }
      for (const [number, body] of sent.entries()) {
        client.publish(1, "", queue, body, { properties: { messageId: `m${number}` } });
      }
      const [scratch, noise] = [await ownQueue(client), "noise".repeat(10_000)];
      for (let number = 0; number < 20; number++) client.publish(2, "", scratch, noise);
      await client.call(1, commit, MethodId.TxCommitOk);

      await client.call(2, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
      for (const [number, expected] of sent.entries()) {
        const { header, body } = await client.content(MethodId.BasicDeliver);
        const sentHeader = encodeHeader(expected.length, { messageId: `m${number}` });
        expect(Buffer.from(header)).toEqual(Buffer.from(sentHeader));
        expect(text(body) === expected).toBe(true);
      }
    });

    test("what cannot be routed is returned at the commit, in its place, before commit-ok", async () => {
      const { client, queue } = await transactional();
      client.publish(1, "", "nowhere", "first", { mandatory: true });
      client.publish(1, "", queue, "routed", { mandatory: true });
      client.publish(1, "", "nowhere", "silent");
      client.publish(1, "", "nowhere", "second", { mandatory: true });
      expect(await ready(client, queue)).toBe(0);
      client.method(1, commit);
      for (const body of ["first", "second"]) {
        const returned = await client.content(MethodId.BasicReturn);
        expect([text(returned.body), returned.method.replyCode, returned.method.replyText]).toEqual([
          body,
          312,
          "NO_ROUTE",
        ]);
      }
      await client.expect(MethodId.TxCommitOk);
      expect(await ready(client, queue)).toBe(1);
    });

    for (const [what, exchange, properties, reply] of [
      ["to an exchange that is not there", "missing", {}, "NOT_FOUND - no exchange 'missing' in vhost '/'"],
      [
        "in another's name",
        "",
        { userId: "other" },
        "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
      ],
      [
        "with a delivery mode that does not exist",
        "",
        { deliveryMode: 7 },
        "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,7}",
      ],
    ] as const) {
      test(`publishing ${what} closes the channel at once, and what the transaction had is dropped`, async () => {
        const { client, queue } = await transactional();
        client.publish(1, "", queue, "dropped");
        client.publish(1, exchange, queue, "wrong", { properties });
        expect(await refusal(client)).toEqual([reply, 60, 40]);
        client.method(1, { id: MethodId.ChannelCloseOk });
        await client.openChannel(1);
        client.method(1, commit);
        expect((await refusal(client))[0]).toBe("PRECONDITION_FAILED - channel is not transactional");
        expect(await ready(client, queue, 2)).toBe(0);
      });
    }

    test("bindings count as they are when a message is published", async () => {
      const { client, queue } = await transactional();
      const exchange = broker().exchangeName("tx");
      await client.call(2, declareExchange(exchange, "direct"), MethodId.ExchangeDeclareOk);
      await client.call(2, bindQueue(queue, exchange, "bound"), MethodId.QueueBindOk);
      client.publish(1, exchange, "bound", "routed", { mandatory: true });
      client.publish(1, exchange, "unbound", "returned", { mandatory: true });
      await client.call(1, select, MethodId.TxSelectOk);
      await client.call(2, bindQueue(queue, exchange, "unbound"), MethodId.QueueBindOk);
      const unbind = { id: MethodId.QueueUnbind, queue, exchange, routingKey: "bound" } as const;
      await client.call(2, { ...unbind, arguments: emptyTable }, MethodId.QueueUnbindOk);
      client.method(1, commit);
      expect(text((await client.content(MethodId.BasicReturn)).body)).toBe("returned");
      await client.expect(MethodId.TxCommitOk);
      const gone = { id: MethodId.ExchangeDelete, exchange, ifUnused: false, noWait: false } as const;
      client.publish(1, exchange, "unbound", "routed, too", { mandatory: true });
      await client.call(1, select, MethodId.TxSelectOk);
      await client.call(2, gone, MethodId.ExchangeDeleteOk);
      await client.call(1, commit, MethodId.TxCommitOk);
      expect(await drain(client, queue)).toEqual(["routed", "routed, too"]);
    });

    test("queues are found by their names when it is committed", async () => {
      const { client } = await transactional();
      const [exchange, name] = [broker().exchangeName("tx"), broker().queueName("tx")];
      await client.call(2, declareExchange(exchange, "fanout"), MethodId.ExchangeDeclareOk);
      const declare = (): Promise<unknown> => client.call(2, declareQueue(name), MethodId.QueueDeclareOk);
      const remove = { id: MethodId.QueueDelete, queue: name, ifUnused: false, ifEmpty: false } as const;

      client.publish(1, "", name, "by name", { mandatory: true });
      await client.call(1, select, MethodId.TxSelectOk);
      await declare();
      await client.call(1, commit, MethodId.TxCommitOk);

      await client.call(2, bindQueue(name, exchange, ""), MethodId.QueueBindOk);
      client.publish(1, exchange, "", "to the new one", { mandatory: true });
      await client.call(1, select, MethodId.TxSelectOk);
      expect(await drain(client, name, 2)).toEqual(["by name"]);
      await client.call(2, { ...remove, noWait: false }, MethodId.QueueDeleteOk);
      await declare();
      await client.call(1, commit, MethodId.TxCommitOk);
      expect(await drain(client, name, 2)).toEqual(["to the new one"]);

      await client.call(2, bindQueue(name, exchange, ""), MethodId.QueueBindOk);
      client.publish(1, exchange, "", "too late", { mandatory: true });
      await client.call(1, select, MethodId.TxSelectOk);
      await client.call(2, { ...remove, noWait: false }, MethodId.QueueDeleteOk);
      client.method(1, commit);
      expect(text((await client.content(MethodId.BasicReturn)).body)).toBe("too late");
      await client.expect(MethodId.TxCommitOk);
    });

    test("one message goes to all of its queues at the commit", async () => {
      const { client, queue } = await transactional();
      const exchange = broker().exchangeName("tx");
      await client.call(1, declareExchange(exchange, "fanout"), MethodId.ExchangeDeclareOk);
      const queues = [queue, await ownQueue(client), await ownQueue(client)];
      for (const name of queues) await client.call(1, bindQueue(name, exchange, ""), MethodId.QueueBindOk);
      client.publish(1, exchange, "", "for all");
      expect(await ready(client, queues[2])).toBe(0);
      await client.call(1, commit, MethodId.TxCommitOk);
      for (const name of queues) expect(await drain(client, name)).toEqual(["for all"]);
    });
  });

  describe("settling", () => {
    for (const global of [false, true]) {
      test(`acknowledgements give credit at the commit, with the prefetch ${global ? "of the channel" : "per consumer"}`, async () => {
        const { client, queue } = await transactional(6);
        const qos = { id: MethodId.BasicQos, prefetchSize: 0, prefetchCount: 2, global } as const;
        await client.call(1, qos, MethodId.BasicQosOk);
        await client.call(1, consume(queue), MethodId.BasicConsumeOk);
        expect(await receive(client, 2)).toEqual(["1", "2"]);
        client.method(1, ack(1));
        expect(await ready(client, queue)).toBe(4);
        client.method(1, commit);
        expect(await receiveBefore(client, MethodId.TxCommitOk, 1)).toEqual(["3"]);
        expect(await ready(client, queue)).toBe(3);
      });
    }

    test("a rollback leaves the deliveries waiting: they do not come again, and can be settled again", async () => {
      const { client, queue } = await transactional(4);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 4);
      client.method(1, ack(2));
      client.method(1, nack(3, false, false));
      client.method(1, ack(4, true));
      await client.call(1, rollback, MethodId.TxRollbackOk);
      client.method(1, ack(3));
      client.method(1, ack(2));
      await client.call(1, commit, MethodId.TxCommitOk);
      client.method(1, recover);
      expect(await receiveBefore(client, MethodId.BasicRecoverOk, 2)).toEqual(["1 again", "4 again"]);
    });

    test("an ack for several covers what nothing else in the transaction does", async () => {
      const { client, queue } = await transactional(5);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 5);
      client.method(1, nack(2));
      client.method(1, ack(4, true));
      client.method(1, commit);
      expect(await receiveBefore(client, MethodId.TxCommitOk, 1)).toEqual(["2 again"]);
      await client.call(1, close, MethodId.ChannelCloseOk);
      expect(await drain(client, queue, 2)).toEqual(["2 again", "5 again"]);
    });

    test("an ack for all covers what was delivered by then; with nothing delivered it is fine", async () => {
      const { client, queue } = await transactional();
      client.method(1, ack(0, true));
      await client.call(1, commit, MethodId.TxCommitOk);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      client.publish(2, "", queue, "1");
      await receive(client, 1);
      client.method(1, ack(0, true));
      await client.call(1, select, MethodId.TxSelectOk);
      client.publish(2, "", queue, "2");
      await receive(client, 1);
      await client.call(1, commit, MethodId.TxCommitOk);
      await client.call(1, close, MethodId.ChannelCloseOk);
      expect(await drain(client, queue, 2)).toEqual(["2 again"]);
    });

    for (const [what, again] of [
      ["once more", ack(2)],
      ["once more, for several", ack(2, true)],
      ["by a rejection", nack(2)],
      ["with a tag that never was", ack(9)],
    ] as const) {
      test(`tags are checked at once: settling ${what} closes the channel`, async () => {
        const { client, queue } = await transactional(3);
        await client.call(1, consume(queue), MethodId.BasicConsumeOk);
        await receive(client, 3);
        client.method(1, ack(2));
        client.method(1, again);
        expect(await refusal(client)).toEqual([
          `PRECONDITION_FAILED - unknown delivery tag ${again.deliveryTag}`,
          again.id >>> 16,
          again.id & 0xffff,
        ]);
        expect(await drain(client, queue, 2)).toEqual(["1 again", "2 again", "3 again"]);
      });
    }

    test("a tag that an ack for several covers is unknown from then on", async () => {
      const { client, queue } = await transactional(3);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 3);
      client.method(1, ack(2, true));
      client.method(1, ack(1));
      expect((await refusal(client))[0]).toBe("PRECONDITION_FAILED - unknown delivery tag 1");
    });

    test("rejected messages come again, or are dropped, at the commit", async () => {
      const { client, queue } = await transactional(3);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 3);
      client.method(1, nack(1));
      client.method(1, nack(2, false, false));
      client.method(1, { id: MethodId.BasicReject, deliveryTag: 3n, requeue: true });
      await client.call(1, select, MethodId.TxSelectOk);
      client.method(1, commit);
      expect(await receiveBefore(client, MethodId.TxCommitOk, 2)).toEqual(["1 again", "3 again"]);
      await client.call(1, close, MethodId.ChannelCloseOk);
      expect(await drain(client, queue, 2)).toEqual(["1 again", "3 again"]);
    });

    test("what is published comes before what is given back", async () => {
      const { client, queue } = await transactional(1);
      expect(await get(client, queue, false)).toBe("1");
      await client.call(2, consume(queue, { noAck: true }), MethodId.BasicConsumeOk);
      client.method(1, nack(1));
      client.publish(1, "", queue, "2");
      client.method(1, commit);
      expect(await receiveBefore(client, MethodId.TxCommitOk, 2)).toEqual(["2", "1 again"]);
    });

    test("basic.get without acknowledgement is no part of it; with one it is", async () => {
      const { client, queue } = await transactional(3);
      expect(await get(client, queue, true)).toBe("1");
      expect(await get(client, queue, false)).toBe("2");
      client.method(1, ack(2));
      await client.call(1, rollback, MethodId.TxRollbackOk);
      expect(await ready(client, queue)).toBe(1);
      await client.call(1, close, MethodId.ChannelCloseOk);
      expect(await drain(client, queue, 2)).toEqual(["2 again", "3"]);
    });

    test("recover brings what the transaction has not settled; a rollback leaves the rest waiting", async () => {
      const { client, queue } = await transactional(5);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 5);
      client.method(1, ack(1));
      client.method(1, ack(3));
      client.method(1, recover);
      const again = ["2 again", "4 again", "5 again"];
      expect(await receiveBefore(client, MethodId.BasicRecoverOk, 3)).toEqual(again);
      await client.call(1, rollback, MethodId.TxRollbackOk);
      client.method(1, ack(1));
      client.method(1, ack(3));
      await client.call(1, commit, MethodId.TxCommitOk);

      // They have the tags 6, 7 and 8 now.
      client.method(1, ack(7));
      client.method(1, ack(6, true));
      client.method(1, recover);
      expect(await receiveBefore(client, MethodId.BasicRecoverOk, 1)).toEqual(["5 again"]);
      await client.call(1, rollback, MethodId.TxRollbackOk);
      client.method(1, ack(6));
      await client.call(1, commit, MethodId.TxCommitOk);
      client.method(1, recover);
      expect(await receiveBefore(client, MethodId.BasicRecoverOk, 2)).toEqual(["4 again", "5 again"]);
    });

    test("a queue that is deleted meanwhile does no harm", async () => {
      const { client, queue } = await transactional(2);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 2);
      client.method(1, ack(1));
      client.method(1, nack(2));
      const remove = {
        id: MethodId.QueueDelete,
        queue,
        ifUnused: false,
        ifEmpty: false,
        noWait: false,
      } as const;
      await client.call(2, remove, MethodId.QueueDeleteOk);
      client.method(1, commit);
      expect(await client.next()).toMatchObject({ method: { id: MethodId.TxCommitOk } });
    });
  });

  describe("what ends before the commit", () => {
    test("a closed channel has published nothing and settled nothing", async () => {
      const { client, queue } = await unfinished();
      await client.call(1, close, MethodId.ChannelCloseOk);
      expect(await drain(client, queue, 2)).toEqual(["1 again", "2 again", "3 again"]);
    });

    test("a channel that fails has published nothing and settled nothing", async () => {
      const { client, queue } = await unfinished();
      client.method(1, ack(99));
      await refusal(client);
      expect(await drain(client, queue, 2)).toEqual(["1 again", "2 again", "3 again"]);
    });

    test("a lost connection has published nothing and settled nothing", async () => {
      const { client, queue } = await unfinished();
      await client.close();
      const other = await login(broker());
      await expect.poll(() => ready(other, queue)).toBe(3);
      expect(await drain(other, queue)).toEqual(["1 again", "2 again", "3 again"]);
    });

    /** Three deliveries, settled in three ways, and a message. */
    async function unfinished(): Promise<{ client: RawClient; queue: string }> {
      const client = await login(broker());
      const queue = broker().queueName("tx");
      await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
      await client.call(1, select, MethodId.TxSelectOk);
      for (const body of ["1", "2", "3"]) client.publish(1, "", queue, body);
      await client.call(1, commit, MethodId.TxCommitOk);
      await client.call(1, consume(queue), MethodId.BasicConsumeOk);
      await receive(client, 3);
      client.method(1, ack(1));
      client.method(1, nack(2, false, false));
      client.method(1, nack(3));
      client.publish(1, "", queue, "never");
      await client.openChannel(2);
      return { client, queue };
    }
  });

  // RabbitMQ closes the connection: 504, "unexpected command while processing 'tx.commit'".
  test.runIf(brokerName === "warren")("what is sent behind a commit is carried out behind it", async () => {
    const { client, queue } = await transactional();
    client.publish(1, "", queue, "1");
    client.method(1, commit);
    client.method(1, declareQueue(queue, { passive: true }));
    client.publish(1, "", queue, "2");
    client.method(1, commit);
    client.method(1, rollback);
    await client.expect(MethodId.TxCommitOk);
    expect((await client.expect(MethodId.QueueDeclareOk)).messageCount).toBe(1);
    await client.expect(MethodId.TxCommitOk);
    await client.expect(MethodId.TxRollbackOk);
    expect(await drain(client, queue)).toEqual(["1", "2"]);
  });

  /** A client with a queue of its own that holds "1", "2", …, a transaction on channel 1 and another channel. */
  async function transactional(count = 0): Promise<{ client: RawClient; queue: string }> {
    const client = await login(broker());
    const queue = await ownQueue(client);
    await client.call(1, select, MethodId.TxSelectOk);
    for (let number = 1; number <= count; number++) client.publish(1, "", queue, String(number));
    await client.call(1, commit, MethodId.TxCommitOk);
    await client.openChannel(2);
    return { client, queue };
  }
});

test("a commit is on the disk, as a whole, when the client is told of it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "warren-tx-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [original, copy] = [join(directory, "original"), join(directory, "copy")];
  const first = await startBroker({ port: 0, dataDir: original });
  onTestFinished(() => first.stop());
  const client = await RawClient.login(first.port);
  onTestFinished(() => client.close());
  const persistent = { properties: { deliveryMode: 2 } };
  await client.call(1, declareQueue("tx", { durable: true }), MethodId.QueueDeclareOk);
  client.publish(1, "", "tx", "1", persistent);
  client.publish(1, "", "tx", "2", persistent);
  await client.call(1, select, MethodId.TxSelectOk);
  expect(await get(client, "tx", false)).toBe("1");
  client.method(1, ack(1));
  client.publish(1, "", "tx", "3", persistent);
  await client.call(1, commit, MethodId.TxCommitOk);
  // What a crash at this moment would leave.
  cpSync(original, copy, { recursive: true });

  const second = await startBroker({ port: 0, dataDir: copy });
  onTestFinished(() => second.stop());
  const other = await RawClient.login(second.port);
  onTestFinished(() => other.close());
  expect(await drain(other, "tx")).toEqual(["2 again", "3 again"]);
});

test("a transaction may be larger than the free part of the log: its commit waits for room", async () => {
  const directory = mkdtempSync(join(tmpdir(), "warren-tx-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const broker = await startBroker({ port: 0, dataDir: directory });
  onTestFinished(() => broker.stop());
  const client = await RawClient.login(broker.port);
  onTestFinished(() => client.close());
  await client.call(1, declareQueue("tx", { durable: true }), MethodId.QueueDeclareOk);
  await client.call(1, select, MethodId.TxSelectOk);
  const body = "x".repeat(100_000);
  for (let number = 0; number < 1000; number++) {
    client.publish(1, "", "tx", body, { properties: { deliveryMode: 2 } });
  }
  await client.call(1, commit, MethodId.TxCommitOk);
  const { messageCount } = await client.call(
    1,
    declareQueue("tx", { durable: true, passive: true }),
    MethodId.QueueDeclareOk,
  );
  expect(messageCount).toBe(1000);
});

function nack(tag: number, multiple = false, requeue = true): MethodOf<typeof MethodId.BasicNack> {
  return { id: MethodId.BasicNack, deliveryTag: BigInt(tag), multiple, requeue };
}

/** The channel.close that is due: its text, and the method that it blames. */
async function refusal(client: RawClient): Promise<[string, number, number]> {
  const { replyText, classId, methodId } = await client.expect(MethodId.ChannelClose);
  return [replyText, classId, methodId];
}

async function receive(client: RawClient, count: number): Promise<string[]> {
  const bodies: string[] = [];
  while (bodies.length < count) {
    const { method, body } = await client.content(MethodId.BasicDeliver);
    bodies.push(text(body) + (method.redelivered ? " again" : ""));
  }
  return bodies;
}

/** So many deliveries, and the reply among them or around them: in RabbitMQ they race. */
async function receiveBefore(client: RawClient, reply: number, count: number): Promise<string[]> {
  const bodies: string[] = [];
  let redelivered = false;
  for (let replied = false; !replied || bodies.length < count;) {
    const received = await client.next();
    if (received.kind === "method") {
      const { method } = received;
      if (method.id === reply) replied = true;
      else if (method.id === MethodId.BasicDeliver) ({ redelivered } = method);
      else throw new Error(`received method 0x${method.id.toString(16)}`);
    } else if (received.kind === "body") {
      bodies.push(text(received.payload) + (redelivered ? " again" : ""));
    } else if (received.kind === "end") {
      throw new Error("the connection has ended");
    }
  }
  return bodies;
}

async function ready(client: RawClient, queue: string, channel = 1): Promise<number> {
  const declare = declareQueue(queue, { passive: true });
  return (await client.call(channel, declare, MethodId.QueueDeclareOk)).messageCount;
}

/** The first ready message; undefined when there is none. */
async function get(
  client: RawClient,
  queue: string,
  noAck: boolean,
  channel = 1,
): Promise<string | undefined> {
  client.method(channel, { id: MethodId.BasicGet, queue, noAck });
  const received = await client.next();
  if (received.kind === "method" && received.method.id === MethodId.BasicGetEmpty) return undefined;
  client.inbox.unshift(received);
  const { method, body } = await client.content(MethodId.BasicGetOk);
  return text(body) + (method.redelivered ? " again" : "");
}

/** Takes all that is ready in the queue. */
async function drain(client: RawClient, queue: string, channel = 1): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const body = await get(client, queue, true, channel);
    if (body === undefined) return bodies;
    bodies.push(body);
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ChannelModel, type ConfirmChannel, type ConsumeMessage } from "amqplib";
import { describe, expect, test } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ack, consume as consumeMethod, declareQueue } from "../support/methods.ts";
import { Random } from "../support/random.ts";
import { RawClient } from "../support/raw-client.ts";

/** WARREN_KILL_SEED=n repeats a run as far as time allows; WARREN_KILL_ROUNDS=n makes it shorter or longer. */
const seed = Number(process.env["WARREN_KILL_SEED"] ?? Date.now() % 1_000_000);
const rounds = Number(process.env["WARREN_KILL_ROUNDS"] ?? 50);
const queue = "work";
/** Acknowledgements sent in this time before a kill may be forgotten (docs/durability.md). */
const forgettableMs = 100;

/** What the clients know of each message, by its number. */
class Ledger {
  next = 0;
  readonly confirmed = new Set<number>();
  readonly received = new Set<number>();
  /** When the acknowledgement was sent. */
  readonly ackedAtMs = new Map<number, number>();
  /** Came again although acknowledged. */
  returned = 0;
  readonly wrongfullyReturned: string[] = [];
  lastEndAtMs = 0;
  endedInOrder = false;

  receive(number: number): void {
    this.received.add(number);
    const ackedAtMs = this.ackedAtMs.get(number);
    if (ackedAtMs === undefined) return;
    this.returned++;
    // Until it is acknowledged again it may come any number of times.
    this.ackedAtMs.delete(number);
    const beforeEndMs = this.lastEndAtMs - ackedAtMs;
    if (this.endedInOrder || beforeEndMs > forgettableMs)
      this.wrongfullyReturned.push(`${number}, acknowledged ${Math.round(beforeEndMs)} ms before the end`);
  }
}

async function open(url: string): Promise<{ connection: ChannelModel; channel: ConfirmChannel }> {
  const connection = await connect(url, { noDelay: true });
  connection.on("error", () => {});
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  await channel.assertQueue(queue, { durable: true });
  return { connection, channel };
}

/** Publishes with up to 200 unconfirmed messages until the connection breaks. */
async function publish(url: string, ledger: Ledger, stopped: () => boolean): Promise<void> {
  const { connection, channel } = await open(url);
  const ended = new AbortController();
  connection.on("close", () => ended.abort());
  let unconfirmed = 0;
  while (!ended.signal.aborted && !stopped()) {
    if (unconfirmed >= 200) {
      await sleep(1);
      continue;
    }
    const number = ledger.next++;
    unconfirmed++;
    try {
      channel.sendToQueue(queue, bodyOf(number), { persistent: true }, (error: unknown) => {
        unconfirmed--;
        if (!error) ledger.confirmed.add(number);
      });
    } catch {
      break;
    }
    if (number % 20 === 0) await sleep(0);
  }
  try {
    await channel.waitForConfirms();
    await connection.close();
  } catch {
    // The broker was killed.
  }
}

/** Bodies of different lengths, some longer than what the log keeps in one piece. */
function bodyOf(number: number): Buffer {
  const body = Buffer.alloc(number % 500 === 499 ? 300_000 : 16 + (number % 700), number);
  body.writeUInt32BE(number);
  return body;
}

function numberIn({ content }: ConsumeMessage): number {
  const number = content.readUInt32BE();
  expect(content.equals(bodyOf(number))).toBe(true);
  return number;
}

/** Acknowledges three of four messages, hands one of eight back, keeps the others until the connection ends. */
async function consume(url: string, ledger: Ledger): Promise<() => Promise<void>> {
  const { connection, channel } = await open(url);
  await channel.prefetch(100);
  let delivered = 0;
  await channel.consume(queue, (message) => {
    if (!message) return;
    const number = numberIn(message);
    ledger.receive(number);
    const kind = delivered++ % 8;
    if (kind < 6) {
      channel.ack(message);
      ledger.ackedAtMs.set(number, performance.now());
    } else if (kind === 6 && !message.fields.redelivered) {
      channel.nack(message);
    } else if (delivered % 50 === 0) {
      channel.ack(message);
      ledger.ackedAtMs.set(number, performance.now());
    }
  });
  return async () => {
    // channel.close-ok says that the broker has seen every acknowledgement before it. Closing only the connection does
    // not: amqplib may send connection.close, which is on channel 0, before acknowledgements that it was given earlier.
    await channel.close();
    await connection.close();
  };
}

async function drain(url: string, ledger: Ledger): Promise<void> {
  const { connection, channel } = await open(url);
  for (;;) {
    const message = await channel.get(queue);
    if (!message) break;
    ledger.receive(numberIn(message as unknown as ConsumeMessage));
    channel.ack(message);
    ledger.ackedAtMs.set(numberIn(message as unknown as ConsumeMessage), performance.now());
  }
  await connection.close();
}

describe("kill -9 of the broker's process", () => {
  test(`no confirmed message is lost in ${rounds} rounds, and no settled one comes back after an orderly stop`, async () => {
    const random = new Random(seed);
    const dataDir = dataDirectory();
    const ledger = new Ledger();
    for (let round = 0; round < rounds; round++) {
      const broker = await startBrokerProcess({ dataDir });
      const url = `amqp://guest:guest@127.0.0.1:${broker.port}`;
      let stopping = false;
      const publishing = publish(url, ledger, () => stopping);
      const closeConsumer = await consume(url, ledger);
      await sleep(50 + random.below(300));
      const inOrder = round % 5 === 4;
      ledger.lastEndAtMs = performance.now();
      if (inOrder) {
        stopping = true;
        await publishing;
        await closeConsumer();
        await broker.stop();
      } else {
        await broker.kill();
        await publishing;
      }
      ledger.endedInOrder = inOrder;
      expect(broker.errors).toEqual([]);
    }
    const broker = await startBrokerProcess({ dataDir });
    await drain(`amqp://guest:guest@127.0.0.1:${broker.port}`, ledger);
    const lost = [...ledger.confirmed].filter((number) => !ledger.received.has(number));
    console.log(
      `seed ${seed}: ${ledger.next} published, ${ledger.confirmed.size} confirmed, ${ledger.ackedAtMs.size} acknowledged, ` +
        `${ledger.returned} came back although acknowledged just before a kill`,
    );
    expect(lost).toEqual([]);
    expect(ledger.wrongfullyReturned).toEqual([]);
    expect(ledger.confirmed.size).toBeGreaterThan(rounds * 20);
    await expect.poll(async () => (await broker.usage()).messages).toBe(0);
  }, 240_000);

  test("tx.commit-ok makes acknowledgements and messages durable; of a transaction without it, all is or nothing", async () => {
    const random = new Random(seed);
    const dataDir = dataDirectory();
    const ledger = new TransactionLedger();
    for (let round = 0; round < 10; round++) {
      const broker = await startBrokerProcess({ dataDir });
      const client = await RawClient.login(broker.port);
      const numbers = await receiveAll(client);
      expect(numbers).toEqual(ledger.expected(numbers));
      await client.call(1, select, MethodId.TxSelectOk);
      for (let committed = 1 + random.below(5); committed > 0; committed--) {
        ledger.send(client, random);
        await client.call(1, commit, MethodId.TxCommitOk);
        ledger.committed();
      }
      // What may be under way: a transaction without its tx.commit, or a long one without its commit-ok.
      if (round % 4 === 1) {
        ledger.send(client, random);
        ledger.abandoned();
      } else if (round % 4 >= 2) {
        ledger.send(client, random, 2000);
        client.method(1, commit);
        await sleep(random.below(40));
      }
      await broker.kill();
      expect(broker.errors).toEqual([]);
    }
    const broker = await startBrokerProcess({ dataDir });
    const numbers = await receiveAll(await RawClient.login(broker.port));
    expect(numbers).toEqual(ledger.expected(numbers));
    console.log(
      `seed ${seed}: ${ledger.doubtful} commits without a commit-ok, ${ledger.carriedOut} carried out`,
    );
    expect(ledger.next).toBeGreaterThan(200);
  }, 60_000);
});

const select = { id: MethodId.TxSelect } as const;
const commit = { id: MethodId.TxCommit } as const;
const txQueue = "transactions";

/** What must be in the queue: the numbers whose publishing was committed and whose acknowledgement was not. */
class TransactionLedger {
  next = 0;
  doubtful = 0;
  carriedOut = 0;
  private readonly present = new Set<number>();
  /** What waits for an acknowledgement on the connection, with its tag. */
  private held = new Map<number, number>();
  private published: number[] = [];
  private acknowledged: number[] = [];

  /** Publishes some messages and acknowledges some others. */
  send(client: RawClient, random: Random, messages = 5 + random.below(40)): void {
    for (let count = messages; count > 0; count--) {
      const number = this.next++;
      client.publish(1, "", txQueue, bodyOf(number), { properties: { deliveryMode: 2 } });
      this.published.push(number);
    }
    for (const [number, tag] of this.held) {
      if (!random.chance(0.2)) continue;
      client.method(1, ack(tag));
      this.held.delete(number);
      this.acknowledged.push(number);
    }
  }

  committed(): void {
    for (const number of this.published) this.present.add(number);
    for (const number of this.acknowledged) this.present.delete(number);
    this.abandoned();
  }

  /** The broker was never told to commit. */
  abandoned(): void {
    this.published = [];
    this.acknowledged = [];
  }

  /** What a new broker must deliver that has delivered these, with the tags 1, 2, 3, … They settle what was in doubt. */
  expected(numbers: readonly number[]): number[] {
    if (this.published.length > 0) {
      this.doubtful++;
      if (numbers.includes(this.published[0])) {
        this.carriedOut++;
        this.committed();
      } else {
        this.abandoned();
      }
    }
    this.held = new Map(numbers.map((number, index) => [number, index + 1]));
    return [...this.present].toSorted((a, b) => a - b);
  }
}

/** All that is in the queue, unacknowledged; nothing that comes later. */
async function receiveAll(client: RawClient): Promise<number[]> {
  const { messageCount } = await client.call(
    1,
    declareQueue(txQueue, { durable: true }),
    MethodId.QueueDeclareOk,
  );
  await client.call(1, consumeMethod(txQueue, { consumerTag: "all" }), MethodId.BasicConsumeOk);
  const numbers: number[] = [];
  while (numbers.length < messageCount) {
    const { body } = await client.content(MethodId.BasicDeliver);
    const content = Buffer.from(body);
    numbers.push(content.readUInt32BE());
    expect(content.equals(bodyOf(numbers.at(-1)!))).toBe(true);
  }
  const cancel = { id: MethodId.BasicCancel, consumerTag: "all", noWait: false } as const;
  await client.call(1, cancel, MethodId.BasicCancelOk);
  return numbers;
}

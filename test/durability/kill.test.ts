import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ChannelModel, type ConfirmChannel, type ConsumeMessage } from "amqplib";
import { describe, expect, test } from "vitest";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { Random } from "../support/random.ts";

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
async function consume(url: string, ledger: Ledger): Promise<ChannelModel> {
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
  return connection;
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
      const consuming = await consume(url, ledger);
      await sleep(50 + random.below(300));
      const inOrder = round % 5 === 4;
      if (inOrder) {
        stopping = true;
        await publishing;
        await consuming.close();
        await broker.stop();
      } else {
        await broker.kill();
        await publishing;
      }
      ledger.lastEndAtMs = performance.now();
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
});

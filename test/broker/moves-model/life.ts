/** One life of a broker whose queues dead-letter, expire, delay and count; from the opening of its storage to its end. */
import { EventLoopTurn, silentLogger } from "../../../src/base/index.ts";
import { openBrokerStorage, type BrokerStorage } from "../../../src/broker/broker-storage.ts";
import type { Output } from "../../../src/broker/connection/output.ts";
import { Publisher } from "../../../src/broker/connection/publisher.ts";
import type { Queue, QueueConsumer } from "../../../src/broker/queues/index.ts";
import type { Geometry } from "../../../src/broker/storage/log/geometry.ts";
import type { LogStore } from "../../../src/broker/storage/log/log-store.ts";
import { knownProperties, MessageView, type SurvivingMessage } from "../../../src/broker/storage/index.ts";
import { Churn } from "../../../src/broker/traffic.ts";
import { VirtualHost, type MessageHolder } from "../../../src/broker/virtual-host.ts";
import {
  ByteWriter,
  emptyTable,
  writeProperties,
  type BasicProperties,
  type FieldTable,
  type FieldValue,
} from "../../../src/wire/index.ts";
import { allPermissions } from "../../support/all-permissions.ts";
import type { FaultyDisk } from "../../support/faulty-disk.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import type { Random } from "../../support/random.ts";
import {
  deliveryLimit,
  mortalMs,
  mostDelayMs,
  mostPriority,
  retryMs,
  type FoundTask,
  type Ledger,
  type Task,
} from "./ledger.ts";

interface Held {
  readonly task: Task;
  readonly handle: number;
  readonly flags: number;
  readonly sequence: number;
}

const text = (value: string): FieldValue => ({ type: "longstr", value });
const number = (value: number): FieldValue => ({ type: "signedint", value });
/** Two bytes, 0xff and 0xfe. */
const binary = "\udcff\udcfe";
const toDead = { "x-dead-letter-exchange": text("to-dead") };

/** Rejected tasks go from `work` to `retry`, wait there and come back; all others end in `dead`. */
const queues: Readonly<Record<string, Record<string, FieldValue>>> = {
  work: { "x-max-priority": number(mostPriority), "x-dead-letter-exchange": text("to-retry") },
  retry: { "x-message-ttl": number(retryMs), "x-dead-letter-exchange": text("to-work") },
  mortal: { "x-message-ttl": number(mortalMs), ...toDead },
  short: { "x-max-length": number(3), "x-max-length-bytes": number(900), ...toDead },
  /** Its dead letters are held by the delayed exchange. */
  flaky: { "x-dead-letter-exchange": text("later") },
  limited: { "x-queue-type": text("quorum"), "x-delivery-limit": number(deliveryLimit), ...toDead },
  dead: {},
};

export class Life {
  readonly clock: ManualClock;
  after: FaultyDisk | undefined;
  readonly disk: FaultyDisk;
  private readonly ledger: Ledger;
  private readonly random: Random;
  private readonly turn = new EventLoopTurn();
  private readonly owner = {};
  private storage!: BrokerStorage;
  private vhost!: VirtualHost;
  private publisher!: Publisher;
  private readonly consumers = new Map<string, Consumer>();
  private unconfirmed: Task[] = [];

  constructor(disk: FaultyDisk, ledger: Ledger, random: Random, startMs: number) {
    this.disk = disk;
    this.ledger = ledger;
    this.random = random;
    this.clock = new ManualClock(startMs);
  }

  async open(setting: { geometry: Geometry; cachedChunks: number }): Promise<void> {
    const { turn, clock, ledger } = this;
    const storage = await openBrokerStorage({
      dataDir: undefined,
      disk: this.disk,
      turn,
      clock,
      logger: silentLogger,
      onFailure: (error) => {
        if (!this.after) ledger.findings.push(`failed on a good disk: ${error.stack}`);
      },
      ...setting,
    });
    this.storage = storage;
    const { store, definitions, room } = storage;
    const services = {
      store,
      definitions,
      clock,
      turn,
      room,
      log: silentLogger,
      compatibility: "3",
      churn: new Churn(),
    } as const;
    const vhost = new VirtualHost("/", services);
    this.vhost = vhost;
    storage.restore(vhost);
    storage.onRoomChanged(() => vhost.roomChanged());
    ledger.judge(this.look(), clock.nowMs());
    if ([...vhost.allQueues].length === 0) await this.declare();
    const output = {
      confirm: (_channel: number, tag: number, multiple: boolean) => this.confirm(tag, multiple),
    } as unknown as Output;
    const permissions = allPermissions;
    this.publisher = new Publisher(1, {
      vhost,
      store,
      output,
      clock,
      user: "guest",
      permissions,
      outpacing() {},
    });
    this.publisher.startConfirming();
    for (const queue of vhost.allQueues) this.consumers.set(queue.name, new Consumer(ledger, queue));
  }

  get store(): LogStore {
    return this.storage.store as LogStore;
  }

  publish(): void {
    const { random, clock } = this;
    const { log } = this.store;
    if (!log.hasRoom || !log.hasRoomFor(20_000)) return;
    const where = random.pick(["work", "work", "mortal", "short", "limited", "later", "flaky"]);
    const priority = random.below(6);
    const lives = where === "mortal" && random.chance(0.5) ? random.below(2 * mortalMs) : Infinity;
    const delayMs = 1 + random.below(mostDelayMs);
    const isDelayed = where === "later" || where === "flaky";
    const waitMs = where === "later" ? delayMs : Math.min(lives, mortalMs);
    const isTimed = where === "later" || where === "mortal";
    const task = this.ledger.add(where, priority, isTimed ? clock.nowMs() + waitMs : 0);
    const properties: BasicProperties = { messageId: task.id, deliveryMode: 2, priority };
    if (Number.isFinite(lives)) properties.expiration = String(lives);
    if (isDelayed) properties.headers = new Map([["x-delay", number(delayMs)]]);
    // Bytes that are not UTF-8, which the broker must pass on as they are.
    if (random.chance(0.3)) properties.correlationId = binary;
    const bodyBytes = random.chance(0.05) ? random.pick([3000, 9000]) : random.below(400);
    this.unconfirmed.push(task);
    const [exchange, routingKey] = where === "later" ? ["later", "work"] : ["", where];
    this.publisher.publish(viewOf(exchange, routingKey, properties, bodyBytes), false);
  }

  /** A consumer takes a few messages and deals with some of those that it has. */
  consume(): void {
    const { random } = this;
    const consumer = random.pick([...this.consumers.values()]);
    const { queue } = consumer;
    if (queue.name === "retry") return;
    if (random.chance(0.6)) consumer.take(1 + random.below(4));
    for (const held of consumer.held.filter(() => random.chance(0.6))) {
      const share = random.next();
      if (queue.name === "dead" || share < 0.2) consumer.acknowledge(held);
      else if (share < 0.6) consumer.reject(held);
      else consumer.giveBack(held);
    }
    queue.dispatch();
    if (random.chance(0.5)) this.vhost.deadLetters.flush();
  }

  /** How often messages came back is durable afterwards, as it was when this was called. */
  awaitCommit(): void {
    const counts: [Task, number][] = [];
    this.store.awaitCommit({
      needsDisk: true,
      beforeCommit: () => {
        for (const task of this.ledger.tasks.values()) counts.push([task, task.returns]);
      },
      committed: () => {
        if (this.after) return;
        for (const [task, returns] of counts) task.durableReturns = Math.max(task.durableReturns, returns);
      },
    });
  }

  crash(): void {
    this.after = this.random.chance(0.6) ? this.disk.crash() : this.disk.kill();
  }

  async stop(): Promise<void> {
    for (const consumer of this.consumers.values()) {
      consumer.queue.removeConsumer(consumer);
      for (const held of consumer.held) consumer.giveBack(held);
    }
    this.vhost.stop();
    await this.storage.close([this.vhost]);
    this.after = this.disk;
  }

  /** Everything is acknowledged where it ends up; nothing may be left anywhere. */
  async drain(): Promise<void> {
    for (let round = 0; round < 40 && this.live > 0; round++) {
      for (const consumer of this.consumers.values()) {
        if (consumer.queue.name === "retry") continue;
        consumer.take(1000);
        for (const held of consumer.held) consumer.acknowledge(held);
      }
      this.clock.advance(50);
      await this.rest();
    }
    this.vhost.deadLetters.flush();
    const left = [...this.ledger.tasks.values()].filter(({ isSettled }) => !isSettled);
    for (const { id } of left) this.ledger.findings.push(`${id} never came to anybody`);
    const { messages } = this.store.usage();
    if (messages > 0) this.ledger.findings.push(`the store has ${messages} messages when all are settled`);
  }

  async rest(): Promise<void> {
    for (let round = 0; round < 6 && !this.after; round++) {
      this.clock.advance(20);
      for (let idle = 0; idle < 4 && !this.after;) {
        await nextTurn();
        idle = this.disk.pending().length === 0 ? idle + 1 : 0;
      }
    }
  }

  private get live(): number {
    return [...this.ledger.tasks.values()].filter(({ isSettled }) => !isSettled).length;
  }

  private async declare(): Promise<void> {
    const { vhost, owner } = this;
    const options = { durable: true, autoDelete: false, internal: false };
    for (const exchange of ["to-retry", "to-work", "to-dead"])
      vhost.declareExchange(exchange, "fanout", { ...options, arguments: emptyTable }, allPermissions);
    const table: FieldTable = new Map([["x-delayed-type", text("fanout")]]);
    vhost.declareExchange("later", "x-delayed-message", { ...options, arguments: table }, allPermissions);
    for (const [name, entries] of Object.entries(queues)) {
      const queueArguments = new Map(Object.entries(entries));
      const queueOptions = {
        durable: true,
        autoDelete: false,
        exclusiveOwner: null,
        arguments: queueArguments,
      };
      vhost.declareQueue(name, queueOptions, owner, allPermissions);
    }
    for (const [exchange, queue] of [
      ["to-retry", "retry"],
      ["to-work", "work"],
      ["to-dead", "dead"],
      ["later", "work"],
    ])
      vhost.bindQueue(queue, exchange, "", emptyTable, owner);
    await this.storage.flush();
  }

  private confirm(tag: number, multiple: boolean): void {
    const count = multiple ? tag - this.confirmed : 1;
    this.confirmed = tag;
    for (const task of this.unconfirmed.splice(0, count)) if (!this.after) task.isConfirmed = true;
  }

  private confirmed = 0;

  private look(): FoundTask[] {
    const found: FoundTask[] = [];
    for (const holder of this.vhost.holders) {
      const where = "name" in holder ? (holder as MessageHolder & { name: string }).name : "later";
      const messages: SurvivingMessage[] = [];
      holder.takeAll((message) => messages.push(message));
      for (const message of messages) {
        const view = new MessageView();
        this.store.locate(message.handle, view);
        found.push({ id: knownProperties(view).messageId!, where, message });
        holder.restore(message);
      }
    }
    return found;
  }
}

class Consumer implements QueueConsumer {
  readonly tag = "consumer";
  readonly exclusive = false;
  readonly noAck = false;
  readonly priority = 0;
  readonly queue: Queue;
  parked = false;
  held: Held[] = [];
  private credit = 0;
  private readonly ledger: Ledger;

  constructor(ledger: Ledger, queue: Queue) {
    this.ledger = ledger;
    this.queue = queue;
    queue.addConsumer(this);
    queue.dispatch();
  }

  hasCredit(): boolean {
    return this.credit > 0;
  }

  park(): void {}

  take(credit: number): void {
    this.credit += credit;
    this.queue.resume(this);
  }

  deliver(view: MessageView, handle: number, flags: number, sequence: number): void {
    this.credit--;
    const { messageId, headers } = knownProperties(view);
    const task = this.ledger.tasks.get(messageId!);
    if (!task || task.isSettled)
      return void this.ledger.findings.push(
        `${messageId} comes from ${this.queue.name}, though it is settled`,
      );
    if (this.held.some((held) => held.task === task))
      this.ledger.findings.push(`${task.id} comes twice from ${this.queue.name}`);
    const count = headers.get("x-delivery-count");
    if (this.queue.name === "limited" && Number(count?.type === "long" ? count.value : 0) !== task.returns)
      this.ledger.findings.push(`${task.id} comes with another count than ${task.returns}`);
    this.held.push({ task, handle, flags, sequence });
  }

  countDelivered(): void {}

  cancelledByQueue(): void {}

  acknowledge(held: Held): void {
    this.letGo(held);
    held.task.isSettled = true;
    this.queue.settle(held.handle, held.flags, held.sequence);
  }

  reject(held: Held): void {
    this.letGo(held);
    this.queue.reject(held.handle, held.flags, held.sequence);
  }

  giveBack(held: Held): void {
    this.letGo(held);
    if (this.queue.name === "limited") held.task.returns++;
    this.queue.requeue(held.handle, held.flags, held.sequence, true);
  }

  private letGo(held: Held): void {
    this.held = this.held.filter((other) => other !== held);
  }
}

function viewOf(
  exchange: string,
  routingKey: string,
  properties: BasicProperties,
  bodyBytes: number,
): MessageView {
  const writer = new ByteWriter();
  writer.shortstr(exchange);
  writer.shortstr(routingKey);
  const routeLength = writer.length;
  writeProperties(writer, properties);
  const propertiesLength = writer.length - routeLength;
  writer.raw(Buffer.alloc(bodyBytes, "body"));
  const view = new MessageView();
  view.bytes = writer.written();
  view.view = new DataView(view.bytes.buffer);
  view.routeLength = routeLength;
  view.propertiesAt = routeLength;
  view.propertiesLength = propertiesLength;
  view.bodyAt = routeLength + propertiesLength;
  view.bodyLength = bodyBytes;
  return view;
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

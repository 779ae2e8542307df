/** One life of a broker: from the opening of its storage to its stop or crash. */
import { EventLoopTurn, silentLogger } from "../../../src/base/index.ts";
import { openBrokerStorage, type BrokerStorage } from "../../../src/broker/broker-storage.ts";
import type { Queue } from "../../../src/broker/queues/index.ts";
import { definitionsFile, type DefinitionsLog } from "../../../src/broker/storage/definitions-log.ts";
import type { LogStore } from "../../../src/broker/storage/log/log-store.ts";
import type { Geometry } from "../../../src/broker/storage/log/geometry.ts";
import type { Log } from "../../../src/broker/storage/log/log.ts";
import { Churn } from "../../../src/broker/traffic.ts";
import { VirtualHost } from "../../../src/broker/virtual-host.ts";
import { emptyTable } from "../../../src/wire/index.ts";
import type { FaultyDisk } from "../../support/faulty-disk.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import type { Random } from "../../support/random.ts";
import { ConsumerModel, PublisherModel, WaiterModel } from "./clients.ts";
import { look } from "./look.ts";
import { asPublished, createMessage } from "./message.ts";
import type { Entry, Found, Model } from "./model.ts";
import { WatchedDisk } from "./watched-disk.ts";

export interface Setting {
  readonly geometry: Geometry;
  readonly cachedChunks: number;
  /** How likely the power fails at the moment when a client is told that something is durable. */
  readonly crashWhenTold: number;
}

export class Life {
  readonly model: Model;
  readonly disk: FaultyDisk;
  readonly clock: ManualClock = new ManualClock();
  readonly publishers: PublisherModel[] = [];
  consumers: ConsumerModel[] = [];
  /** Why the broker gave up. */
  failure: Error | undefined;
  /** The disk may fail: the steps saw to it. */
  mayFail = false;
  isDiskFull = false;
  /** The power has failed; the disk is another one. */
  after: FaultyDisk | undefined;
  found!: Found;
  vhost!: VirtualHost;
  private readonly random: Random;
  private readonly setting: Setting;
  private readonly turn = new EventLoopTurn();
  private readonly watched: WatchedDisk;
  private storage: BrokerStorage | undefined;
  private waiters: WaiterModel[] = [];
  private commitAtFailure = Infinity;
  /** The connection that has the exclusive queues. */
  readonly owner = {};

  constructor(disk: FaultyDisk, model: Model, setting: Setting, random: Random) {
    this.disk = disk;
    this.model = model;
    this.setting = setting;
    this.random = random;
    this.watched = new WatchedDisk(disk, (name) => this.isWatched(name));
  }

  /** Opens the storage and reads what it holds; `readsBytes`: also the messages. */
  async open(readsBytes: boolean): Promise<void> {
    const { turn, clock, setting } = this;
    const storage = await openBrokerStorage({
      dataDir: undefined,
      disk: this.watched,
      turn,
      clock,
      logger: silentLogger,
      onFailure: (error) => this.failed(error),
      ...setting,
    });
    this.storage = storage;
    const { log } = this;
    const consider = log.onCommitted;
    log.onCommitted = () => {
      this.assertDurable();
      consider();
    };
    this.vhost = new VirtualHost("/", {
      store: storage.store,
      definitions: storage.definitions,
      clock,
      turn,
      log: silentLogger,
      room: storage.room,
      compatibility: "3",
      churn: new Churn(),
    });
    storage.restore(this.vhost);
    this.found = look(this, readsBytes);
  }

  get store(): LogStore {
    return this.storage!.store as LogStore;
  }

  get definitions(): DefinitionsLog {
    return this.storage!.definitions as DefinitionsLog;
  }

  get log(): Log {
    return this.store.log;
  }

  /** Neither crashed nor failed. */
  get goesOn(): boolean {
    return !this.after && !this.failure;
  }

  note(what: string): void {
    if (!this.after) this.model.findings.push(what);
  }

  connect(): void {
    for (const isConfirming of [true, true, false])
      this.publishers.push(new PublisherModel(this, isConfirming));
  }

  publish(
    publisher: PublisherModel,
    [exchange, routingKey]: readonly [string, string],
    properties: { persistent: boolean; bodyBytes: number },
  ): void {
    const { model, log, random } = this;
    // The room that chunks of a tiny geometry waste beside the message.
    if (!log.hasRoom || !log.hasRoomFor(properties.bodyBytes * 1.1 + 4096)) return;
    const message = createMessage(model.nextNumber++, { exchange, routingKey }, properties);
    const { queues } = this.vhost.route(exchange, routingKey, () => emptyTable);
    this.assertRoute(exchange, routingKey, queues);
    message.isLogged = message.persistent && queues.some(({ survives }) => survives);
    if (message.isLogged) message.commit = model.logged(log.commitNumber + 1);
    for (const queue of queues) model.enqueued(model.queues.get(queue.name)!, message, queue.nextSequence);
    const { view, reused } = asPublished(message, random);
    publisher.publish(message, view);
    reused();
  }

  consume(name: string, credit: number): ConsumerModel {
    const queue = this.queue(name);
    const consumer = new ConsumerModel(this, queue, this.model.queues.get(name)!, credit);
    this.consumers.push(consumer);
    queue.addConsumer(consumer);
    queue.dispatch();
    return consumer;
  }

  leave(consumer: ConsumerModel): void {
    this.consumers = this.consumers.filter((other) => other !== consumer);
    consumer.leave();
  }

  purge(name: string): void {
    const queue = this.model.queues.get(name)!;
    for (const entry of queue.ready) this.model.settled(entry, this.commitOf(entry));
    queue.ready = [];
    this.queue(name).purge();
  }

  /** As a connection does for tx.commit, or behind a method that changes definitions. */
  awaitCommit(): void {
    const waiter = new WaiterModel(this);
    this.waiters.push(waiter);
    this.store.awaitCommit(waiter);
  }

  awaitDefinitions(): void {
    if (this.definitions.isDirty) this.awaitCommit();
  }

  /** The commit in which a record settles the entry. */
  commitOf(entry: Entry): number {
    const { model } = this;
    return model.isInLog(entry) ? model.logged(this.log.commitNumber + 1) : Infinity;
  }

  acknowledged(commit: number, what: string): void {
    if (commit > this.log.committed)
      this.note(`${what} is acknowledged, which commit ${commit} has: ${this.log.committed} is durable`);
    if (commit > this.commitAtFailure) this.note(`${what} is acknowledged after the disk has failed`);
    if (!this.after) this.model.ackedCommits = Math.max(this.model.ackedCommits, commit);
  }

  acknowledgedDefinitions(entry: number): void {
    if (!this.after) this.model.ackedEntries = Math.max(this.model.ackedEntries, entry);
  }

  /** A client was told that something is durable: the worst moment for the power to fail. */
  told(): void {
    if (!this.after && this.random.chance(this.setting.crashWhenTold)) this.crash();
  }

  crash(): FaultyDisk {
    this.noteBegun();
    this.after = this.disk.crash();
    return this.after;
  }

  kill(): FaultyDisk {
    this.noteBegun();
    this.after = this.disk.kill();
    return this.after;
  }

  /** Stops in order, as the broker does. */
  async stop(): Promise<void> {
    const { model } = this;
    for (const consumer of this.consumers) this.leave(consumer);
    for (const { ready } of model.queues.values())
      for (const entry of ready)
        if (entry.delivered && model.isInLog(entry)) model.logged(this.log.commitNumber + 1);
    await this.storage!.close([this.vhost]);
    if (this.after) return;
    model.ackedCommits = model.usedCommits;
    model.ackedEntries = model.topology.usedEntries;
    this.assertDurable();
    const open = this.disk.openFiles();
    if (open.length > 0) this.note(`left open: ${open.join(" ")}`);
    this.noteBegun();
  }

  /** Everybody must have been answered, and nothing be held that nobody has. */
  assertQuiet(): void {
    const { model, store, log, vhost } = this;
    for (const { waiting } of this.publishers)
      if (waiting > 0) this.note(`${waiting} messages are not confirmed`);
    if (this.waiters.some(({ isDone }) => !isDone)) this.note("a wait for a commit does not end");
    for (const queue of vhost.allQueues) {
      const { ready } = model.queues.get(queue.name)!;
      if (queue.readyCount !== ready.length)
        this.note(`queue ${queue.name} has ${queue.readyCount} ready messages, not ${ready.length}`);
      const hasReader = this.consumers.some((consumer) => consumer.queue === queue && consumer.credit > 0);
      if (ready.length > 0 && hasReader) this.note(`queue ${queue.name} does not deliver`);
    }
    if (store.table.count !== model.loggedMessages)
      this.note(`the log has ${store.table.count} messages, not ${model.loggedMessages}`);
    const { messages } = store.usage();
    if (messages !== model.messages.size)
      this.note(`the store has ${messages} messages, not ${model.messages.size}`);
    const live = log.segments.reduce((sum, segment) => sum + segment.live, 0);
    if (live !== store.table.count) this.note(`segments count ${live} live messages of ${store.table.count}`);
  }

  /** Lets all that is under way end: disk, commits, the cleaner. Time passes for lazy commits. */
  async quiet(): Promise<void> {
    for (let round = 0; round < 100; round++) {
      await this.ioEnds();
      if (!this.goesOn) return;
      const before = this.progress;
      this.clock.advance(20);
      await this.ioEnds();
      if (!this.goesOn || this.progress === before) return;
    }
    this.note("it does not come to rest");
  }

  private get progress(): string {
    const { log, definitions } = this;
    return `${log.commitNumber} ${definitions.count} ${log.segments[0]?.generation} ${log.freeSegments}`;
  }

  private async ioEnds(): Promise<void> {
    let idle = 0;
    for (let turns = 0; idle < 4 && !this.after; turns++) {
      await nextTurn();
      idle = this.disk.pending().length === 0 ? idle + 1 : 0;
      if (turns > 50_000) return this.note("the disk does not come to rest");
    }
  }

  private queue(name: string): Queue {
    return this.vhost.queueFor(name, this.owner);
  }

  private noteBegun(): void {
    if (this.after || !this.storage) return;
    this.model.begunCommits = this.log.commitNumber;
    this.model.begunEntries = this.definitions.count;
  }

  private failed(error: Error): void {
    if (this.after) return;
    if (this.failure) this.note(`a second failure: ${error.message}`);
    this.failure = error;
    this.commitAtFailure = this.storage ? this.log.commitNumber : 0;
    if (!this.mayFail) this.note(`failed on a good disk: ${error.stack}`);
  }

  private isWatched(name: string): boolean {
    if (!this.storage) return false;
    return (
      name.startsWith(definitionsFile.slice(0, 11)) ||
      this.log.segments.some(({ file }) => file.name === name)
    );
  }

  private assertDurable(): void {
    if (this.after) return;
    const lost = this.watched.takeFirstNotDurable();
    if (lost) this.note(`commit ${this.log.committed} ended, but a crash could take ${lost}`);
  }

  private assertRoute(exchange: string, routingKey: string, queues: readonly Queue[]): void {
    const { model } = this;
    const isDirect = exchange === "";
    const expected = isDirect
      ? [routingKey].filter((name) => model.queues.has(name))
      : [...model.topology.route(exchange, routingKey)];
    const names = queues.map(({ name }) => name);
    if (names.toSorted().join() !== expected.toSorted().join())
      this.note(`'${exchange}' ${routingKey} goes to ${names.join()}, not ${expected.join()}`);
  }
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

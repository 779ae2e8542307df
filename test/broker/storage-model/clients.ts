/** The clients of one life of the broker, as the broker sees them: a channel's publisher, a consumer, a wait for a commit. */
import type { Output } from "../../../src/broker/connection/output.ts";
import { Publisher } from "../../../src/broker/connection/publisher.ts";
import { redelivered, type Queue, type QueueConsumer } from "../../../src/broker/queues/index.ts";
import type { CommitWaiter, MessageView } from "../../../src/broker/storage/index.ts";
import { allPermissions } from "../../support/all-permissions.ts";
import { difference, type Message } from "./message.ts";
import type { Life } from "./life.ts";
import type { Entry, QueueModel } from "./model.ts";

export class PublisherModel {
  private readonly life: Life;
  private readonly publisher: Publisher;
  private readonly isConfirming: boolean;
  /** In the order of their numbers, from 1. */
  private readonly published: Message[] = [];
  private confirmed = 0;

  constructor(life: Life, isConfirming: boolean) {
    this.life = life;
    this.isConfirming = isConfirming;
    const { vhost, store, clock } = life;
    const output = {
      confirm: (_channel: number, tag: number, multiple: boolean) => this.confirm(tag, multiple),
    } as unknown as Output;
    const permissions = allPermissions;
    const owner = { vhost, store, output, clock, user: "guest", permissions, outpacing() {} };
    this.publisher = new Publisher(1, owner);
    if (isConfirming) this.publisher.startConfirming();
  }

  get waiting(): number {
    return this.isConfirming ? this.published.length - this.confirmed : 0;
  }

  publish(message: Message, view: MessageView): void {
    this.published.push(message);
    this.publisher.publish(view, false);
  }

  private confirm(tag: number, multiple: boolean): void {
    const { life, published, confirmed } = this;
    if (tag <= confirmed || tag > published.length || (!multiple && tag !== confirmed + 1))
      return life.note(`confirm ${tag} after ${confirmed} of ${published.length}, multiple ${multiple}`);
    this.confirmed = tag;
    for (const message of published.slice(confirmed, tag)) {
      message.isConfirmed = true;
      if (message.isLogged) life.acknowledged(message.commit, `message ${message.number}`);
    }
    life.told();
  }
}

interface Delivery {
  readonly entry: Entry;
  readonly handle: number;
  readonly flags: number;
}

export class ConsumerModel implements QueueConsumer {
  readonly tag = "consumer";
  readonly exclusive = false;
  readonly noAck = false;
  readonly priority = 0;
  parked = false;
  credit: number;
  readonly queue: Queue;
  readonly model: QueueModel;
  unacked: Delivery[] = [];
  private readonly life: Life;

  constructor(life: Life, queue: Queue, model: QueueModel, credit: number) {
    this.life = life;
    this.queue = queue;
    this.model = model;
    this.credit = credit;
  }

  hasCredit(): boolean {
    return this.credit > 0;
  }

  park(): void {}

  deliver(view: MessageView, handle: number, flags: number, sequence: number): void {
    const { life, model } = this;
    const first = model.ready[0];
    if (this.credit-- <= 0) life.note(`queue ${model.name} delivers without credit`);
    if (first?.sequence !== sequence)
      return life.note(`queue ${model.name} delivers sequence ${sequence}, not ${first?.sequence}`);
    const what = `message ${first.message.number} from queue ${model.name}`;
    const changed = difference(first.message, view);
    if (changed) life.note(`${what} comes with another ${changed}`);
    if (((flags & redelivered) !== 0) !== first.delivered)
      life.note(`${what} comes ${first.delivered ? "again without" : "for the first time with"} redelivered`);
    model.ready.shift();
    first.isReady = false;
    first.delivered = true;
    this.unacked.push({ entry: first, handle, flags });
  }

  countDelivered(): void {}

  cancelledByQueue(): void {}

  /** Acknowledges or rejects deliveries. */
  settle(deliveries: readonly Delivery[]): void {
    const { life, queue } = this;
    for (const { entry, handle, flags } of deliveries) {
      life.model.settled(entry, life.commitOf(entry));
      queue.settle(handle, flags, entry.sequence);
    }
    this.letGo(deliveries);
  }

  requeue(deliveries: readonly Delivery[]): void {
    for (const { entry, handle, flags } of deliveries) {
      if (this.queue.deleted) this.life.model.settled(entry, Infinity);
      else this.life.model.requeued(entry);
      this.queue.requeue(handle, flags, entry.sequence, true);
    }
    this.letGo(deliveries);
    if (!this.queue.deleted) this.queue.dispatch();
  }

  give(credit: number): void {
    this.credit += credit;
    this.queue.resume(this);
  }

  leave(): void {
    this.queue.removeConsumer(this);
    this.requeue(this.unacked);
  }

  private letGo(deliveries: readonly Delivery[]): void {
    const gone = new Set(deliveries);
    this.unacked = this.unacked.filter((delivery) => !gone.has(delivery));
  }
}

/** Waits for what was done up to now, as tx.commit-ok and declare-ok do. */
export class WaiterModel implements CommitWaiter {
  readonly needsDisk = true;
  isDone = false;
  private readonly life: Life;
  private commit = 0;
  private entry = 0;

  constructor(life: Life) {
    this.life = life;
  }

  beforeCommit(): void {
    const { usedCommits, topology } = this.life.model;
    this.commit = usedCommits;
    this.entry = topology.usedEntries;
  }

  committed(): void {
    this.isDone = true;
    this.life.acknowledged(this.commit, "a wait for a commit");
    this.life.acknowledgedDefinitions(this.entry);
    this.life.told();
  }
}

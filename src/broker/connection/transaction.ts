import { copyBytes } from "../../wire/index.ts";
import type { Route } from "../route-cache.ts";
import { MessageView } from "../storage/index.ts";
import { createBuffer } from "./buffer-pool.ts";
import type { DeliveryVisitor, UnackedDeliveries } from "./unacked-deliveries.ts";

/** A message that waits for tx.commit. */
export interface KeptPublish {
  readonly message: MessageView;
  readonly mandatory: boolean;
  readonly persistent: boolean;
  /** Where it was routed when it was published, and the virtual host's `topologyVersion` then. */
  readonly route: Route;
  readonly topologyVersion: number;
}

/** An acknowledgement or rejection that waits for tx.commit. */
export interface KeptSettlement {
  readonly tag: number;
  /** Of all deliveries up to the tag that no earlier settlement is for. */
  readonly multiple: boolean;
  readonly outcome: Settlement;
}

/**
 * What becomes of a delivery: it is done with; dead; back in its queue because it was rejected, or because it could not be
 * dealt with.
 */
export type Settlement = "acknowledged" | "dead" | "rejected back" | "nacked back";

/** What a message takes in the log beside its bytes, for itself and for each queue; what a settlement takes. */
const recordOverhead = 48;
const queueBytes = 24;
const settleRecordBytes = 20;

/**
 * What a channel in tx mode has published and settled since its last commit or rollback. Nothing of it has happened yet:
 * the messages are copies, and the deliveries still stand among the channel's unacknowledged ones, where a rollback leaves
 * them and the channel's end finds them. As in RabbitMQ, there is no limit to its size.
 */
export class Transaction {
  publishes: KeptPublish[] = [];
  settlements: KeptSettlement[] = [];
  private readonly unacked: UnackedDeliveries;
  private copies = new MessageCopies();
  /** Deliveries that are settled here: all up to this tag, and single ones. */
  private settledUpTo = 0;
  private readonly settledTags = new Set<number>();
  private persistentBytes = 0;

  constructor(unacked: UnackedDeliveries) {
    this.unacked = unacked;
  }

  get isEmpty(): boolean {
    return this.publishes.length === 0 && this.settlements.length === 0;
  }

  /**
   * The most that the commit may add to the log, in bytes; it does so at once. 0 when it only settles, for which there is
   * always room. Four times what stands in the records: a
   * message a little longer than half a chunk of the log may take two chunks.
   */
  get mostLogBytes(): number {
    if (this.persistentBytes === 0) return 0;
    const settled = this.settlements.length > 0 ? this.unacked.count : 0;
    return 4 * (this.persistentBytes + settled * settleRecordBytes);
  }

  /** Keeps a message, whose bytes may be overwritten afterwards. */
  keep(publish: KeptPublish): void {
    const { message, persistent, route } = publish;
    const { routeLength, propertiesLength, bodyLength } = message;
    if (persistent) {
      const contentBytes = routeLength + propertiesLength + bodyLength;
      this.persistentBytes += contentBytes + recordOverhead + (route.queues.length + 1) * queueBytes;
    }
    this.publishes.push(message.owned ? publish : { ...publish, message: this.copies.copy(message) });
  }

  /** Remembers a settlement; false when its tag is not waiting for one. */
  settle(settlement: KeptSettlement): boolean {
    const { tag, multiple } = settlement;
    if (!this.unacked.has(tag) || this.isSettled(tag)) return false;
    if (multiple) this.settledUpTo = tag;
    else this.settledTags.add(tag);
    this.settlements.push(settlement);
    return true;
  }

  /** Remembers a settlement of all deliveries made, the last of which had this tag. */
  settleAll(lastTag: number, outcome: Settlement): void {
    this.settledUpTo = lastTag;
    this.settlements.push({ tag: lastTag, multiple: true, outcome });
  }

  /**
   * Takes out the deliveries that are not settled here; the last delivery made had this tag. Newest first, since a
   * delivery does not know its tag: the tags are tried one by one.
   */
  takeUnsettled(lastTag: number, visit: DeliveryVisitor): void {
    let most = this.unacked.count - this.settledTags.size;
    for (let tag = lastTag; tag > this.settledUpTo && most > 0; tag--) {
      if (!this.settledTags.has(tag) && this.unacked.takeOne(tag, visit)) most--;
    }
  }

  /** Forgets everything: it has been carried out, or rolled back. */
  clear(): void {
    this.publishes = [];
    this.settlements = [];
    this.copies = new MessageCopies();
    this.settledUpTo = 0;
    this.settledTags.clear();
    this.persistentBytes = 0;
  }

  private isSettled(tag: number): boolean {
    return tag <= this.settledUpTo || this.settledTags.has(tag);
  }
}

const firstBuffer = 4 << 10;
const largestBuffer = 256 << 10;

/** Copies messages, many to a buffer: a transaction may have very many small ones. */
class MessageCopies {
  private buffer = createBuffer(0);
  private used = 0;

  copy(message: MessageView): MessageView {
    const { routeLength, propertiesLength, bodyLength } = message;
    this.makeRoom(routeLength + propertiesLength + bodyLength);
    const copy = new MessageView();
    copy.bytes = this.buffer.bytes;
    copy.view = this.buffer.view;
    copy.routeAt = this.append(message, message.routeAt, routeLength);
    copy.routeLength = routeLength;
    copy.propertiesAt = this.append(message, message.propertiesAt, propertiesLength);
    copy.propertiesLength = propertiesLength;
    copy.bodyAt = this.append(message, message.bodyAt, bodyLength);
    copy.bodyLength = bodyLength;
    return copy;
  }

  private append(message: MessageView, from: number, length: number): number {
    const at = this.used;
    copyBytes(this.buffer.bytes, this.buffer.view, at, message.bytes, message.view, from, length);
    this.used += length;
    return at;
  }

  private makeRoom(count: number): void {
    const { length } = this.buffer.bytes;
    if (this.used + count <= length) return;
    this.buffer = createBuffer(Math.max(count, firstBuffer, Math.min(length * 2, largestBuffer)));
    this.used = 0;
  }
}

// Hot path of the generator: deliveries are counted where they lie in the read buffer, whatever the cuts between
// frames and reads. Figures: docs/benchmarks.md, "Is the generator the limit?".
import { nowUs } from "./clock.ts";
import { LoadConnection, unexpected } from "./connection.ts";
import type { LatencySamples } from "./latency.ts";
import type { LoadPlan } from "./plan.ts";
import { basicAckMultiple, basicConsume, basicQos, FRAME_OVERHEAD_BYTES, FrameType, Method } from "./wire.ts";

export interface ConsumerOptions {
  plan: LoadPlan;
  queue: string;
  /** Messages to wait for; infinite in a run of fixed duration. */
  limit: number;
  latency: LatencySamples;
  onDone: () => void;
}

/** Consumes one queue over one connection. */
export class Consumer {
  messages = 0;
  private readonly connection: LoadConnection;
  private readonly options: ConsumerOptions;
  private readonly ackEvery: number;
  private readonly timed: boolean;
  private readonly acks: Buffer[] = [];
  private deliveryTag = 0;
  private unacked = 0;
  private bodyBytesLeft = 0;
  private atBodyStart = false;
  private done = false;

  static async open(options: ConsumerOptions): Promise<Consumer> {
    const { autoAck, port, prefetch } = options.plan;
    const connection = await LoadConnection.open(port);
    if (!autoAck) await connection.call(basicQos(prefetch), Method.BasicQosOk);
    return new Consumer(connection, options);
  }

  private constructor(connection: LoadConnection, options: ConsumerOptions) {
    this.connection = connection;
    this.options = options;
    this.ackEvery = options.plan.autoAck ? Infinity : options.plan.ackEvery;
    this.timed = options.plan.ratePerSecond > 0;
    connection.scanWith((bytes, view, end) => this.scanDeliveries(bytes, view, end));
  }

  start(): void {
    this.connection.socket.write(basicConsume(this.options.queue, this.options.plan.autoAck));
  }

  stop(): void {
    this.connection.close();
  }

  private scanDeliveries(bytes: Buffer, view: DataView, end: number): number {
    const readAtUs = this.timed ? nowUs() : 0;
    let at = 0;
    while (end - at >= FRAME_OVERHEAD_BYTES) {
      const payloadBytes = view.getInt32(at + 3);
      const next = at + FRAME_OVERHEAD_BYTES + payloadBytes;
      if (next > end) break;
      const type = bytes[at];
      if (type === FrameType.Body) {
        if (this.timed && this.atBodyStart) this.options.latency.add(readAtUs - bytes.readDoubleLE(at + 7));
        this.atBodyStart = false;
        this.bodyBytesLeft -= payloadBytes;
        if (this.bodyBytesLeft === 0) this.delivered();
      } else if (type === FrameType.Header) {
        this.atBodyStart = true;
        this.bodyBytesLeft = view.getUint32(at + 11) * 2 ** 32 + view.getUint32(at + 15);
        if (this.bodyBytesLeft === 0) this.delivered();
      } else {
        this.method(bytes, view, at, next);
      }
      at = next;
    }
    if (this.acks.length > 0) this.writeAcks();
    if (this.messages >= this.options.limit) this.finish();
    return at;
  }

  private method(bytes: Buffer, view: DataView, at: number, next: number): void {
    const method = view.getInt32(at + 7);
    if (method === Method.BasicDeliver) {
      const tagAt = at + 12 + bytes[at + 11];
      const deliveryTag = view.getUint32(tagAt) * 2 ** 32 + view.getUint32(tagAt + 4);
      // One consumer on its own channel sees every tag once: a gap or repeat means that somebody miscounts.
      if (deliveryTag !== this.messages + 1)
        throw new Error(`tag ${deliveryTag} after ${this.messages} deliveries`);
      this.deliveryTag = deliveryTag;
    } else if (method !== Method.BasicConsumeOk) {
      throw unexpected(method, bytes.subarray(at + 7, next - 1));
    }
  }

  private delivered(): void {
    this.messages += 1;
    this.unacked += 1;
    if (this.unacked >= this.ackEvery) this.ack();
  }

  private ack(): void {
    this.acks.push(basicAckMultiple(this.deliveryTag));
    this.unacked = 0;
  }

  private writeAcks(): void {
    this.connection.socket.write(this.acks.length === 1 ? this.acks[0] : Buffer.concat(this.acks));
    this.acks.length = 0;
  }

  private finish(): void {
    if (this.done) return;
    this.done = true;
    if (this.unacked > 0 && !this.options.plan.autoAck) {
      this.ack();
      this.writeAcks();
    }
    this.options.onDone();
  }
}

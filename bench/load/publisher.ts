// Hot path of the generator: a block of many encoded publishes is written as it is, so a message costs the kernel's
// copy and little else. Figures: docs/benchmarks.md, "Is the generator the limit?".
import { Confirms } from "./confirms.ts";
import { LoadConnection, unexpected } from "./connection.ts";
import type { LatencySamples } from "./latency.ts";
import type { LoadPlan } from "./plan.ts";
import { bodyOffset, confirmSelect, FRAME_OVERHEAD_BYTES, FrameType, Method, publish } from "./wire.ts";

const BLOCK_BYTES = 128 * 1024;

export interface PublisherOptions {
  plan: LoadPlan;
  queue: string;
  /** Messages to publish; infinite in a run of fixed duration. */
  limit: number;
  latency: LatencySamples;
  onDone: () => void;
}

/** Publishes to one queue over one connection. */
export class Publisher {
  private readonly connection: LoadConnection;
  private readonly limit: number;
  private readonly onDone: () => void;
  private readonly message: Buffer;
  private readonly bodyAt: number;
  private readonly block: Buffer;
  private readonly blockMessages: number;
  private readonly confirms: Confirms | undefined;
  private readonly closedLoop: boolean;
  private sentUnconfirmed = 0;
  private stopped = false;

  static async open(options: PublisherOptions): Promise<Publisher> {
    const connection = await LoadConnection.open(options.plan.port);
    if (options.plan.confirmWindow > 0) await connection.call(confirmSelect(), Method.ConfirmSelectOk);
    return new Publisher(connection, options);
  }

  private constructor(connection: LoadConnection, options: PublisherOptions) {
    const { plan, queue, limit, latency, onDone } = options;
    this.connection = connection;
    this.limit = limit;
    this.onDone = onDone;
    this.closedLoop = plan.ratePerSecond === 0;
    this.message = publish(queue, plan);
    this.bodyAt = bodyOffset(this.message);
    this.blockMessages = Math.max(1, Math.floor(BLOCK_BYTES / this.message.length));
    // All have the same length.
    const messages = Array.from({ length: this.blockMessages }, (_, number) => publish(queue, plan, number));
    this.block = Buffer.concat(messages);
    this.confirms = plan.confirmWindow > 0 ? new Confirms(plan.confirmWindow, latency) : undefined;
    connection.scanWith((bytes, view, end) => this.scanConfirms(bytes, view, end));
  }

  /** Messages that count: confirmed ones where confirms are on. */
  get messages(): number {
    return this.confirms?.confirmed ?? this.sentUnconfirmed;
  }

  /** Closed loop: as fast as window and socket allow. */
  start(): void {
    // Not directly on 'drain': it comes in a microtask, and as long as the kernel takes each write at once nothing
    // else in this process would get its turn.
    this.connection.socket.on("drain", () => setImmediate(() => this.writeBlocks()));
    this.writeBlocks();
  }

  /** Open loop: publishes what has become due since `startUs`, stamped with the time it was due. */
  publishDue(startUs: number, nowUs: number, ratePerSecond: number): void {
    const due = Math.floor(((nowUs - startUs) * ratePerSecond) / 1e6);
    const sent = this.sent;
    const count = Math.min(due - sent, this.room);
    if (count <= 0) return;
    const bytes = Buffer.allocUnsafe(count * this.message.length);
    for (let i = 0; i < count; i += 1) {
      const dueUs = startUs + ((sent + i + 1) * 1e6) / ratePerSecond;
      const at = i * this.message.length;
      this.message.copy(bytes, at);
      bytes.writeDoubleLE(dueUs, at + this.bodyAt);
      this.confirms?.publishedDue(dueUs);
    }
    if (!this.confirms) this.sentUnconfirmed += count;
    this.connection.socket.write(bytes);
  }

  stop(): void {
    this.stopped = true;
    this.connection.close();
  }

  private get sent(): number {
    return this.confirms?.sent ?? this.sentUnconfirmed;
  }

  private get room(): number {
    return Math.min(this.limit - this.sent, this.confirms?.room ?? Infinity);
  }

  private writeBlocks(): void {
    for (;;) {
      const count = Math.min(this.blockMessages, this.room);
      if (count <= 0 || this.stopped) return; // a confirm makes room
      if (this.confirms) this.confirms.published(count);
      else this.sentUnconfirmed += count;
      const whole = count === this.blockMessages;
      const bytes = whole ? this.block : this.block.subarray(0, count * this.message.length);
      // With confirms the window is the bound, and its refill is not to wait for further turns of the event loop.
      if (!this.connection.socket.write(bytes) && !this.confirms) return; // 'drain' goes on
    }
  }

  private scanConfirms(bytes: Buffer, view: DataView, end: number): number {
    let at = 0;
    while (end - at >= FRAME_OVERHEAD_BYTES) {
      const next = at + FRAME_OVERHEAD_BYTES + view.getInt32(at + 3);
      if (next > end) break;
      if (bytes[at] === FrameType.Method) this.confirmed(bytes, view, at, next);
      at = next;
    }
    if (this.messages >= this.limit) this.onDone();
    else if (this.closedLoop) this.writeBlocks();
    return at;
  }

  private confirmed(bytes: Buffer, view: DataView, at: number, next: number): void {
    const method = view.getInt32(at + 7);
    // A basic.nack ends the run too: a broker that drops messages is not to be timed.
    if (method !== Method.BasicAck || !this.confirms)
      throw unexpected(method, bytes.subarray(at + 7, next - 1));
    const tag = view.getUint32(at + 11) * 2 ** 32 + view.getUint32(at + 15);
    this.confirms.settle(tag, (bytes[at + 19] & 1) === 1);
  }
}

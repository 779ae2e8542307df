import type { IncomingMessage, Transport } from "./transport.ts";

/** What a worker replies when a task has ended. */
export interface Reply {
  readonly status: "completed" | "dead" | "cancelled";
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}

/** A reply that may come, for one job. */
export interface ExpectedReply {
  readonly replyTo: string;
  readonly reply: Promise<Reply>;
  /** Whoever waits for the reply holds this; when nobody does, it is not waited for. */
  readonly slot: object;
}

/** The replies to this bus: one queue, made when the first task is sent that wants one. */
export class Replies {
  private readonly transport: Transport;
  private queue: Promise<string> | undefined;
  /** By task id. Weak, since most jobs are never asked for their result. */
  private readonly expected = new Map<string, WeakRef<{ resolve(reply: Reply): void }>>();
  private readonly forgotten = new FinalizationRegistry<string>((id) => this.forget(id));

  constructor(transport: Transport) {
    this.transport = transport;
  }

  async expect(id: string): Promise<ExpectedReply> {
    this.queue ??= this.transport.openReplyQueue((message) => this.receive(message));
    const replyTo = await this.queue;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const slot = { resolve };
    this.expected.set(id, new WeakRef(slot));
    this.forgotten.register(slot, id);
    return { replyTo, reply: promise, slot };
  }

  private receive({ correlationId, body }: IncomingMessage): void {
    const reply = body as Reply;
    if (correlationId === undefined || typeof reply?.status !== "string") return;
    this.expected.get(correlationId)?.deref()?.resolve(reply);
    this.expected.delete(correlationId);
  }

  private forget(id: string): void {
    // Sent again by another job under the same id.
    if (this.expected.get(id)?.deref() === undefined) this.expected.delete(id);
  }
}

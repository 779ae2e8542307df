/** Requests on a channel and the replies to them, which come in the same order. */
import { methodName, type Method } from "../../../src/wire/index.ts";
import type { RawClient } from "../../support/raw-client.ts";
import type { QueueLife } from "./ledger.ts";

interface Request {
  readonly method: Method;
  readonly replies: readonly Method["id"][];
  readonly queue: QueueLife | null;
  readonly read: (reply: Method, body: Buffer) => void;
}

export class Replies {
  private readonly client: RawClient;
  private readonly channel: number;
  private readonly awaited: Request[] = [];
  private readonly waiters: (() => void)[] = [];

  constructor(client: RawClient, channel: number) {
    this.client = client;
    this.channel = channel;
  }

  /** Sends a method; `read` is called with its reply, and the reply's body if it brings one. */
  request(
    method: Method,
    replies: readonly Method["id"][],
    read: (reply: Method, body: Buffer) => void,
    queue: QueueLife | null = null,
  ): void {
    this.client.method(this.channel, method);
    this.awaited.push({ method, replies, queue, read });
  }

  /** False for what answers no request. */
  receive(reply: Method, body: Buffer): boolean {
    const request = this.awaited.shift();
    if (!request?.replies.includes(reply.id)) return false;
    request.read(reply, body);
    if (this.awaited.length === 0) for (const wake of this.waiters.splice(0)) wake();
    return true;
  }

  names(queue: QueueLife): boolean {
    return this.awaited.some((request) => request.queue === queue);
  }

  async all(): Promise<void> {
    if (this.awaited.length > 0) await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  toString(): string {
    return this.awaited.map(({ method }) => methodName(method.id)).join(", ");
  }
}

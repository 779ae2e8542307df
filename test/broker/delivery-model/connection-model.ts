/** A client connection with its channels. It reads all the time, unless its socket is paused. */
import { ByteReader, MethodId, type Method } from "../../../src/wire/index.ts";
import { RawClient, type Received } from "../../support/raw-client.ts";
import { ChannelModel } from "./channel-model.ts";
import type { Ledger, Reader } from "./ledger.ts";

export interface ConnectionOptions {
  readonly port: number;
  readonly name: string;
  readonly channelCount: number;
  readonly frameMax: number;
  /** Nothing counts as settled before it says so: it may vanish at any time, and no message is lost. */
  readonly acknowledgesAll: boolean;
}

interface Content {
  readonly method: Method;
  missingBytes: number;
  readonly parts: Uint8Array[];
}

const noBody = Buffer.alloc(0);

export class ConnectionModel {
  readonly options: ConnectionOptions;
  readonly channels: ChannelModel[];
  private readonly client: RawClient;
  private readonly ledger: Ledger;
  private readonly reader: Reader = { leaving: false, queues: new Map() };
  /** Of each channel, the message of which frames are still to come. */
  private readonly contents = new Map<number, Content>();
  private readonly reading: Promise<void>;
  private vanished = false;

  private constructor(client: RawClient, ledger: Ledger, options: ConnectionOptions) {
    this.client = client;
    this.ledger = ledger;
    this.options = options;
    this.channels = Array.from({ length: options.channelCount }, (_, index) => {
      const name = `${options.name} channel ${index + 1}`;
      return new ChannelModel(client, ledger, this.reader, index + 1, name);
    });
    this.reading = this.read();
  }

  static async open(ledger: Ledger, options: ConnectionOptions): Promise<ConnectionModel> {
    const client = await RawClient.login(options.port, { frameMax: options.frameMax });
    for (let id = 2; id <= options.channelCount; id++) await client.openChannel(id);
    return new ConnectionModel(client, ledger, options);
  }

  get paused(): boolean {
    return this.client.socket.isPaused();
  }

  /** What it receives stays in the socket, and soon at the broker. */
  pause(): void {
    this.client.socket.pause();
  }

  resume(): void {
    this.client.socket.resume();
  }

  /** When it resolves, the broker has dealt with all that was sent to it, and everything it replied is read. */
  async roundTrip(): Promise<void> {
    this.resume();
    await Promise.all(this.channels.map((channel) => channel.roundTrip()));
  }

  /** All that is sent within `send` leaves in one write. */
  atOnce(send: () => void): void {
    this.client.socket.cork();
    send();
    this.client.socket.uncork();
  }

  /** Says goodbye, and reads all that comes before the answer. */
  async close(): Promise<void> {
    this.reader.leaving = true;
    this.resume();
    const none = { replyCode: 200, replyText: "", classId: 0, methodId: 0 };
    this.client.method(0, { id: MethodId.ConnectionClose, ...none });
    await this.reading;
    this.giveBack();
  }

  /**
   * Goes without a word, and what it has not read counts as unread for ever. Ended, the socket still brings the broker
   * all that was sent. Reset, it may not: nobody must have settled anything since the last round trip.
   */
  async vanish(how: "end" | "reset", noticed: () => Promise<void>): Promise<void> {
    this.reader.leaving = true;
    this.vanished = true;
    this.giveBack();
    if (how === "end") this.client.socket.end();
    else this.client.socket.resetAndDestroy();
    this.resume();
    await this.reading;
    await noticed();
    this.ledger.readerLost(this.reader);
  }

  /** Ends it when the run is over. */
  async abandon(): Promise<void> {
    this.reader.leaving = true;
    await this.client.close();
  }

  /** The requests that wait for their replies, for the report of a standstill. */
  toString(): string {
    const waiting = this.channels.map((channel) => `${channel.name}: ${channel.replies.toString()}`);
    return [...waiting, this.paused ? "paused" : "reading"].join("\n");
  }

  private giveBack(): void {
    for (const channel of this.channels) channel.giveBack();
  }

  private async read(): Promise<void> {
    for (;;) {
      const received = await this.client.next();
      if (received.kind === "end") break;
      if (!this.vanished) this.receive(received);
    }
    if (!this.reader.leaving) this.ledger.find(`${this.options.name} was ended by the broker`);
  }

  private receive(received: Received): void {
    if (received.kind === "method") this.method(received.channel, received.method);
    if (received.kind === "header") {
      const size = Number(new ByteReader(received.payload, 4).longlong());
      this.contents.get(received.channel)!.missingBytes = size;
    }
    if (received.kind === "body") this.body(received.channel, received.payload);
  }

  private method(channel: number, method: Method): void {
    const hasContent = method.id === MethodId.BasicDeliver || method.id === MethodId.BasicGetOk;
    if (hasContent) this.contents.set(channel, { method, missingBytes: 0, parts: [] });
    else if (channel > 0) this.channels[channel - 1].receive(method, noBody);
    else if (method.id !== MethodId.ConnectionCloseOk) {
      this.ledger.find(`${this.options.name} received ${JSON.stringify(method)}`);
    }
  }

  /** No message of the model is without a body. */
  private body(channel: number, payload: Uint8Array): void {
    const content = this.contents.get(channel)!;
    content.parts.push(payload);
    content.missingBytes -= payload.length;
    if (content.missingBytes > 0) return;
    this.contents.delete(channel);
    this.channels[channel - 1].receive(content.method, Buffer.concat(content.parts));
  }
}

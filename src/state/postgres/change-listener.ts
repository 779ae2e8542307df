import type { Client } from "pg";
import type { Connections } from "./connections.ts";

/** Whoever waits often comes back soon. */
const keepAfterUseMs = 10_000;
const retryDelayMs = 500;

/** Hears of what other processes write. It is connected only while somebody wants to know, and a little longer. */
export class ChangeListener {
  private readonly connections: Connections;
  private readonly channel: string;
  private client: Client | undefined;
  private connecting: Promise<void> | undefined;
  private idle: NodeJS.Timeout | undefined;
  private onChange: ((id: string | undefined) => void) | undefined;

  constructor(connections: Connections, channel: string) {
    this.connections = connections;
    this.channel = channel;
  }

  watch(onChange: (id: string | undefined) => void): void {
    clearTimeout(this.idle);
    this.onChange = onChange;
    this.connect();
  }

  unwatch(): void {
    this.onChange = undefined;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => void this.disconnect(), keepAfterUseMs).unref();
  }

  async close(): Promise<void> {
    this.onChange = undefined;
    clearTimeout(this.idle);
    await this.connecting;
    await this.disconnect();
  }

  private connect(): void {
    if (this.client !== undefined || this.connecting !== undefined) return;
    this.connecting = this.listen().finally(() => {
      this.connecting = undefined;
    });
  }

  /** Until it is connected, or nobody wants to know any more. Until then, waiting ends by its time-out. */
  private async listen(): Promise<void> {
    while (this.onChange !== undefined && !this.connections.isClosed) {
      const client = this.connections.client();
      const lost = (): void => this.lose(client);
      client.on("error", lost).on("end", lost);
      client.on("notification", ({ payload }) => this.onChange?.(payload === "" ? undefined : payload));
      try {
        await client.connect();
        await client.query(`LISTEN "${this.channel}"`);
        this.client = client;
        // What happened before it listened.
        this.onChange?.(undefined);
        return;
      } catch (error) {
        client.end().catch(() => {});
        await this.connections.pause(retryDelayMs, error).catch(() => {});
      }
    }
  }

  private lose(client: Client): void {
    if (this.client !== client) return;
    this.client = undefined;
    if (this.onChange !== undefined) this.connect();
  }

  private async disconnect(): Promise<void> {
    const { client } = this;
    this.client = undefined;
    await client?.end().catch(() => {});
  }
}

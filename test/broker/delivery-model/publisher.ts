/** Publishes, and deletes and empties queues, all on one channel: nobody else changes what there is to deliver. */
import { MethodId } from "../../../src/wire/index.ts";
import { declareQueue } from "../../support/methods.ts";
import { RawClient } from "../../support/raw-client.ts";
import type { Ledger, QueueLife } from "./ledger.ts";

export class Publisher {
  private readonly client: RawClient;
  private readonly ledger: Ledger;

  private constructor(client: RawClient, ledger: Ledger) {
    this.client = client;
    this.ledger = ledger;
  }

  static async open(port: number, ledger: Ledger): Promise<Publisher> {
    return new Publisher(await RawClient.login(port), ledger);
  }

  async declare(name: string): Promise<void> {
    await this.client.call(1, declareQueue(name), MethodId.QueueDeclareOk);
    this.ledger.declared(name);
  }

  publish(queue: QueueLife, sizeBytes: number): void {
    this.client.publish(1, "", queue.name, this.ledger.published(queue, sizeBytes));
  }

  async purge(queue: QueueLife): Promise<void> {
    const method = { id: MethodId.QueuePurge, queue: queue.name, noWait: false } as const;
    const { messageCount } = await this.client.call(1, method, MethodId.QueuePurgeOk);
    queue.purged += messageCount;
  }

  /** With all its messages and consumers. */
  async delete(queue: QueueLife): Promise<void> {
    const anyway = { ifUnused: false, ifEmpty: false, noWait: false };
    const method = { id: MethodId.QueueDelete, queue: queue.name, ...anyway } as const;
    queue.deleted = true;
    await this.client.call(1, method, MethodId.QueueDeleteOk);
  }

  /** As the broker says it, when it has read all that was published. */
  async readyCount(queue: QueueLife): Promise<number> {
    const passive = declareQueue(queue.name, { passive: true });
    return (await this.client.call(1, passive, MethodId.QueueDeclareOk)).messageCount;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

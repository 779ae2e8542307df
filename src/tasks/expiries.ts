import { peekTask } from "./message.ts";
import type { QueueDefinition } from "./queue.ts";
import type { Transport } from "./transport.ts";

/** Those that nobody has waited for by then are forgotten. */
const mostKept = 10_000;

/**
 * Tasks that this bus has sent and that expired before a worker took them. No worker could say so: the broker moves them to the
 * dead letters by itself, of which this gets copies.
 */
export class Expiries {
  private readonly transport: Transport;
  private readonly watched = new Map<string, Promise<void>>();
  private readonly expired = new Set<string>();
  private readonly waiting = new Map<string, PromiseWithResolvers<void>>();

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Resolves when nothing that expires in the queue from now on is missed. */
  watch(queue: QueueDefinition): Promise<void> {
    const known = this.watched.get(queue.name);
    if (known !== undefined) return known;
    const watching = this.transport.watchDeadLetters(queue, (letter) => {
      const { id } = peekTask(letter);
      if (id !== undefined && this.transport.deathsOf(letter)[0]?.reason === "expired") this.add(id);
    });
    this.watched.set(queue.name, watching);
    watching.catch(() => this.watched.delete(queue.name));
    return watching;
  }

  has(id: string): boolean {
    return this.expired.has(id);
  }

  /** Resolves if the task expires. */
  whenExpired(id: string): Promise<void> {
    if (this.has(id)) return Promise.resolve();
    const waiting = this.waiting.get(id) ?? Promise.withResolvers<void>();
    this.waiting.set(id, waiting);
    return waiting.promise;
  }

  /** Nobody waits for it any more. */
  forget(id: string): void {
    this.waiting.delete(id);
    this.expired.delete(id);
  }

  private add(id: string): void {
    if (this.expired.size >= mostKept) this.expired.delete(this.expired.values().next().value!);
    this.expired.add(id);
    this.waiting.get(id)?.resolve();
    this.waiting.delete(id);
  }
}

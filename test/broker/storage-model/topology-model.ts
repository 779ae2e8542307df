/** Exchanges, queues and bindings as they must be, and which of them each state of the definitions on disk has. */
import type { ExchangeTypeName } from "../../../src/broker/routing/index.ts";

export interface BindingModel {
  readonly exchange: string;
  readonly queue: string;
  readonly key: string;
  /** Length of an argument, which makes large definitions. */
  readonly noteBytes: number;
}

interface ExchangeModel {
  readonly type: ExchangeTypeName;
  readonly durable: boolean;
}

interface Change {
  /** The number of the entry that brings it to the disk. */
  readonly entry: number;
  readonly key: string;
  readonly value: string | undefined;
}

/** Durable definitions by their names as JSON lists, the values being a queue's id or an exchange's type. */
export type DefinitionValues = ReadonlyMap<string, string>;

export class TopologyModel {
  readonly exchanges: Map<string, ExchangeModel> = new Map();
  readonly bindings: Map<string, BindingModel & { readonly durable: boolean }> = new Map();
  /** The entry that brings the last of what was done. */
  usedEntries = 0;
  private base: DefinitionValues = new Map();
  private changes: Change[] = [];

  /** A new life of the broker begins with what it found. */
  begin(found: DefinitionValues, entries: number): void {
    this.usedEntries = entries;
    this.base = found;
    this.changes = [];
    this.exchanges.clear();
    this.bindings.clear();
    // Every virtual host has it, and nobody can delete it.
    this.exchanges.set("amq.fanout", { type: "fanout", durable: true });
    for (const [key, value] of found) {
      const [kind, name, ...rest] = JSON.parse(key) as [string, string, ...string[]];
      if (kind === "exchange") this.exchanges.set(name, { type: value as ExchangeTypeName, durable: true });
      if (kind !== "binding") continue;
      const [queue, routingKey, noteBytes] = rest;
      const binding = { exchange: name, queue, key: routingKey, noteBytes: Number(noteBytes), durable: true };
      this.bindings.set(bindingKey(binding), binding);
    }
  }

  /** What is on disk when these entries are. */
  at(entries: number): DefinitionValues {
    const values = new Map(this.base);
    for (const change of this.changes) {
      if (change.entry > entries) continue;
      if (change.value === undefined) values.delete(change.key);
      else values.set(change.key, change.value);
    }
    return values;
  }

  /** Whether the definition had this value once since the disk had so many entries. */
  had(key: string, value: string | undefined, entries: number): boolean {
    return this.changes.some(
      (change) => change.entry > entries && change.key === key && change.value === value,
    );
  }

  exchangeDeclared(name: string, exchange: ExchangeModel, entry: number): void {
    this.exchanges.set(name, exchange);
    if (exchange.durable) this.change(entry, exchangeKey(name), exchange.type);
  }

  exchangeDeleted(name: string, entry: number): void {
    for (const binding of this.bindings.values()) if (binding.exchange === name) this.unbound(binding, entry);
    if (this.exchanges.get(name)!.durable) this.change(entry, exchangeKey(name), undefined);
    this.exchanges.delete(name);
  }

  queueDeclared(name: string, id: number, entry: number): void {
    this.change(entry, queueKey(name), String(id));
  }

  queueDeleted(name: string, survives: boolean, entry: number): void {
    for (const binding of this.bindings.values()) if (binding.queue === name) this.unbound(binding, entry);
    if (survives) this.change(entry, queueKey(name), undefined);
  }

  bound(binding: BindingModel, queueSurvives: boolean, entry: number): void {
    const key = bindingKey(binding);
    if (this.bindings.has(key)) return;
    const durable = queueSurvives && this.exchanges.get(binding.exchange)!.durable;
    this.bindings.set(key, { ...binding, durable });
    if (durable) this.change(entry, key, "");
  }

  unbound(binding: BindingModel, entry: number): void {
    const key = bindingKey(binding);
    if (this.bindings.get(key)?.durable) this.change(entry, key, undefined);
    this.bindings.delete(key);
  }

  /** Names of the queues that a message goes to by way of an exchange that is not the default one. */
  route(exchange: string, routingKey: string): ReadonlySet<string> {
    const { type } = this.exchanges.get(exchange)!;
    const queues = new Set<string>();
    for (const binding of this.bindings.values()) {
      if (binding.exchange === exchange && matches(type, binding.key, routingKey)) queues.add(binding.queue);
    }
    return queues;
  }

  private change(entry: number, key: string, value: string | undefined): void {
    this.usedEntries = entry;
    this.changes.push({ entry, key, value });
  }
}

export function exchangeKey(name: string): string {
  return JSON.stringify(["exchange", name]);
}

export function queueKey(name: string): string {
  return JSON.stringify(["queue", name]);
}

export function bindingKey({ exchange, queue, key, noteBytes }: BindingModel): string {
  return JSON.stringify(["binding", exchange, queue, key, String(noteBytes)]);
}

/** Of topic patterns, those that the steps use. */
function matches(type: ExchangeTypeName, pattern: string, routingKey: string): boolean {
  if (type === "fanout" || pattern === "#") return true;
  if (type === "topic" && pattern.endsWith(".*")) return routingKey.startsWith(pattern.slice(0, -1));
  return pattern === routingKey;
}

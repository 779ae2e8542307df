import { ByteReader, ByteWriter, emptyTable, readTable, writeTable, type FieldTable } from "../wire/index.ts";
import { Queue } from "./queues/index.ts";
import { Exchange, exchangeTypeNames, type Binding, type ExchangeTypeName } from "./routing/index.ts";
import type { Definitions } from "./storage/index.ts";

/** A durable exchange, queue or binding, as it is written down. Arguments are AMQP tables, since their types count. */
export type DurableDefinition =
  | {
      kind: "exchange";
      vhost: string;
      name: string;
      type: ExchangeTypeName;
      autoDelete: boolean;
      internal: boolean;
      arguments: FieldTable;
      /** Of a delayed exchange: what it holds is in the log under this id, as if it were a queue. */
      delayQueueId: number | undefined;
    }
  | { kind: "queue"; vhost: string; name: string; id: number; autoDelete: boolean; arguments: FieldTable }
  | {
      kind: "binding";
      vhost: string;
      source: string;
      destinationKind: "queue" | "exchange";
      destination: string;
      routingKey: string;
      arguments: FieldTable;
    };

/** Writes down what of a virtual host's topology survives the broker. */
export class DurableTopology {
  private readonly definitions: Definitions;
  private readonly vhost: string;

  constructor(definitions: Definitions, vhost: string) {
    this.definitions = definitions;
    this.vhost = vhost;
  }

  nextQueueId(): number {
    return this.definitions.nextQueueId();
  }

  exchangeDeclared({ name, typeName, options }: Exchange, delayQueueId: number | undefined): void {
    if (!options.durable) return;
    const { autoDelete, internal } = options;
    const table = encodeTable(options.arguments);
    const value = { type: typeName, autoDelete, internal, arguments: table, delayQueueId };
    this.definitions.put(key("exchange", this.vhost, name), JSON.stringify(value));
  }

  exchangeDeleted(exchange: Exchange): void {
    if (!exchange.options.durable) return;
    this.definitions.delete(key("exchange", this.vhost, exchange.name));
  }

  queueDeclared(queue: Queue): void {
    if (!queue.survives) return;
    const { id, autoDelete } = queue;
    const value = { id, autoDelete, arguments: encodeTable(queue.arguments) };
    this.definitions.put(key("queue", this.vhost, queue.name), JSON.stringify(value));
  }

  queueDeleted(queue: Queue): void {
    if (queue.survives) this.definitions.delete(key("queue", this.vhost, queue.name));
  }

  bound(source: Exchange, binding: Binding): void {
    if (survives(source, binding)) this.definitions.put(this.bindingKey(source, binding), "");
  }

  unbound(source: Exchange, binding: Binding): void {
    if (survives(source, binding)) this.definitions.delete(this.bindingKey(source, binding));
  }

  private bindingKey(source: Exchange, binding: Binding): string {
    const { destination, routingKey } = binding;
    const kind = destination instanceof Queue ? "queue" : "exchange";
    const table = encodeTable(binding.arguments);
    return key("binding", this.vhost, source.name, kind, destination.name, routingKey, table);
  }
}

/** Reads what {@link DurableTopology} has written: exchanges first, then queues, then the bindings between them. */
export function readTopology(definitions: ReadonlyMap<string, string>): DurableDefinition[] {
  const found: DurableDefinition[] = [];
  for (const [text, value] of definitions) {
    // Definitions of other kinds have keys that are not arrays.
    if (!text.startsWith("[")) continue;
    const [kind, vhost, name, ...rest] = JSON.parse(text) as string[];
    if (kind === "binding") {
      const [destinationKind, destination, routingKey, table] = rest;
      found.push({
        kind,
        vhost,
        source: name,
        destinationKind: destinationKind === "queue" ? "queue" : "exchange",
        destination,
        routingKey,
        arguments: decodeTable(table),
      });
    } else if (kind === "queue") {
      const { id, autoDelete, arguments: table } = JSON.parse(value) as StoredQueue;
      found.push({ kind, vhost, name, id, autoDelete, arguments: decodeTable(table) });
    } else if (kind === "exchange") {
      const {
        type,
        autoDelete,
        internal,
        arguments: table,
        delayQueueId,
      } = JSON.parse(value) as StoredExchange;
      const typeName = exchangeTypeNames.find((known) => known === type);
      if (!typeName) throw new Error(`exchange '${name}' in vhost '${vhost}' has the unknown type '${type}'`);
      found.push({
        kind,
        vhost,
        name,
        type: typeName,
        autoDelete,
        internal,
        arguments: decodeTable(table),
        delayQueueId,
      });
    }
  }
  const order = ["exchange", "queue", "binding"];
  return found.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
}

/** The ids of the queues that {@link DurableTopology} has written down, and of what delayed exchanges hold. */
export function queueIds(definitions: ReadonlyMap<string, string>): ReadonlySet<number> {
  const ids = new Set<number>();
  for (const definition of readTopology(definitions)) {
    if (definition.kind === "queue") ids.add(definition.id);
    else if (definition.kind === "exchange" && definition.delayQueueId !== undefined)
      ids.add(definition.delayQueueId);
  }
  return ids;
}

interface StoredQueue {
  readonly id: number;
  readonly autoDelete: boolean;
  readonly arguments: string;
}

interface StoredExchange {
  readonly type: string;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: string;
  readonly delayQueueId?: number;
}

/** A binding is as durable as the less durable of its ends, as in RabbitMQ. */
function survives(source: Exchange, { destination }: Binding): boolean {
  if (!source.options.durable) return false;
  return destination instanceof Queue ? destination.survives : (destination as Exchange).options.durable;
}

function key(...parts: string[]): string {
  return JSON.stringify(parts);
}

function encodeTable(table: FieldTable): string {
  if (table.size === 0) return "";
  const writer = new ByteWriter();
  writeTable(writer, table);
  return Buffer.from(writer.written()).toString("base64");
}

function decodeTable(text: string): FieldTable {
  return text === "" ? emptyTable : readTable(new ByteReader(Buffer.from(text, "base64")));
}

import { fieldText, type FieldTable, type FieldValue } from "../wire/index.ts";
import { sortedTable, type DeathReason } from "./queues/index.ts";

/** A message's death, as its headers will tell it. */
export interface Death {
  readonly reason: DeathReason;
  readonly queue: string;
  /** To which it was published, and its keys: the routing key first, then those in CC. */
  readonly exchange: string;
  readonly routingKeys: readonly string[];
  readonly timeSeconds: number;
  /** The message's own time to live, which is taken away. */
  readonly expiration: string | undefined;
}

/**
 * Headers with a death noted, as RabbitMQ 3.10 writes them: one entry for each queue and reason, with a count; the latest
 * first; other entries of a queue and reason merged into the first. Found out by probing, as the documentation says only
 * what stands in an entry: https://www.rabbitmq.com/docs/dlx#effects
 */
export function withDeath(headers: FieldTable, death: Death): FieldTable {
  const before = headers.get("x-death");
  const changed = new Map(headers);
  if (before === undefined) {
    changed.set("x-first-death-reason", text(death.reason));
    changed.set("x-first-death-queue", text(death.queue));
    changed.set("x-first-death-exchange", text(death.exchange));
  }
  changed.set("x-death", { type: "array", value: entries(before, death) });
  // These are what RabbitMQ 3.13 and later add.
  changed.set("x-last-death-reason", text(death.reason));
  changed.set("x-last-death-queue", text(death.queue));
  changed.set("x-last-death-exchange", text(death.exchange));
  return sortedTable(changed);
}

/**
 * Whether a message that died in the queues of its `x-death` would go round in a circle in this one, in which no client ever
 * rejected it. https://www.rabbitmq.com/docs/dlx#routing
 */
export function isCycle(queue: string, headers: FieldTable): boolean {
  const deaths = headers.get("x-death");
  if (deaths?.type !== "array") return false;
  for (const entry of deaths.value) {
    if (entry.type !== "table" || textOf(entry.value, "reason") === "rejected") return false;
    if (textOf(entry.value, "queue") === queue) return true;
  }
  return false;
}

function entries(before: FieldValue | undefined, death: Death): FieldValue[] {
  const entry = newEntry(death);
  if (before === undefined) return [tableValue(entry)];
  if (before.type !== "array") return [tableValue(entry)];
  const earlier = grouped(before.value);
  const same = earlier.find((other) => isOf(other, death.queue, death.reason));
  const others = earlier.filter((other) => other !== same).map(tableValue);
  const latest = same ? counted(same) : entry;
  return [tableValue(sortedTable(latest)), ...others];
}

function newEntry({ reason, queue, exchange, routingKeys, timeSeconds, expiration }: Death): FieldTable {
  const entry = new Map<string, FieldValue>([
    ["count", { type: "long", value: 1n }],
    ["reason", text(reason)],
    ["queue", text(queue)],
    ["time", { type: "timestamp", value: BigInt(timeSeconds) }],
    ["exchange", text(exchange)],
    ["routing-keys", { type: "array", value: routingKeys.map(text) }],
  ]);
  if (expiration !== undefined) entry.set("original-expiration", text(expiration));
  return entry;
}

/** Once more in the same queue for the same reason. Its time stays that of the first. */
function counted(entry: FieldTable): FieldTable {
  const count = entry.get("count");
  // Clients may have sent anything.
  const before = count?.type === "long" || count?.type === "signedint" ? BigInt(count.value) : 0n;
  const next = { type: "long", value: BigInt.asIntN(64, before + 1n) } as const;
  return new Map<string, FieldValue>([...entry, ["count", next]]);
}

/** One entry for each queue and reason; RabbitMQ turns the order round where there is more than one. */
function grouped(values: readonly FieldValue[]): FieldTable[] {
  const tables = values.filter((value) => value.type === "table").map(({ value }) => value);
  if (tables.length < 2) return tables;
  const groups = Map.groupBy(tables, (table) =>
    JSON.stringify([textOf(table, "queue"), textOf(table, "reason")]),
  );
  return [...groups.values()]
    .map(([first, ...others]) => (first.has("count") ? first : withCount(first, 1 + others.length)))
    .toReversed();
}

function withCount(table: FieldTable, count: number): FieldTable {
  return new Map<string, FieldValue>([["count", { type: "long", value: BigInt(count) }], ...table]);
}

function isOf(entry: FieldTable, queue: string | undefined, reason: string | undefined): boolean {
  return textOf(entry, "queue") === queue && textOf(entry, "reason") === reason;
}

function textOf(entry: FieldTable, key: string): string | undefined {
  const field = entry.get(key);
  return field?.type === "longstr" ? fieldText(field) : undefined;
}

function text(value: string): FieldValue {
  return { type: "longstr", value };
}

function tableValue(value: FieldTable): FieldValue {
  return { type: "table", value };
}

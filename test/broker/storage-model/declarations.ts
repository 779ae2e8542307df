/** What clients do to exchanges, queues and bindings, in the broker and in the model. */
import type { ExchangeTypeName } from "../../../src/broker/routing/index.ts";
import { emptyTable, type FieldTable } from "../../../src/wire/index.ts";
import { allPermissions } from "../../support/all-permissions.ts";
import type { Life } from "./life.ts";
import type { BindingModel } from "./topology-model.ts";

export type QueueKind = "durable" | "transient" | "exclusive";

export function declareQueue(life: Life, name: string, kind: QueueKind): void {
  const { model, vhost, owner } = life;
  const entry = nextEntry(life);
  const exclusiveOwner = kind === "exclusive" ? owner : null;
  const options = {
    durable: kind !== "transient",
    autoDelete: false,
    exclusiveOwner,
    arguments: emptyTable,
  };
  const queue = vhost.declareQueue(name, options, owner, allPermissions);
  if (queue.survives) model.topology.queueDeclared(name, queue.id, entry);
  model.queueDeclared(name, queue.id, queue.survives);
}

export function deleteQueue(life: Life, name: string): void {
  const { model, vhost, owner } = life;
  const { survives } = model.queues.get(name)!;
  model.topology.queueDeleted(name, survives, nextEntry(life));
  model.queueDeleted(model.queues.get(name)!);
  vhost.deleteQueue(vhost.queueFor(name, owner));
}

export function declareExchange(life: Life, name: string, type: ExchangeTypeName, durable: boolean): void {
  const { model, vhost } = life;
  model.topology.exchangeDeclared(name, { type, durable }, nextEntry(life));
  const options = { durable, autoDelete: false, internal: false, arguments: emptyTable };
  vhost.declareExchange(name, type, options, allPermissions);
}

export function deleteExchange(life: Life, name: string): void {
  const { model, vhost } = life;
  model.topology.exchangeDeleted(name, nextEntry(life));
  vhost.deleteExchange(name, false, allPermissions);
}

export function bind(life: Life, binding: BindingModel): void {
  const { model, vhost, owner } = life;
  const { exchange, queue, key } = binding;
  model.topology.bound(binding, model.queues.get(queue)!.survives, nextEntry(life));
  vhost.bindQueue(queue, exchange, key, tableOf(binding), owner);
}

export function unbind(life: Life, binding: BindingModel): void {
  const { model, vhost, owner } = life;
  const { exchange, queue, key } = binding;
  model.topology.unbound(binding, nextEntry(life));
  vhost.unbindQueue(queue, exchange, key, tableOf(binding), owner);
}

/** The number of the entry that will bring a change to the disk. */
function nextEntry({ definitions }: Life): number {
  return definitions.count + 1;
}

function tableOf({ noteBytes }: BindingModel): FieldTable {
  if (noteBytes === 0) return emptyTable;
  return new Map([["note", { type: "longstr", value: "n".repeat(noteBytes) }]]);
}

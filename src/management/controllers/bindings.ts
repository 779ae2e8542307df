import { createHash } from "node:crypto";
import type { BindingNames, BindingView, VirtualHostView } from "../../broker/index.ts";
import { jsonOf, tableOf } from "../amqp-values.ts";
import { textOf, type ApiRequest } from "../api-request.ts";
import { HttpError, nothingThere } from "../http-error.ts";
import { columnsOf, listedWhole } from "../lists.ts";
import { Answer, noContent, type Resource } from "../resource.ts";
import { asClient } from "./amqp-errors.ts";
import { exchangeName } from "./exchanges.ts";

export const bindings: readonly Resource[] = [
  { path: "/bindings", access: "user", methods: { GET: list } },
  { path: "/bindings/:vhost", access: "vhost", methods: { GET: list } },
  {
    path: "/bindings/:vhost/e/:source/:destinationType/:destination",
    access: "vhost",
    methods: { GET: listBetween, POST: bind },
  },
  {
    path: "/bindings/:vhost/e/:source/:destinationType/:destination/:properties",
    access: "vhost",
    methods: { GET: show, DELETE: unbind },
  },
  {
    path: "/queues/:vhost/:queue/bindings",
    access: "vhost",
    methods: { GET: (request) => listOf(request, toQueue(request.vhost, request.parameter("queue"))) },
  },
  {
    path: "/exchanges/:vhost/:exchange/bindings/:end",
    access: "vhost",
    methods: { GET: listAtExchange },
  },
];

function list(request: ApiRequest): unknown {
  return request.givenVhost
    ? listOf(request, allIn(request.givenVhost))
    : listedBindings(
        request,
        request.listedVhosts.flatMap((vhost) => [...allIn(vhost)].map((binding) => ({ vhost, binding }))),
      );
}

function listBetween(request: ApiRequest): unknown {
  const { source, destinationType, destination } = ends(request);
  return listOf(request, between(request.vhost, source, destinationType, destination));
}

function listAtExchange(request: ApiRequest): unknown {
  const { vhost } = request;
  const name = exchangeName(request.parameter("exchange"));
  const end = request.parameter("end");
  if (end === "source") return listOf(request, fromExchange(vhost, name));
  if (end === "destination") return listOf(request, toExchange(vhost, name));
  throw new HttpError(400);
}

function show(request: ApiRequest): object {
  return columnsOf(shown(request.vhost.name, found(request)), request.query);
}

async function bind(request: ApiRequest): Promise<unknown> {
  const { source, destinationType, destination } = ends(request);
  const { body, actions } = request;
  const routingKey = textOf(body["routing_key"] ?? "", "routing_key");
  const names = { source, destinationType, destination, routingKey, arguments: tableOf(body["arguments"]) };
  await asClient(() => actions.bind(names));
  const location = `${encodeURIComponent(destination)}/${encodeURIComponent(propertiesKey(names))}`;
  return new Answer(201, undefined, { location });
}

async function unbind(request: ApiRequest): Promise<unknown> {
  const binding = found(request);
  await asClient(() => request.actions.unbind(binding));
  return noContent;
}

/** @throws HttpError 400 */
function ends(request: ApiRequest): Pick<BindingNames, "source" | "destinationType" | "destination"> {
  const type = request.parameter("destinationType");
  if (type !== "q" && type !== "e") throw new HttpError(400);
  return {
    source: exchangeName(request.parameter("source")),
    destinationType: type === "q" ? "queue" : "exchange",
    destination:
      type === "q" ? request.parameter("destination") : exchangeName(request.parameter("destination")),
  };
}

/** @throws HttpError 400, 404 */
function found(request: ApiRequest): BindingNames {
  const { source, destinationType, destination } = ends(request);
  const key = request.parameter("properties");
  for (const binding of between(request.vhost, source, destinationType, destination)) {
    if (propertiesKey(binding) === key) return binding;
  }
  throw nothingThere();
}

function* allIn(vhost: VirtualHostView): Generator<BindingNames> {
  yield* fromExchange(vhost, "");
  for (const { name } of vhost.allExchanges) yield* fromExchange(vhost, name);
}

/** The default exchange is bound to each queue by its name. */
function* fromExchange(vhost: VirtualHostView, name: string): Generator<BindingNames> {
  if (name === "") for (const queue of vhost.allQueues) yield byName(queue.name);
  for (const binding of vhost.findExchange(name)?.bindings() ?? []) yield named(name, binding);
}

function* toQueue(vhost: VirtualHostView, queue: string): Generator<BindingNames> {
  yield byName(queue);
  for (const { name } of vhost.allExchanges) yield* between(vhost, name, "queue", queue);
}

function* toExchange(vhost: VirtualHostView, exchange: string): Generator<BindingNames> {
  for (const { name } of vhost.allExchanges) yield* between(vhost, name, "exchange", exchange);
}

function* between(
  vhost: VirtualHostView,
  source: string,
  type: "queue" | "exchange",
  destination: string,
): Generator<BindingNames> {
  if (source === "" && type === "queue") yield byName(destination);
  for (const binding of vhost.findExchange(source)?.bindings() ?? []) {
    if (binding.destination.name === destination && typeOf(binding) === type) yield named(source, binding);
  }
}

function byName(queue: string): BindingNames {
  return {
    source: "",
    destinationType: "queue",
    destination: queue,
    routingKey: queue,
    arguments: new Map(),
  };
}

function named(source: string, binding: BindingView): BindingNames {
  const { destination, routingKey, arguments: table } = binding;
  return {
    source,
    destinationType: typeOf(binding),
    destination: destination.name,
    routingKey,
    arguments: table,
  };
}

function typeOf({ destination }: BindingView): "queue" | "exchange" {
  return destination.typeName === undefined ? "queue" : "exchange";
}

function listOf(request: ApiRequest, some: Iterable<BindingNames>): unknown {
  const { vhost } = request;
  return listedBindings(
    request,
    [...some].map((binding) => ({ vhost, binding })),
  );
}

/** In RabbitMQ's order, unless another is asked for. */
function listedBindings(
  { query }: ApiRequest,
  all: readonly { vhost: VirtualHostView; binding: BindingNames }[],
): unknown {
  const rows = all.map(({ vhost, binding }) => ({
    vhost: vhost.name,
    name: [binding.source, binding.destination, binding.routingKey, propertiesKey(binding)].join("\0"),
    format: () => shown(vhost.name, binding),
  }));
  return listedWhole(rows, query);
}

function shown(vhost: string, binding: BindingNames): object {
  return {
    source: binding.source,
    vhost,
    destination: binding.destination,
    destination_type: binding.destinationType,
    routing_key: binding.routingKey,
    arguments: jsonOf(binding.arguments),
    properties_key: propertiesKey(binding),
  };
}

/** Names a binding among those between the same two: its routing key, and a hash of its arguments if it has any. */
function propertiesKey({
  routingKey,
  arguments: table,
}: Pick<BindingNames, "routingKey" | "arguments">): string {
  const key = encodeURIComponent(routingKey).replaceAll("%20", "+").replaceAll("~", "%7E");
  if (table.size === 0) return key === "" ? "~" : key;
  const sorted = [...table].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(sorted, (_, value: unknown) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
  return `${key}~${createHash("sha256").update(text).digest("base64url").slice(0, hashCharacters)}`;
}

const hashCharacters = 12;

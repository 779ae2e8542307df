import type { ExchangeView, ExchangeTraffic, VirtualHostView } from "../../broker/index.ts";
import { jsonOf, tableOf } from "../amqp-values.ts";
import { booleanOf, textOf, type ApiRequest } from "../api-request.ts";
import { exchangeCounters } from "../counters.ts";
import { nothingThere } from "../http-error.ts";
import { columnsOf, listed, type Row } from "../lists.ts";
import { messageStats } from "../message-stats.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asClient } from "./amqp-errors.ts";

export const exchanges: readonly Resource[] = [
  { path: "/exchanges", access: "user", methods: { GET: list } },
  { path: "/exchanges/:vhost", access: "vhost", methods: { GET: list } },
  {
    path: "/exchanges/:vhost/:exchange",
    access: "vhost",
    methods: { GET: show, PUT: declare, DELETE: remove },
  },
];

/** The default exchange has a name in paths. */
export function exchangeName(name: string): string {
  return name === "amq.default" ? "" : name;
}

/** An exchange, the default one too, which is none of those that a virtual host holds. */
interface Shown {
  readonly name: string;
  readonly typeName: string;
  readonly options: ExchangeView["options"];
  readonly traffic: Readonly<ExchangeTraffic>;
}

function defaultExchange({ defaultTraffic }: VirtualHostView): Shown {
  const options = { durable: true, autoDelete: false, internal: false, arguments: new Map() };
  return { name: "", typeName: "direct", options, traffic: defaultTraffic };
}

/** @throws HttpError 404 */
function foundExchange(request: ApiRequest): Shown {
  const { vhost } = request;
  const name = exchangeName(request.parameter("exchange"));
  const exchange = name === "" ? defaultExchange(vhost) : vhost.findExchange(name);
  if (!exchange) throw nothingThere();
  return exchange;
}

function list(request: ApiRequest): unknown {
  const rows = request.listedVhosts.flatMap((vhost): Row[] =>
    [defaultExchange(vhost), ...vhost.allExchanges].map((exchange) => ({
      vhost: vhost.name,
      name: exchange.name,
      format: () => formatted(request, vhost.name, exchange),
    })),
  );
  return listed(rows, request.query);
}

function show(request: ApiRequest): object {
  const exchange = foundExchange(request);
  return columnsOf(formatted(request, request.vhost.name, exchange), request.query);
}

async function declare(request: ApiRequest): Promise<unknown> {
  const { actions, body } = request;
  const name = exchangeName(request.parameter("exchange"));
  const type = textOf(body["type"] ?? "direct", "type");
  const options = {
    durable: booleanOf(body["durable"], false),
    autoDelete: booleanOf(body["auto_delete"], false),
    internal: booleanOf(body["internal"], false),
    arguments: tableOf(body["arguments"]),
  };
  const isNew = !request.vhost.findExchange(name);
  await asClient(() => actions.declareExchange(name, type, options));
  return put(isNew);
}

async function remove(request: ApiRequest): Promise<unknown> {
  const { name } = foundExchange(request);
  const { actions, query } = request;
  await asClient(() => actions.deleteExchange(name, { ifUnused: query["if-unused"] === "true" }));
  return noContent;
}

function formatted({ rates }: ApiRequest, vhost: string, exchange: Shown): object {
  const { durable, autoDelete, internal } = exchange.options;
  return {
    arguments: jsonOf(exchange.options.arguments),
    auto_delete: autoDelete,
    durable,
    internal,
    ...messageStats(rates, exchange.traffic, exchangeCounters(exchange.traffic)),
    name: exchange.name,
    type: exchange.typeName,
    vhost,
  };
}

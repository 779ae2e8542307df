import type { QueueView } from "../../broker/index.ts";
import { jsonOf, tableOf } from "../amqp-values.ts";
import { booleanOf, textOf, type ApiRequest } from "../api-request.ts";
import { queueCounters } from "../counters.ts";
import { badRequest, nothingThere } from "../http-error.ts";
import { columnsOf, listed, type Row } from "../lists.ts";
import { depthOf, messageStatsOf } from "../message-stats.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asClient } from "./amqp-errors.ts";
import { consumersOf } from "./consumers.ts";

export const queues: readonly Resource[] = [
  { path: "/queues", access: "user", methods: { GET: list } },
  { path: "/queues/:vhost", access: "vhost", methods: { GET: list } },
  {
    path: "/queues/:vhost/:queue",
    access: "vhost",
    methods: { GET: show, PUT: declare, DELETE: remove },
  },
  { path: "/queues/:vhost/:queue/contents", access: "vhost", methods: { DELETE: purge } },
  { path: "/queues/:vhost/:queue/actions", access: "administrator", methods: { POST: act } },
];

/** The queue of the path. @throws HttpError 404 */
function foundQueue(request: ApiRequest): QueueView {
  const queue = request.vhost.findQueue(request.parameter("queue"));
  if (!queue) throw nothingThere();
  return queue;
}

function list(request: ApiRequest): unknown {
  const isShort = request.query["disable_stats"] === "true";
  const rows: Row[] = [];
  for (const { name: vhost, allQueues } of request.listedVhosts) {
    for (const queue of allQueues) {
      rows.push({
        vhost,
        name: queue.name,
        known: (path) => knownOf(queue, vhost, path),
        format: () => (isShort ? facts(request, vhost, queue) : formatted(request, vhost, queue)),
      });
    }
  }
  return listed(rows, request.query);
}

/** What lists are sorted by as a rule: thousands need not be formatted to be sorted. */
function knownOf(queue: QueueView, vhost: string, path: string): number | string | boolean | undefined {
  switch (path) {
    case "name":
      return queue.name;
    case "vhost":
      return vhost;
    case "messages":
      return queue.readyCount + queue.unackedCount;
    case "messages_ready":
      return queue.readyCount;
    case "messages_unacknowledged":
      return queue.unackedCount;
    case "consumers":
      return queue.consumerCount;
    default:
      return undefined;
  }
}

function show(request: ApiRequest): object {
  const queue = foundQueue(request);
  const { name: vhost } = request.vhost;
  const shown = {
    consumer_details: consumersOf(request, vhost, queue),
    ...formatted(request, vhost, queue),
  };
  return columnsOf(shown, request.query);
}

async function declare(request: ApiRequest): Promise<unknown> {
  const { actions, body, node } = request;
  const name = request.parameter("queue");
  assertNameLength(name);
  const where = textOf(body["node"] ?? node.name, "node");
  if (where !== node.name) throw badRequest(`Node ${where} could not be contacted`);
  const options = {
    durable: booleanOf(body["durable"], false),
    autoDelete: booleanOf(body["auto_delete"], false),
    arguments: tableOf(body["arguments"]),
  };
  const isNew = !request.vhost.findQueue(name);
  await asClient(() => actions.declareQueue(name, options));
  return put(isNew);
}

const mostNameBytes = 255;

/** @throws HttpError 400 */
function assertNameLength(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > mostNameBytes)
    throw badRequest(`queue should be less than ${mostNameBytes} bytes, actually was ${bytes}\n`);
}

async function remove(request: ApiRequest): Promise<unknown> {
  const { name } = foundQueue(request);
  const { actions, query } = request;
  const conditions = { ifUnused: query["if-unused"] === "true", ifEmpty: query["if-empty"] === "true" };
  await asClient(() => actions.deleteQueue(name, conditions));
  return noContent;
}

async function purge(request: ApiRequest): Promise<unknown> {
  const { name } = foundQueue(request);
  await asClient(() => request.actions.purgeQueue(name));
  return noContent;
}

/** What RabbitMQ has there is for mirrored queues. */
function act(request: ApiRequest): unknown {
  foundQueue(request);
  const { action } = request.bodyWith("action");
  if (action === "sync" || action === "cancel_sync") return noContent;
  throw badRequest(["unknown_action", textOf(action, "action")]);
}

/** What does not change, or hardly. */
function facts({ node }: ApiRequest, vhost: string, queue: QueueView): object {
  return {
    arguments: jsonOf(queue.arguments),
    auto_delete: queue.autoDelete,
    // An exclusive one is not, whatever was declared, as in RabbitMQ.
    durable: queue.survives,
    exclusive: queue.exclusiveOwner !== null,
    name: queue.name,
    node: node.name,
    state: "running",
    type: queue.settings.type,
    vhost,
  };
}

function formatted(request: ApiRequest, vhost: string, queue: QueueView): object {
  const detailed = request.rates.of(queue, queueCounters(queue));
  return {
    ...facts(request, vhost, queue),
    consumers: queue.consumerCount,
    effective_policy_definition: {},
    exclusive_consumer_tag: queue.exclusiveConsumerTag,
    ...messageStatsOf(detailed),
    ...depthOf(detailed),
    operator_policy: null,
    policy: null,
    single_active_consumer_tag: queue.activeConsumerTag,
  };
}

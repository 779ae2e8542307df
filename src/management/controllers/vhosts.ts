import type { VirtualHostDescription, VirtualHostView } from "../../broker/index.ts";
import { textOf, type ApiRequest, type JsonObject } from "../api-request.ts";
import { vhostTotals, type Counters } from "../counters.ts";
import { columnsOf, listed } from "../lists.ts";
import { depthOf, messageStatsOf, picked } from "../message-stats.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { tagsOf } from "./tags.ts";

export const vhosts: readonly Resource[] = [
  { path: "/vhosts", access: "user", methods: { GET: list } },
  {
    path: "/vhosts/:vhost",
    access: "administrator",
    methods: {
      GET: (request) => columnsOf(show(request, request.vhost), request.query),
      PUT: add,
      DELETE: remove,
    },
  },
];

function list(request: ApiRequest): unknown {
  const { broker, isMonitor } = request;
  const all = isMonitor ? broker.inspection.vhosts : request.listedVhosts;
  const rows = all.map((vhost) => ({ name: vhost.name, format: () => show(request, vhost) }));
  return listed(rows, request.query);
}

/** Who adds one has all permissions in it, as in RabbitMQ. */
async function add(request: ApiRequest): Promise<unknown> {
  const { broker, body, user } = request;
  const { admin, inspection } = broker;
  const name = request.parameter("vhost");
  const isNew = !inspection.vhost(name);
  await asAdmin(() => admin.addVhost(name, described(body)));
  if (isNew)
    await asAdmin(() =>
      admin.setPermissions(user.name, { vhost: name, configure: ".*", write: ".*", read: ".*" }),
    );
  return put(isNew);
}

function described(body: JsonObject): VirtualHostDescription {
  const { description, tags } = body;
  return {
    ...(description !== undefined && { description: textOf(description, "description") }),
    ...(tags !== undefined && { tags: tagsOf(tags) }),
  };
}

async function remove(request: ApiRequest): Promise<unknown> {
  const { name } = request.vhost;
  await asAdmin(() => request.broker.admin.deleteVhost(name));
  return noContent;
}

function show({ rates, node, broker }: ApiRequest, vhost: VirtualHostView): object {
  const { name, description, tags } = vhost;
  const totals = vhostTotals(vhost, broker.inspection.connections);
  const detailed = rates.of(vhost, totals);
  return {
    name,
    description,
    tags,
    metadata: { description, tags },
    tracing: false,
    cluster_state: { [node.name]: "running" },
    ...messageStatsOf(detailed),
    ...(vhost.queueCount > 0 && depthOf(detailed)),
    ...(hasBytes(totals) && picked(detailed, ["recv_oct", "send_oct"])),
  };
}

function hasBytes(totals: Counters): boolean {
  return totals["recv_oct"] > 0;
}

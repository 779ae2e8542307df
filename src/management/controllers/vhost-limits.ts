import type { VirtualHostView } from "../../broker/index.ts";
import type { ApiRequest } from "../api-request.ts";
import { notFound } from "../http-error.ts";
import { listedWhole } from "../lists.ts";
import { noContent, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { shownLimits, wantedLimit, type LimitNames } from "./limit-names.ts";

export const vhostLimits: readonly Resource[] = [
  { path: "/vhost-limits", access: "user", methods: { GET: listAll } },
  {
    path: "/vhost-limits/:vhost",
    access: "vhost or monitoring",
    methods: { GET: (request) => list(request, [request.vhost]) },
  },
  {
    path: "/vhost-limits/:vhost/:limit",
    access: "administrator",
    methods: { PUT: set, DELETE: clear },
  },
];

const names: LimitNames = { "max-connections": "maxConnections", "max-queues": "maxQueues" };

function listAll(request: ApiRequest): unknown {
  const { broker, isMonitor } = request;
  return list(request, isMonitor ? broker.inspection.vhosts : request.listedVhosts);
}

function list({ query }: ApiRequest, some: readonly VirtualHostView[]): unknown {
  const limited = some.filter(({ limits }) => Object.keys(limits).length > 0);
  const rows = limited.map(({ name, limits }) => ({
    name,
    format: () => ({ vhost: name, value: shownLimits(names, { ...limits }) }),
  }));
  return listedWhole(rows, query);
}

async function set(request: ApiRequest): Promise<unknown> {
  const { admin, inspection } = request.broker;
  const vhost = inspection.vhost(request.parameter("vhost"));
  if (!vhost) throw notFound("vhost_not_found");
  const refusal = (problem: string): string => `Validation failed\n\n${problem}\n`;
  const { name, value } = wantedLimit(request, names, refusal, "limits");
  await asAdmin(() => admin.setVhostLimits(vhost.name, { ...vhost.limits, [name]: value }));
  return noContent;
}

async function clear(request: ApiRequest): Promise<unknown> {
  const { name: vhost, limits } = request.vhost;
  const limit = request.parameter("limit");
  if (Object.hasOwn(names, limit))
    await asAdmin(() => request.broker.admin.setVhostLimits(vhost, { ...limits, [names[limit]]: -1 }));
  return noContent;
}

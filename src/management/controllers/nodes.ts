import { availableParallelism } from "node:os";
import type { ApiRequest } from "../api-request.ts";
import { nothingThere } from "../http-error.ts";
import { columnsOf, listedWhole } from "../lists.ts";
import type { Resource } from "../resource.ts";
import { churnRates, contexts, exchangeTypes } from "./overview.ts";

export const nodes: readonly Resource[] = [
  {
    path: "/nodes",
    access: "monitoring",
    methods: {
      GET: async (request) => {
        const node = await show(request);
        return listedWhole([{ name: request.node.name, format: () => node }], request.query);
      },
    },
  },
  {
    path: "/nodes/:node",
    access: "monitoring",
    methods: {
      GET: async (request) => {
        if (request.parameter("node") !== request.node.name) throw nothingThere();
        return columnsOf(await show(request), request.query);
      },
    },
  },
];

const authMechanisms: readonly object[] = [
  { name: "PLAIN", description: "SASL PLAIN authentication mechanism", enabled: true },
  { name: "AMQPLAIN", description: "QPid AMQPLAIN mechanism", enabled: true },
];

/** The one node that there is. What only an Erlang machine has is left out. */
async function show(request: ApiRequest): Promise<object> {
  const { broker, node } = request;
  const { inspection } = broker;
  const { alarms, connections } = broker.usage();
  const freeDiskBytes = await inspection.freeDiskBytes();
  return {
    name: node.name,
    type: "disc",
    running: true,
    partitions: [],
    cluster_links: [],
    os_pid: String(process.pid),
    uptime: Math.round(process.uptime() * 1_000),
    processors: availableParallelism(),
    rates_mode: "basic",
    mem_used: process.memoryUsage.rss(),
    mem_limit: inspection.memoryLimitBytes,
    mem_alarm: alarms.includes("memory"),
    mem_calculation_strategy: "rss",
    disk_free_limit: inspection.diskFreeLimitBytes,
    disk_free_alarm: alarms.includes("disk"),
    ...(freeDiskBytes !== undefined && { disk_free: freeDiskBytes }),
    ...(inspection.dataDir !== undefined && { db_dir: inspection.dataDir }),
    sockets_used: connections,
    exchange_types: exchangeTypes,
    auth_mechanisms: authMechanisms,
    applications: [{ name: "warrenmq", description: "Warren", version: node.version }],
    contexts: contexts(request),
    enabled_plugins: [],
    config_files: [],
    log_files: [],
    ...churnRates(request),
  };
}

import type { ApiRequest } from "../api-request.ts";
import { badRequest, nothingThere } from "../http-error.ts";
import { Answer, type Handler, type Resource } from "../resource.ts";
import { asClient } from "./amqp-errors.ts";

export const healthChecks: readonly Resource[] = [
  { path: "/health/checks/alarms", access: "user", methods: { GET: alarms } },
  { path: "/health/checks/local-alarms", access: "user", methods: { GET: alarms } },
  { path: "/health/checks/port-listener/:port", access: "user", methods: { GET: portListener } },
  { path: "/health/checks/protocol-listener/:protocol", access: "user", methods: { GET: protocolListener } },
  { path: "/health/checks/virtual-hosts", access: "user", methods: { GET: () => ({ status: "ok" }) } },
  { path: "/health/checks/node-is-mirror-sync-critical", access: "user", methods: { GET: alone() } },
  { path: "/health/checks/node-is-quorum-critical", access: "user", methods: { GET: alone() } },
  { path: "/healthchecks/node", access: "user", methods: { GET: node } },
  { path: "/healthchecks/node/:node", access: "user", methods: { GET: node } },
  { path: "/aliveness-test/:vhost", access: "vhost", methods: { GET: aliveness } },
];

function failed(reason: string, more: object): Answer {
  return new Answer(503, { status: "failed", reason, ...more });
}

function alarms({ broker, node: { name } }: ApiRequest): unknown {
  const raised = broker.usage().alarms;
  if (raised.length === 0) return { status: "ok" };
  const shown = raised.map((resource) => ({ node: name, resource }));
  return failed("There are alarms in effect in the cluster", { alarms: shown });
}

function portListener(request: ApiRequest): unknown {
  const text = request.parameter("port");
  if (!/^\d+$/.test(text)) throw badRequest("Invalid port");
  const port = Number(text);
  const { amqp, http } = request.node;
  const ports = [http.port, amqp.port].filter((open) => open > 0);
  if (ports.includes(port)) return { status: "ok", port };
  return failed("No active listener", { missing: port, ports });
}

function protocolListener(request: ApiRequest): unknown {
  const protocol = request.parameter("protocol");
  const protocols = request.node.amqp.port > 0 ? ["http", "amqp"] : ["http"];
  if (protocols.includes(protocol)) return { status: "ok", protocol };
  return failed("No active listener", { missing: protocol, protocols });
}

/** Nobody depends on another node. */
function alone(): Handler {
  return () => ({ status: "ok", reason: "single node cluster" });
}

function node(request: ApiRequest): unknown {
  const name = request.parameter("node");
  if (name !== undefined && name !== request.node.name) throw nothingThere();
  const raised = request.broker.usage().alarms;
  if (raised.length === 0) return { status: "ok" };
  return { status: "failed", reason: `resource alarm(s) in effect: ${raised.join(", ")}` };
}

const queue = "aliveness-test";

/** A message goes in and comes out. The queue stays, as in RabbitMQ. */
async function aliveness(request: ApiRequest): Promise<unknown> {
  void request.vhost;
  const { actions } = request;
  await asClient(async () => {
    await actions.declareQueue(queue, { durable: false, autoDelete: false, arguments: new Map() });
    await actions.publish("", queue, {}, Buffer.from("test_message"));
    await actions.get(queue, 1, "acknowledged");
  });
  return { status: "ok" };
}

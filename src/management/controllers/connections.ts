import type { ConnectionView } from "../../broker/index.ts";
import { jsonOf } from "../amqp-values.ts";
import type { ApiRequest } from "../api-request.ts";
import { connectionCounters } from "../counters.ts";
import { nothingThere } from "../http-error.ts";
import { columnsOf, listed, listedWhole, type Row } from "../lists.ts";
import { noContent, type Resource } from "../resource.ts";
import { channelRows } from "./channels.ts";

export const connections: readonly Resource[] = [
  {
    path: "/connections",
    access: "user",
    methods: { GET: (request) => listed(rows(request, visible(request)), request.query) },
  },
  {
    path: "/vhosts/:vhost/connections",
    access: "vhost",
    methods: { GET: (request) => listed(rows(request, visible(request)), request.query) },
  },
  {
    path: "/connections/username/:user",
    access: "user",
    methods: { GET: listOfUser, DELETE: closeOfUser },
  },
  {
    path: "/connections/:connection",
    access: "user",
    methods: {
      GET: (request) => columnsOf(show(request, found(request, false)), request.query),
      DELETE: close,
    },
  },
  {
    path: "/connections/:connection/channels",
    access: "user",
    methods: { GET: (request) => listed(channelRows(request, [found(request, false)]), request.query) },
  },
];

/** Connections that the user may see: all, or its own; in the virtual host of the path, if it names one. */
export function visible(request: ApiRequest): ConnectionView[] {
  const { broker, user, isMonitor, givenVhost } = request;
  return [...broker.inspection.connections].filter(
    (connection) =>
      (isMonitor || connection.user === user.name) &&
      (givenVhost === undefined || connection.vhost.name === givenVhost.name),
  );
}

function rows(request: ApiRequest, all: readonly ConnectionView[]): Row[] {
  return all.map((connection) => ({
    vhost: connection.vhost.name,
    name: connection.name,
    format: () => show(request, connection),
  }));
}

/** @throws HttpError 401, 404 */
function found(request: ApiRequest, toEnd: boolean): ConnectionView {
  const name = request.parameter("connection");
  for (const connection of request.broker.inspection.connections) {
    if (connection.name !== name) continue;
    request.assertMayTouch(connection.user, toEnd);
    return connection;
  }
  throw nothingThere();
}

function close(request: ApiRequest): unknown {
  const { name } = found(request, true);
  request.broker.admin.closeConnection(name, reason(request));
  return noContent;
}

function listOfUser(request: ApiRequest): unknown {
  const { broker, node, query } = request;
  const user = request.parameter("user");
  request.assertMayTouch(user, false);
  const theirs = [...broker.inspection.connections].filter((connection) => connection.user === user);
  const short = theirs.map(({ name, vhost }) => ({
    vhost: vhost.name,
    name,
    format: () => ({ name, vhost: vhost.name, user, node: node.name }),
  }));
  return listedWhole(short, query);
}

function closeOfUser(request: ApiRequest): unknown {
  const user = request.parameter("user");
  request.assertMayTouch(user, true);
  request.broker.admin.closeConnectionsOf(user, reason(request));
  return noContent;
}

/** What the client is told. */
function reason(request: ApiRequest): string {
  return request.header("x-reason") ?? "Closed via management plugin";
}

function show({ rates, node }: ApiRequest, connection: ConnectionView): object {
  const { login, user, local, peer, output } = connection;
  const clientProperties = jsonOf(login!.clientProperties);
  const { tuning, mechanism } = login!;
  const userProvidedName = clientProperties["connection_name"];
  return {
    auth_mechanism: mechanism,
    channel_max: tuning.channelMax,
    channels: connection.channelCount,
    client_properties: clientProperties,
    connected_at: connection.connectedAtMs,
    frame_max: tuning.frameMax,
    host: local.address,
    name: connection.name,
    node: node.name,
    peer_cert_issuer: null,
    peer_cert_subject: null,
    peer_cert_validity: null,
    peer_host: peer.address,
    peer_port: peer.port,
    port: local.port,
    protocol: "AMQP 0-9-1",
    recv_cnt: connection.reads,
    send_cnt: output.writes,
    ...rates.of(connection, connectionCounters(connection)),
    send_pend: output.unsentBytes,
    ssl: false,
    ssl_cipher: null,
    ssl_hash: null,
    ssl_key_exchange: null,
    ssl_protocol: null,
    state: connection.isStopped ? "blocked" : "running",
    timeout: tuning.heartbeatSeconds,
    type: "network",
    user,
    ...(typeof userProvidedName === "string" && { user_provided_name: userProvidedName }),
    user_who_performed_action: user,
    vhost: connection.vhost.name,
  };
}

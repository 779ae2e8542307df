import type { TopicPermissionInfo } from "../../broker/index.ts";
import { textOf, type ApiRequest } from "../api-request.ts";
import { nothingThere } from "../http-error.ts";
import { listedWhole } from "../lists.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { namesOf } from "./permissions.ts";
import { foundUser } from "./users.ts";

export const topicPermissions: readonly Resource[] = [
  {
    path: "/topic-permissions",
    access: "administrator",
    methods: { GET: (request) => list(request, request.broker.admin.listTopicPermissions()) },
  },
  {
    path: "/topic-permissions/:vhost/:user",
    access: "administrator",
    methods: { GET: (request) => list(request, found(request)), PUT: write, DELETE: clear },
  },
  {
    path: "/topic-permissions/:vhost/:user/:exchange",
    access: "administrator",
    methods: { GET: (request) => list(request, found(request)), DELETE: clear },
  },
  { path: "/vhosts/:vhost/topic-permissions", access: "administrator", methods: { GET: listOfVhost } },
  { path: "/users/:user/topic-permissions", access: "administrator", methods: { GET: listOfUser } },
];

function list({ query }: ApiRequest, some: readonly TopicPermissionInfo[]): unknown {
  return listedWhole(
    some.map((permission) => ({
      vhost: permission.vhost,
      name: `${permission.user}\0${permission.exchange}`,
      format: () => show(permission),
    })),
    query,
  );
}

function listOfVhost(request: ApiRequest): unknown {
  const { name } = request.vhost;
  return list(
    request,
    request.broker.admin.listTopicPermissions().filter(({ vhost }) => vhost === name),
  );
}

function listOfUser(request: ApiRequest): unknown {
  const { name } = foundUser(request);
  return list(
    request,
    request.broker.admin.listTopicPermissions().filter(({ user }) => user === name),
  );
}

async function write(request: ApiRequest): Promise<unknown> {
  const { exchange: given, write: writing, read } = request.bodyWith("exchange", "write", "read");
  const { vhost, user } = namesOf(request);
  const exchange = textOf(given, "exchange");
  // One for another exchange is one, too, as in RabbitMQ.
  const isNew = matching(request).length === 0;
  const patterns = { vhost, exchange, write: textOf(writing, "write"), read: textOf(read, "read") };
  await asAdmin(() => request.broker.admin.setTopicPermissions(user, patterns));
  return put(isNew);
}

async function clear(request: ApiRequest): Promise<unknown> {
  for (const { user, vhost, exchange } of found(request))
    await asAdmin(() => request.broker.admin.clearTopicPermissions(user, { vhost, exchange }));
  return noContent;
}

/** Those of the path's user in its virtual host, at its exchange if it names one. */
function matching(request: ApiRequest): TopicPermissionInfo[] {
  const [name, of, at] = ["vhost", "user", "exchange"].map((parameter) => request.parameter(parameter));
  return request.broker.admin
    .listTopicPermissions()
    .filter(
      ({ vhost, user, exchange }) => vhost === name && user === of && (at === undefined || exchange === at),
    );
}

/** @throws HttpError 404 when there are none. */
function found(request: ApiRequest): TopicPermissionInfo[] {
  const permissions = matching(request);
  if (permissions.length === 0) throw nothingThere();
  return permissions;
}

function show({ user, vhost, exchange, write: writing, read }: TopicPermissionInfo): object {
  return { user, vhost, exchange, write: writing, read };
}

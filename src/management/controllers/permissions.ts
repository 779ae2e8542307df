import type { PermissionInfo } from "../../broker/index.ts";
import { textOf, type ApiRequest } from "../api-request.ts";
import { badRequest, nothingThere } from "../http-error.ts";
import { columnsOf, listedWhole } from "../lists.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { foundUser } from "./users.ts";

export const permissions: readonly Resource[] = [
  {
    path: "/permissions",
    access: "administrator",
    methods: { GET: (request) => list(request, () => true) },
  },
  {
    path: "/permissions/:vhost/:user",
    access: "administrator",
    methods: { GET: (request) => columnsOf(show(found(request)), request.query), PUT: write, DELETE: clear },
  },
  { path: "/vhosts/:vhost/permissions", access: "administrator", methods: { GET: listOfVhost } },
  { path: "/users/:user/permissions", access: "administrator", methods: { GET: listOfUser } },
];

function list({ broker, query }: ApiRequest, isWanted: (permission: PermissionInfo) => boolean): unknown {
  const wanted = broker.admin.listPermissions().filter(isWanted);
  return listedWhole(
    wanted.map((permission) => ({
      vhost: permission.vhost,
      name: permission.user,
      format: () => show(permission),
    })),
    query,
  );
}

function listOfVhost(request: ApiRequest): unknown {
  const { name } = request.vhost;
  return list(request, ({ vhost }) => vhost === name);
}

function listOfUser(request: ApiRequest): unknown {
  const { name } = foundUser(request);
  return list(request, ({ user }) => user === name);
}

async function write(request: ApiRequest): Promise<unknown> {
  const { configure, write: writing, read } = request.bodyWith("configure", "write", "read");
  const { vhost, user } = namesOf(request);
  const isNew = !permissionOf(request);
  const patterns = {
    vhost,
    configure: textOf(configure, "configure"),
    write: textOf(writing, "write"),
    read: textOf(read, "read"),
  };
  await asAdmin(() => request.broker.admin.setPermissions(user, patterns));
  return put(isNew);
}

async function clear(request: ApiRequest): Promise<unknown> {
  const { user, vhost } = found(request);
  await asAdmin(() => request.broker.admin.clearPermissions(user, { vhost }));
  return noContent;
}

/** Of the path. @throws HttpError 400 when there is no such user or virtual host. */
export function namesOf(request: ApiRequest): { vhost: string; user: string } {
  const [vhost, user] = [request.parameter("vhost"), request.parameter("user")];
  const { inspection } = request.broker;
  if (!inspection.vhost(vhost) || !inspection.user(user)) throw badRequest("vhost_or_user_not_found");
  return { vhost, user };
}

function permissionOf(request: ApiRequest): PermissionInfo | undefined {
  const [name, user] = [request.parameter("vhost"), request.parameter("user")];
  return request.broker.admin
    .listPermissions()
    .find((permission) => permission.vhost === name && permission.user === user);
}

/** @throws HttpError 404 */
function found(request: ApiRequest): PermissionInfo {
  const permission = permissionOf(request);
  if (!permission) throw nothingThere();
  return permission;
}

function show({ user, vhost, configure, write: writing, read }: PermissionInfo): object {
  return { user, vhost, configure, write: writing, read };
}

import type { UserView } from "../../broker/index.ts";
import type { ApiRequest } from "../api-request.ts";
import { badRequest } from "../http-error.ts";
import { listedWhole } from "../lists.ts";
import { noContent, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { shownLimits, wantedLimit, type LimitNames } from "./limit-names.ts";
import { foundUser } from "./users.ts";

export const userLimits: readonly Resource[] = [
  {
    path: "/user-limits",
    access: "user",
    methods: { GET: (request) => list(request, [...request.broker.inspection.users]) },
  },
  {
    path: "/user-limits/:user",
    access: "user",
    methods: { GET: (request) => list(request, [foundUser(request)]) },
  },
  {
    path: "/user-limits/:user/:limit",
    access: "administrator",
    methods: { PUT: set, DELETE: clear },
  },
];

const names: LimitNames = { "max-channels": "maxChannels", "max-connections": "maxConnections" };

export function limitsOf({ limits }: UserView): object {
  return shownLimits(names, { ...limits });
}

function list({ query }: ApiRequest, some: readonly UserView[]): unknown {
  const limited = some.filter((user) => Object.keys(limitsOf(user)).length > 0);
  const rows = limited.map((user) => ({
    name: user.name,
    format: () => ({ user: user.name, value: limitsOf(user) }),
  }));
  return listedWhole(rows, query);
}

async function set(request: ApiRequest): Promise<unknown> {
  const user = request.parameter("user");
  const { name, value } = wantedLimit(request, names, (problem) => problem, "user-limits");
  if (!request.broker.inspection.user(user)) throw badRequest(["no_such_user", user]);
  await asAdmin(() => request.broker.admin.setUserLimits(user, { [name]: value }));
  return noContent;
}

async function clear(request: ApiRequest): Promise<unknown> {
  const { name: user } = foundUser(request);
  const limit = request.parameter("limit");
  if (Object.hasOwn(names, limit))
    await asAdmin(() => request.broker.admin.setUserLimits(user, { [names[limit]]: -1 }));
  return noContent;
}

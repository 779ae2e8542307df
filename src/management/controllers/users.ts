import type { ImportedUser, UserView } from "../../broker/index.ts";
import { textOf, type ApiRequest, type JsonObject } from "../api-request.ts";
import { badRequest, nothingThere } from "../http-error.ts";
import { columnsOf, listedWhole } from "../lists.ts";
import { noContent, put, type Resource } from "../resource.ts";
import { asAdmin } from "./admin-errors.ts";
import { tagsOf } from "./tags.ts";
import { limitsOf } from "./user-limits.ts";

export const users: readonly Resource[] = [
  {
    path: "/users",
    access: "administrator",
    methods: { GET: (request) => list(request, [...request.broker.inspection.users]) },
  },
  {
    path: "/users/without-permissions",
    access: "administrator",
    methods: { GET: (request) => list(request, withoutPermissions(request)) },
  },
  { path: "/users/bulk-delete", access: "administrator", methods: { POST: removeMany } },
  {
    path: "/users/:user",
    access: "administrator",
    methods: {
      GET: (request) => columnsOf(show(foundUser(request)), request.query),
      PUT: write,
      DELETE: remove,
    },
  },
];

/** The user of the path. @throws HttpError 404 */
export function foundUser(request: ApiRequest): UserView {
  const user = request.broker.inspection.user(request.parameter("user"));
  if (!user) throw nothingThere();
  return user;
}

function list({ query }: ApiRequest, some: readonly UserView[]): unknown {
  return listedWhole(
    some.map((user) => ({ name: user.name, format: () => show(user) })),
    query,
  );
}

function withoutPermissions({ broker }: ApiRequest): UserView[] {
  const { inspection } = broker;
  const mayOpenAny = (user: string): boolean =>
    inspection.vhosts.some(({ name }) => inspection.mayOpen(user, name));
  return [...inspection.users].filter(({ name }) => !mayOpenAny(name));
}

async function write(request: ApiRequest): Promise<unknown> {
  const { broker, body } = request;
  const { admin, inspection } = broker;
  const name = request.parameter("user");
  const { tags: given, password, password_hash: hash } = body;
  if (given === undefined) throw badRequest("tags_not_present");
  const tags = tagsOf(given);
  if (password !== undefined && hash !== undefined)
    throw badRequest("both_password_and_password_hash_are_provided");
  const isNew = !inspection.user(name);
  if (hash !== undefined) {
    await asAdmin(() => admin.importUser(name, imported(body, tags)));
  } else if (password === undefined) {
    throw badRequest("a user needs a password or a password_hash: without one it could not log in");
  } else if (isNew) {
    await asAdmin(() => admin.addUser(name, textOf(password, "password"), { tags }));
  } else {
    await asAdmin(() => admin.changePassword(name, textOf(password, "password")));
    await asAdmin(() => admin.setUserTags(name, tags));
  }
  return put(isNew);
}

function imported(body: JsonObject, tags: readonly string[]): ImportedUser {
  const algorithm = body["hashing_algorithm"] ?? "rabbit_password_hashing_sha256";
  return {
    passwordHash: textOf(body["password_hash"], "password_hash"),
    // The broker refuses what it does not know.
    hashingAlgorithm: textOf(algorithm, "hashing_algorithm") as ImportedUser["hashingAlgorithm"],
    tags,
  };
}

async function remove(request: ApiRequest): Promise<unknown> {
  const { name } = foundUser(request);
  await asAdmin(() => request.broker.admin.deleteUser(name));
  return noContent;
}

async function removeMany(request: ApiRequest): Promise<unknown> {
  const { users: names } = request.bodyWith("users");
  if (!Array.isArray(names)) throw badRequest("users is not a list");
  for (const given of names as unknown[]) {
    const name = textOf(given, "users");
    if (!request.broker.inspection.user(name)) throw badRequest(["no_such_user", name]);
    await asAdmin(() => request.broker.admin.deleteUser(name));
  }
  return noContent;
}

function show(user: UserView): object {
  const { name, tags, password } = user;
  return {
    name,
    password_hash: password?.hash ?? "",
    hashing_algorithm: password?.algorithm ?? "argon2id",
    tags,
    limits: limitsOf(user),
  };
}

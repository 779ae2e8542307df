import { beforeAll, describe, test } from "vitest";
import { ask, eachSide, same, sameShape, startTwoBrokers } from "./two-brokers.ts";

startTwoBrokers();

const users: readonly (readonly [name: string, tags: string])[] = [
  ["nobody", ""],
  ["manager", "management"],
  ["policymaker", "policymaker"],
  ["monitor", "monitoring"],
  ["chief", "administrator"],
];

/** The manager may use the virtual host `theirs`; the chief has permissions nowhere. */
beforeAll(async () => {
  for (const side of eachSide()) {
    await ask(side, "/api/vhosts/theirs", { method: "PUT" });
    await ask(side, "/api/queues/theirs/q", { method: "PUT", body: {} });
    await ask(side, "/api/queues/%2F/q", { method: "PUT", body: {} });
    for (const [name, tags] of users)
      await ask(side, `/api/users/${name}`, { method: "PUT", body: { password: "secret", tags } });
    const mine = { configure: "^mine", write: "^(mine|amq\\.default)", read: "^mine" };
    await ask(side, "/api/permissions/theirs/manager", { method: "PUT", body: mine });
  }
});

const readPaths: readonly string[] = [
  "/api/whoami",
  "/api/users?columns=name,tags",
  "/api/users/nobody?columns=name,tags",
  "/api/users/without-permissions?columns=name",
  "/api/users/manager/permissions",
  "/api/users/manager/topic-permissions",
  "/api/permissions",
  "/api/permissions/theirs/manager",
  "/api/topic-permissions",
  "/api/topic-permissions/theirs/manager",
  "/api/vhosts?columns=name",
  "/api/vhosts/theirs?columns=name",
  "/api/vhosts/theirs/permissions",
  "/api/vhosts/%2F/connections",
  "/api/vhosts/%2F/channels",
  "/api/vhost-limits",
  "/api/vhost-limits/%2F",
  "/api/vhost-limits/theirs",
  "/api/vhost-limits/nowhere",
  "/api/user-limits",
  "/api/user-limits/manager",
  "/api/queues?columns=name,vhost",
  "/api/queues/%2F?columns=name",
  "/api/queues/theirs?columns=name",
  "/api/queues/nowhere",
  "/api/queues/%2F/q?columns=name",
  "/api/queues/theirs/q?columns=name",
  "/api/queues/theirs/q/bindings",
  "/api/exchanges/%2F/amq.topic?columns=type",
  "/api/bindings",
  "/api/bindings/%2F",
  "/api/connections?columns=name",
  "/api/channels?columns=name",
  "/api/consumers?columns=consumer_tag",
  "/api/consumers/%2F?columns=consumer_tag",
  "/api/connections/username/manager",
  "/api/nodes?columns=name",
  "/api/health/checks/alarms",
  "/api/aliveness-test/%2F",
];

describe.each(users)("the user %s with the tags '%s'", (name) => {
  const user = `${name}:secret`;

  test.each(readPaths.filter((path) => isCertain(name, path)))("reads %s", async (path) => {
    await same(path, { user });
  });

  test("sees its overview", async () => {
    await sameShape("/api/overview?columns=object_totals", {}, { user });
  });

  test.each<[method: string, path: string, body?: object]>([
    ["PUT", "/api/queues/%2F/mine", {}],
    ["PUT", "/api/queues/theirs/mine", {}],
    ["PUT", "/api/queues/theirs/other", {}],
    ["DELETE", "/api/queues/theirs/q"],
    ["DELETE", "/api/queues/theirs/q/contents"],
    ["POST", "/api/queues/theirs/q/get", { count: 1, ackmode: "ack_requeue_true", encoding: "auto" }],
    ["POST", "/api/queues/theirs/mine/get", { count: 1, ackmode: "ack_requeue_true", encoding: "auto" }],
    ["DELETE", "/api/queues/theirs/mine"],
    ["PUT", "/api/exchanges/theirs/other", { type: "direct" }],
    ["POST", "/api/bindings/theirs/e/amq.topic/q/q", {}],
    ["PUT", "/api/vhosts/another", {}],
    ["DELETE", "/api/vhosts/another"],
    ["PUT", "/api/users/another", { password: "p", tags: "" }],
    ["DELETE", "/api/users/another"],
    ["POST", "/api/users/bulk-delete", { users: [] }],
    ["PUT", "/api/permissions/theirs/nobody", { configure: "", write: "", read: "" }],
    ["DELETE", "/api/permissions/theirs/nobody"],
    ["PUT", "/api/topic-permissions/theirs/nobody", { exchange: "amq.topic", write: "", read: "" }],
    ["DELETE", "/api/topic-permissions/theirs/nobody"],
    ["PUT", "/api/vhost-limits/theirs/max-queues", { value: 100 }],
    ["DELETE", "/api/vhost-limits/theirs/max-queues"],
    ["PUT", "/api/user-limits/nobody/max-channels", { value: 100 }],
    ["DELETE", "/api/user-limits/nobody/max-channels"],
    ["DELETE", "/api/connections/nothing"],
    ["DELETE", "/api/connections/username/nobody"],
  ])("%s %s", async (method, path, body) => {
    if (!isCertain(name, path)) return;
    await same(path, { user, method, body });
  });
});

test("who publishes needs permissions, too", async () => {
  const body = { routing_key: "q", properties: {}, payload: "x", payload_encoding: "string" };
  for (const path of ["/api/exchanges/theirs/amq.topic/publish", "/api/exchanges/%2F/amq.topic/publish"])
    await same(path, { user: "manager:secret", method: "POST", body });
});

test("wrong credentials are refused", async () => {
  await same("/api/whoami", { user: "manager:wrong" });
  await same("/api/whoami", { user: "unknown:wrong" });
  await same("/api/nothing", { user: "unknown:wrong" });
  await same("/api/queues", { user: "unknown:wrong", method: "POST" });
});

/** Where RabbitMQ answers 500, Warren is on its own. */
function isCertain(name: string, path: string): boolean {
  return name === "nobody" || name === "chief" || !path.startsWith("/api/connections/");
}

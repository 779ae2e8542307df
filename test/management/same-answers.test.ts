import { describe, test } from "vitest";
import { same, startTwoBrokers } from "./two-brokers.ts";

startTwoBrokers();

const put = (body: unknown): { method: string; body: unknown } => ({ method: "PUT", body });
const post = (body: unknown): { method: string; body: unknown } => ({ method: "POST", body });
const remove = { method: "DELETE" };

describe("queues", () => {
  test("are declared, declared again, shown and deleted", async () => {
    await same("/api/queues/%2F/q1", put({}));
    await same("/api/queues/%2F/q1", put({ durable: false }));
    await same("/api/queues/%2F/q1", put({ durable: "false", auto_delete: "false" }));
    await same("/api/queues/%2F/q1", put({ durable: true }));
    await same("/api/queues/%2F/q1/", put({ arguments: [] }));
    await same("/api/queues/%2F/q1", { method: "PUT", text: "" });
    await same("/api/queues/%2F/q1?columns=name,arguments,durable,auto_delete,exclusive,vhost,type,state");
    await same("/api/queues/%2F/q1", remove);
    await same("/api/queues/%2F/q1", remove);
    await same("/api/queues/%2F/q1");
  });

  test("with arguments of all kinds", async () => {
    const table = {
      "x-max-length": 5,
      text: "t",
      flag: true,
      number: 1.5,
      list: [1, "a", [2]],
      deep: { a: { b: 1 } },
    };
    await same("/api/queues/%2F/arguments", put({ durable: true, arguments: table }));
    await same("/api/queues/%2F/arguments?columns=name,arguments,durable");
    await same("/api/queues/%2F/arguments", put({ durable: true, arguments: { "x-max-length": 6 } }));
    await same("/api/queues/%2F/quorum", put({ durable: true, arguments: { "x-queue-type": "quorum" } }));
    await same("/api/queues/%2F/quorum?columns=name,type,arguments");
    await same("/api/queues/%2F/arguments", remove);
    await same("/api/queues/%2F/quorum", remove);
  });

  test.each([
    ["no JSON", { method: "PUT", text: "nonsense" }],
    ["blanks", { method: "PUT", text: " " }],
    ["a list", put([])],
    ["a durable that is neither", put({ durable: "maybe" })],
    ["an argument that is null", put({ arguments: { "x-max-length": null } })],
    ["an argument of the wrong type", put({ arguments: { "x-max-length": "abc" } })],
    [
      "a quorum queue that deletes itself",
      put({ durable: true, auto_delete: true, arguments: { "x-queue-type": "quorum" } }),
    ],
    ["a node that is none", put({ node: "foo@bar" })],
  ])("refuse %s", async (_name, asked) => {
    await same("/api/queues/%2F/refused", asked);
    await same("/api/queues/%2F/refused");
  });

  test("whose name is reserved, too long or in no virtual host", async () => {
    await same("/api/queues/%2F/amq.mine", put({}));
    await same(`/api/queues/%2F/${"n".repeat(300)}`, put({}));
    await same("/api/queues/nowhere/q", put({}));
    await same("/api/queues/nowhere/q");
    await same("/api/queues/nowhere/q", remove);
    await same("/api/queues/nowhere");
    await same("/api/queues/%2F/nothing/contents", remove);
    await same("/api/queues/%2F/nothing/bindings");
  });

  test("with names that need encoding", async () => {
    const path = `/api/queues/%2F/${encodeURIComponent("a/b c?ü%#&+~")}`;
    await same(path, put({}));
    await same(`${path}?columns=name`);
    await same(`${path}/bindings`);
    await same(path, remove);
  });

  test("are deleted only if they are unused or empty, when that is asked for, and purged", async () => {
    await same("/api/queues/%2F/full", put({}));
    await same("/api/exchanges/%2F/amq.default/publish", post(message("full", "x")));
    await same("/api/queues/%2F/full?if-empty=true", remove);
    await same("/api/queues/%2F/full/contents", remove);
    await same("/api/queues/%2F/full?columns=messages,messages_ready,messages_unacknowledged");
    await same("/api/queues/%2F/full?if-empty=true&if-unused=true", remove);
  });
});

describe("messages", () => {
  test("are published and got, with properties and without", async () => {
    await same("/api/queues/%2F/g", put({ durable: true }));
    await same("/api/exchanges/%2F/amq.default/publish", post(message("g", "hello")));
    const properties = {
      delivery_mode: 2,
      content_type: "text/plain",
      content_encoding: "gzip",
      headers: { a: 1, b: "x", c: [1, 2], d: { e: true }, f: 1.5 },
      priority: 3,
      correlation_id: "c",
      reply_to: "r",
      expiration: "60000",
      timestamp: 123_456,
      message_id: "m1",
      type: "t",
      user_id: "guest",
      app_id: "a",
      unknown: 1,
    };
    const bytes = { payload: "/wD+", payload_encoding: "base64" };
    await same("/api/exchanges/%2F/amq.default/publish", post({ routing_key: "g", properties, ...bytes }));
    await same("/api/exchanges/%2F/amq.default/publish", post(message("nowhere", "x")));
    await same("/api/queues/%2F/g/get", post(get(5, "ack_requeue_true")));
    await same(
      "/api/queues/%2F/g/get",
      post({ ...get("2", "reject_requeue_true"), encoding: "base64", truncate: 2 }),
    );
    await same("/api/queues/%2F/g/get", post(get(1, "ack_requeue_false")));
    await same("/api/queues/%2F/g/get", post(get(0, "ack_requeue_false")));
    await same("/api/queues/%2F/g/get", post(get(-1, "ack_requeue_false")));
    await same("/api/queues/%2F/g/get", post(get(9, "reject_requeue_false")));
    await same("/api/queues/%2F/g/get", post(get(1, "ack_requeue_true")));
    await same("/api/queues/%2F/g", remove);
  });

  test.each<[string, object]>([
    ["no fields", {}],
    ["fields that are missing", { routing_key: "g" }],
    ["an unknown encoding", { ...message("g", "x"), payload_encoding: "foo" }],
    ["what is not base64", { ...message("g", "!!"), payload_encoding: "base64" }],
    ["a payload that is no text", { ...message("g", ""), payload: 17 }],
    ["a delivery mode that there is not", { ...message("g", "x"), properties: { delivery_mode: 7 } }],
    ["an expiration that is no number", { ...message("g", "x"), properties: { expiration: "x" } }],
    ["a content type that is no text", { ...message("g", "x"), properties: { content_type: 5 } }],
    ["another's name", { ...message("g", "x"), properties: { user_id: "other" } }],
  ])("are not published with %s", async (_name, body) => {
    await same("/api/exchanges/%2F/amq.default/publish", post(body));
  });

  test("are neither published nor got where there is nothing", async () => {
    await same("/api/exchanges/%2F/nothing/publish", post(message("g", "x")));
    await same("/api/queues/%2F/nothing/get", post(get(1, "ack_requeue_true")));
    await same("/api/queues/%2F/nothing/get");
  });

  test.each<[string, object]>([
    ["no fields", {}],
    ["fields that are missing", { count: 1 }],
    ["a count that is no number", get("x", "ack_requeue_true")],
    ["an unknown encoding", { ...get(1, "ack_requeue_true"), encoding: "foo" }],
    ["a length that is no number", { ...get(1, "ack_requeue_true"), truncate: "a" }],
  ])("are not got with %s", async (_name, body) => {
    await same("/api/queues/%2F/got", put({}));
    await same("/api/queues/%2F/got/get", post(body));
    await same("/api/queues/%2F/got", remove);
  });
});

describe("exchanges", () => {
  test("are declared, declared again, shown and deleted", async () => {
    await same("/api/exchanges/%2F/e1", put({}));
    await same("/api/exchanges/%2F/e1", put({ type: "direct" }));
    await same("/api/exchanges/%2F/e1", put({ type: "topic" }));
    const table = { "alternate-exchange": "e1", n: 5 };
    await same(
      "/api/exchanges/%2F/e2",
      put({ type: "fanout", internal: true, auto_delete: true, durable: false, arguments: table }),
    );
    await same("/api/exchanges/%2F/e2?columns=name,type,vhost,durable,auto_delete,internal,arguments");
    await same("/api/exchanges/%2F/e2/publish", post(message("", "x")));
    await same("/api/exchanges/%2F/e2", remove);
    await same("/api/exchanges/%2F/e1", remove);
    await same("/api/exchanges/%2F/e1", remove);
    await same("/api/exchanges/%2F/e1");
  });

  test("that cannot be", async () => {
    await same("/api/exchanges/%2F/e", put({ type: "nope" }));
    await same("/api/exchanges/%2F/amq.mine", put({ type: "direct" }));
    await same("/api/exchanges/%2F/amq.direct", put({ type: "direct", durable: true }));
    await same("/api/exchanges/%2F/amq.default", put({ type: "direct", durable: true }));
    await same("/api/exchanges/%2F/amq.default", remove);
    await same("/api/exchanges/%2F/amq.direct", remove);
    await same("/api/exchanges/nowhere/e", put({ type: "direct" }));
    await same("/api/exchanges/nowhere");
  });
});

describe("bindings", () => {
  test("come and go, and are listed from both ends", async () => {
    await same("/api/queues/%2F/bound", put({}));
    await same("/api/exchanges/%2F/from", put({ type: "topic" }));
    await same("/api/exchanges/%2F/to", put({ type: "fanout" }));
    await same("/api/bindings/%2F/e/from/q/bound", post({ routing_key: "a.#" }));
    await same("/api/bindings/%2F/e/from/q/bound", post({ routing_key: "a.#" }));
    await same("/api/bindings/%2F/e/from/q/bound", post({}));
    await same("/api/bindings/%2F/e/from/e/to", { method: "POST", text: "" });
    await same("/api/bindings/%2F/e/from/q/bound");
    await same("/api/bindings/%2F/e/from/e/to");
    await same("/api/bindings/%2F/e/amq.default/q/bound");
    await same("/api/bindings/%2F/e/from/q/bound/a.%2523");
    await same("/api/bindings/%2F/e/from/q/bound/~");
    await same("/api/bindings/%2F/e/from/q/bound/b");
    await same("/api/bindings/%2F");
    await same("/api/bindings");
    await same("/api/bindings?columns=source,destination,routing_key&sort=routing_key&sort_reverse=true");
    await same("/api/queues/%2F/bound/bindings");
    await same("/api/exchanges/%2F/from/bindings/source");
    await same("/api/exchanges/%2F/to/bindings/destination");
    await same("/api/exchanges/%2F/amq.default/bindings/source");
    await same("/api/exchanges/%2F/amq.default/bindings/destination");
    await same("/api/exchanges/%2F/nothing/bindings/source");
    await same("/api/exchanges/%2F/from?if-unused=true", remove);
    await same("/api/bindings/%2F/e/from/q/bound/a.%2523", remove);
    await same("/api/bindings/%2F/e/from/q/bound/a.%2523", remove);
    await same("/api/bindings/%2F/e/from/q/bound/~", remove);
    await same("/api/bindings/%2F/e/from/e/to/~", remove);
    await same("/api/exchanges/%2F/from?if-unused=true", remove);
    await same("/api/exchanges/%2F/to", remove);
    await same("/api/queues/%2F/bound", remove);
  });

  test("that cannot be", async () => {
    await same("/api/queues/%2F/there", put({}));
    await same("/api/bindings/%2F/e/amq.direct/q/nothing", post({}));
    await same("/api/bindings/%2F/e/nothing/q/there", post({}));
    await same("/api/bindings/%2F/e/amq.default/q/there", post({}));
    await same("/api/bindings/nowhere/e/amq.direct/q/there", post({}));
    await same("/api/bindings/nowhere");
    await same("/api/bindings/%2F/e/amq.direct/q/there", put({}));
    await same("/api/exchanges/%2F/amq.direct/bindings/middle");
    await same("/api/queues/%2F/there", remove);
  });
});

describe("lists", () => {
  test("are sorted, cut into pages, filtered by name and reduced to columns", async () => {
    for (const name of ["b1", "a2", "a1", "c"]) await same(`/api/queues/%2F/${name}`, put({}));
    for (const query of [
      "columns=name",
      "columns=name,vhost,message_stats.publish_details.rate",
      "columns=nothing",
      "columns=name&sort=name&sort_reverse=true",
      "columns=name&sort=nothing",
      "columns=name,messages&sort=messages",
      "columns=name&page=1",
      "columns=name&page=1&page_size=3",
      "columns=name&page=2&page_size=3",
      "columns=name&page=3&page_size=2",
      "columns=name&page=9&page_size=2",
      "columns=name&page=0",
      "columns=name&page=1&page_size=501",
      "columns=name&page=1&page_size=0",
      "columns=name&page=x",
      "columns=name&page_size=2",
      "columns=name&name=a",
      "columns=name&page=1&name=A",
      "columns=name&page=1&name=^A&use_regex=true",
      "columns=name&page=1&name=(&use_regex=true",
      "columns=name&page=1&name=&use_regex=true",
    ])
      await same(`/api/queues?${query}`);
    await same("/api/queues/%2F?columns=name&page=1&page_size=1");
    await same("/api/vhosts?columns=name&page=1");
    await same("/api/users?columns=name,tags&page=1");
    await same("/api/connections?columns=name&page=1");
    await same("/api/channels?columns=name&page=1");
    await same("/api/consumers?columns=name&page=1");
    for (const name of ["b1", "a2", "a1", "c"]) await same(`/api/queues/%2F/${name}`, remove);
  });
});

test("b9 an exchange, a queue and a binding are made, a message published and got", async () => {
  await same("/api/exchanges/%2F/my_exchange", put({ type: "direct", durable: true }));
  await same("/api/queues/%2F/my_app", put({ durable: true }));
  await same("/api/bindings/%2F/e/my_exchange/q/my_app", post({ routing_key: "test" }));
  await same("/api/exchanges/%2F/my_exchange/publish", post(message("test", "Hello")));
  await same("/api/queues/%2F/my_app/get", post(get(1, "ack_requeue_false")));
  await same("/api/queues/%2F/my_app", remove);
  await same("/api/exchanges/%2F/my_exchange", remove);
});

describe("virtual hosts", () => {
  test("are added, described, shown and deleted", async () => {
    await same("/api/vhosts/v1", { method: "PUT", text: "" });
    await same("/api/vhosts/v1", put({}));
    await same("/api/vhosts/v2", put({ description: "second", tags: "a,b" }));
    await same("/api/vhosts/v1?columns=name,description,tags,metadata,tracing,cluster_state");
    await same("/api/vhosts/v2?columns=name,description,tags,metadata,tracing,cluster_state");
    await same("/api/vhosts?columns=name,description,tags");
    // Who adds one may use it.
    await same("/api/vhosts/v1/permissions");
    await same("/api/vhosts/v1/topic-permissions");
    await same("/api/queues/v1/q", put({}));
    await same("/api/queues?columns=name,vhost");
    await same("/api/vhosts/v1", remove);
    await same("/api/vhosts/v1", remove);
    await same("/api/vhosts/v1");
    await same("/api/vhosts/v1/permissions");
    await same("/api/vhosts/v1/connections");
    await same("/api/vhosts/v2", remove);
  });
});

describe("users", () => {
  test("are added, changed, listed and deleted", async () => {
    await same("/api/users/u1", put({ password: "p", tags: "management" }));
    await same("/api/users/u1", put({ password: "p2", tags: ["monitoring", "other"] }));
    await same("/api/users/u1?columns=name,tags,limits");
    const hash = "lrFfXhn3nQwKEJ0foc/HIxD+sUy9fTESnsN6uWX73qwZyNDt";
    await same("/api/users/u2", put({ password_hash: hash, tags: "" }));
    await same("/api/users/u2");
    await same(
      "/api/users/u2",
      put({ password_hash: hash, tags: "a", hashing_algorithm: "rabbit_password_hashing_sha256" }),
    );
    await same("/api/users?columns=name,tags,limits");
    await same("/api/users/without-permissions?columns=name");
    await same("/api/whoami", { user: "u1:p2" });
    await same("/api/whoami", { user: "u1:p" });
    await same("/api/users/bulk-delete", post({ users: ["u1", "u2"] }));
    await same("/api/users/u1");
    await same("/api/users/u1", remove);
  });

  test.each<[string, object]>([
    ["no tags", {}],
    ["a password alone", { password: "x" }],
    ["both a password and its hash", { password: "a", password_hash: "b", tags: "" }],
  ])("are not added with %s", async (_name, body) => {
    await same("/api/users/refused", put(body));
    await same("/api/users/refused");
  });

  test("bulk-delete without users", async () => {
    await same("/api/users/bulk-delete", post({}));
    await same("/api/users/bulk-delete", post({ users: ["nobody"] }));
  });
});

describe("permissions", () => {
  test("are set, listed and cleared", async () => {
    await same("/api/users/u", put({ password: "p", tags: "" }));
    await same("/api/permissions/%2F/u", put({ configure: ".*", write: "^w", read: "" }));
    await same("/api/permissions/%2F/u", put({ configure: "^c", write: "^w", read: "" }));
    await same("/api/permissions/%2F/u");
    await same("/api/permissions");
    await same("/api/vhosts/%2F/permissions");
    await same("/api/users/u/permissions");
    await same("/api/permissions/%2F/u", remove);
    await same("/api/permissions/%2F/u", remove);
    await same("/api/permissions/%2F/u");
    await same("/api/topic-permissions/%2F/u", put({ exchange: "amq.topic", write: "^a", read: "^b" }));
    await same("/api/topic-permissions/%2F/u", put({ exchange: "amq.topic", write: "^c", read: "^b" }));
    await same("/api/topic-permissions/%2F/u");
    await same("/api/topic-permissions");
    await same("/api/vhosts/%2F/topic-permissions");
    await same("/api/users/u/topic-permissions");
    await same("/api/topic-permissions/%2F/u", put({ exchange: "other", write: "^a", read: "^b" }));
    await same("/api/topic-permissions/%2F/u/other", remove);
    await same("/api/topic-permissions/%2F/u", remove);
    await same("/api/topic-permissions/%2F/u");
    await same("/api/topic-permissions/%2F/u", remove);
    await same("/api/users/u", remove);
  });

  test("that cannot be", async () => {
    const patterns = { configure: ".*", write: ".*", read: ".*" };
    await same("/api/permissions/%2F/guest", put({ configure: ".*", write: ".*" }));
    await same("/api/permissions/nowhere/guest", put(patterns));
    await same("/api/permissions/%2F/nobody", put(patterns));
    await same("/api/permissions/nowhere/guest");
    await same("/api/topic-permissions/%2F/guest", put({ exchange: "amq.topic", write: "a" }));
    await same("/api/topic-permissions/nowhere/guest", put({ exchange: "amq.topic", ...patterns }));
    await same("/api/users/nobody/permissions");
    await same("/api/users/nobody/topic-permissions");
  });
});

describe("limits", () => {
  test("of virtual hosts", async () => {
    await same("/api/vhosts/limited", put({}));
    await same("/api/vhost-limits/limited/max-connections", put({ value: 5 }));
    await same("/api/vhost-limits/limited/max-queues", put({ value: 1 }));
    await same("/api/vhost-limits");
    await same("/api/vhost-limits/limited");
    await same("/api/vhost-limits/%2F");
    await same("/api/queues/limited/one", put({}));
    await same("/api/queues/limited/two", put({}));
    await same("/api/vhost-limits/limited/max-queues", put({ value: "5" }));
    await same("/api/vhost-limits/limited/other", put({ value: 5 }));
    await same("/api/vhost-limits/limited/max-queues", put({}));
    await same("/api/vhost-limits/limited/max-queues");
    await same("/api/vhost-limits/nowhere/max-queues", put({ value: 5 }));
    await same("/api/vhost-limits/nowhere");
    await same("/api/vhost-limits/limited/max-queues", remove);
    await same("/api/vhost-limits/limited/max-queues", remove);
    await same("/api/vhost-limits/limited");
    await same("/api/vhosts/limited", remove);
  });

  test("of users", async () => {
    await same("/api/users/limited", put({ password: "p", tags: "" }));
    await same("/api/user-limits/limited/max-connections", put({ value: 5 }));
    await same("/api/user-limits/limited/max-channels", put({ value: 6 }));
    await same("/api/user-limits");
    await same("/api/user-limits/limited");
    await same("/api/user-limits/guest");
    await same("/api/users/limited?columns=name,limits");
    await same("/api/user-limits/limited/other", put({ value: 5 }));
    await same("/api/user-limits/limited/max-channels", put({ value: "a" }));
    await same("/api/user-limits/nobody/max-channels", put({ value: 5 }));
    await same("/api/user-limits/nobody");
    await same("/api/user-limits/limited/max-channels", remove);
    await same("/api/user-limits/limited/max-channels", remove);
    await same("/api/user-limits/limited");
    await same("/api/users/limited", remove);
  });
});

describe("health checks", () => {
  test("answer, and refuse what makes no sense", async () => {
    await same("/api/health/checks/alarms");
    await same("/api/health/checks/local-alarms");
    await same("/api/health/checks/virtual-hosts");
    await same("/api/health/checks/node-is-mirror-sync-critical");
    await same("/api/health/checks/node-is-quorum-critical");
    await same("/api/health/checks/protocol-listener/amqp");
    await same("/api/health/checks/port-listener/abc");
    await same("/api/healthchecks/node");
    await same("/api/aliveness-test/%2F");
    await same("/api/aliveness-test/nowhere");
    await same("/api/queues/%2F/aliveness-test", remove);
  });
});

describe("paths and methods", () => {
  test("that there are not", async () => {
    await same("/api/nothing");
    await same("/api/queues/v/q/nothing");
    await same("/api/queues", { method: "POST" });
    await same("/api/whoami", { method: "DELETE" });
    await same("/api/queues/%2F/q", { method: "PATCH" });
    await same("/api/queues", { method: "OPTIONS" });
    await same("/api/whoami/");
    await same("/api/queues/%2F/%zz");
  });
});

function message(routingKey: string, payload: string): object {
  return { routing_key: routingKey, properties: {}, payload, payload_encoding: "string" };
}

function get(count: number | string, ackmode: string): object {
  return { count, ackmode, encoding: "auto" };
}

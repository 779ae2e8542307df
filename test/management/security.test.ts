/** The HTTP port refuses what it should, with the right code, while AMQP clients are served. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { startManagement, type Management } from "../../src/management/index.ts";

let broker: Broker;
let management: Management;
const mostConnections = 200;

beforeAll(async () => {
  broker = await startBroker({ port: 0 });
  management = await startManagement({
    port: 0,
    host: "127.0.0.1",
    broker,
    logger: silentLogger,
    headersTimeoutMs: 300,
    requestTimeoutMs: 600,
    mostConnections,
  });
});
afterAll(async () => {
  await management.stop();
  await broker.stop();
});

const guest = `Basic ${Buffer.from("guest:guest").toString("base64")}`;

type Init = Omit<RequestInit, "headers"> & { headers?: Record<string, string> };

function request(path: string, init: Init = {}): Promise<Response> {
  return fetch(`${management.url}${path}`, { ...init, headers: { authorization: guest, ...init.headers } });
}

/** Sends bytes as they are and gives all that comes back until the end. */
async function raw(text: string): Promise<string> {
  const socket = await opened();
  socket.write(text);
  return rest(socket);
}

async function opened(): Promise<Socket> {
  const socket = connectTcp(Number(new URL(management.url).port), "127.0.0.1");
  socket.on("error", () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  return socket;
}

async function rest(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
  await once(socket, "close");
  return text;
}

/** An AMQP client declares, publishes and gets. */
async function expectBrokerServes(): Promise<void> {
  const connection = await connect(broker.url);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  channel.sendToQueue(queue, Buffer.from("served"));
  await channel.waitForConfirms();
  const message = await channel.get(queue, { noAck: true });
  expect(message && message.content.toString()).toBe("served");
  await connection.close();
}

describe("credentials", () => {
  test("that are missing, wrong, malformed or of another kind are refused", async () => {
    const without = await fetch(`${management.url}/api/overview`);
    expect([without.status, without.headers.get("www-authenticate"), await without.text()]).toEqual([
      401,
      'Basic realm="Warren"',
      "",
    ]);
    const refusal = { error: "not_authorized", reason: "Login failed" };
    for (const authorization of [
      basic("guest:wrong"),
      basic("nobody:guest"),
      basic("guest:"),
      "Bearer token",
    ]) {
      const response = await request("/api/overview", { headers: { authorization } });
      expect([response.status, await response.json()]).toEqual([401, refusal]);
    }
    for (const authorization of [basic("guest"), "Basic !!!", "Basic "]) {
      const response = await request("/api/overview", { headers: { authorization } });
      expect([400, 401]).toContain(response.status);
    }
  });

  test("are needed to change anything", async () => {
    for (const [method, path] of [
      ["PUT", "/api/queues/%2F/q"],
      ["DELETE", "/api/queues/%2F/q"],
      ["POST", "/api/exchanges/%2F/amq.default/publish"],
      ["PUT", "/api/users/mallory"],
      ["POST", "/api/users/bulk-delete"],
      ["DELETE", "/api/connections/username/guest"],
    ]) {
      const response = await fetch(`${management.url}${path}`, { method, body: "{}" });
      expect([path, response.status]).toEqual([path, 401]);
    }
    expect(broker.inspection.vhost("/")!.queueCount).toBe(0);
    expect([...broker.inspection.users].map(({ name }) => name)).toEqual(["guest"]);
  });

  test("that were changed do not count any more", async () => {
    await broker.admin.addUser("changing", "before", { tags: ["management"] });
    const whoami = (password: string): Promise<Response> =>
      request("/api/whoami", { headers: { authorization: basic(`changing:${password}`) } });
    expect((await whoami("before")).status).toBe(200);
    await broker.admin.changePassword("changing", "after");
    expect([(await whoami("before")).status, (await whoami("after")).status]).toEqual([401, 200]);
    await broker.admin.setUserTags("changing", []);
    expect((await whoami("after")).status).toBe(401);
    await broker.admin.deleteUser("changing");
    expect((await whoami("after")).status).toBe(401);
  });
});

test("a hash that would make each login dear is refused", async () => {
  const write = (password_hash: string): Promise<Response> =>
    request("/api/users/dear", {
      method: "PUT",
      body: JSON.stringify({ password_hash, hashing_algorithm: "argon2id", tags: "" }),
    });
  const hash = "oWmPAo8627vZen5w/8v2lg$k0fW9+zfgt6xgJKTHvHAcnFqErvqCKODmY2D7cyi1fQ";
  for (const cost of [
    "m=999999,t=2,p=1",
    "m=19456,t=999,p=1",
    "m=19456,t=2,p=99",
    "m=19456,t=2",
    "m=0,t=2,p=1",
  ])
    expect((await write(`$argon2id$v=19$${cost}$${hash}`)).status).toBe(400);
  expect((await write("text")).status).toBe(400);
  expect((await write(`$argon2id$v=19$m=19456,p=1,t=2$${hash}`)).status).toBe(201);
  await broker.admin.deleteUser("dear");
});

describe("paths", () => {
  test.each([
    "/api/../../etc/passwd",
    "/../../etc/passwd",
    "/api/..%2f..%2fetc/passwd",
    "/api/queues/%2F/..%2f..%2f..%2fetc%2fpasswd",
    "/api/queues/%2F/%00",
    "/api/queues/__proto__/constructor",
    "/api/constructor",
    "/api/nodes/..%2f..%2fetc",
    "//api/overview",
  ])("%s leads nowhere", async (path) => {
    const answer = await raw(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${guest}\r\nconnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 404 /);
    expect(answer).not.toContain("root:");
  });

  test.each(["/api/queues/%2F/%zz", "/api/queues/%"])("%s is no path", async (path) => {
    expect((await request(path)).status).toBe(400);
  });

  test("that are too long are refused", async () => {
    expect((await request(`/api/queues/%2F/${"a".repeat(1_000)}`)).status).toBe(404);
    expect((await request(`/api/queues/%2F/${"a".repeat(10_000)}`)).status).toBe(414);
    expect((await request(`/api/queues/%2F/${"a".repeat(100_000)}`)).status).toBe(431);
  });
});

describe("bodies", () => {
  const put = (body: string): Promise<Response> => request("/api/queues/%2F/odd", { method: "PUT", body });

  test.each([
    ["not JSON", "{"],
    ["a number", "1"],
    ["nested too deep for JSON", "[".repeat(200_000)],
    ["nested deeper than arguments may be", `{"arguments":${'{"a":'.repeat(100)}1${"}".repeat(100)}}`],
    ["a list nested so", `{"arguments":{"a":${"[".repeat(100)}${"]".repeat(100)}}}`],
    ["an argument with a name that is too long", `{"arguments":{"${"n".repeat(300)}":1}}`],
    ["a number beyond 64 bits", `{"arguments":{"n":1e300}}`],
    ["arguments that are a text", `{"arguments":"text"}`],
  ])("that are %s are refused", async (_name, body) => {
    const response = await put(body);
    expect([response.status, await response.json()]).toEqual([
      400,
      expect.objectContaining({ error: "bad_request" }),
    ]);
    expect(broker.inspection.vhost("/")!.findQueue("odd")).toBeUndefined();
  });

  test("cannot reach the prototypes of objects", async () => {
    await put(`{"__proto__":{"durable":true},"constructor":{"prototype":{"auto_delete":true}}}`);
    const queue = broker.inspection.vhost("/")!.findQueue("odd")!;
    expect([queue.survives, queue.autoDelete]).toEqual([false, false]);
    expect(({} as Record<string, unknown>)["durable"]).toBeUndefined();
    await request("/api/queues/%2F/odd", { method: "DELETE" });
  });

  test("that are too long are refused, and are not read from strangers", async () => {
    const head = "PUT /api/queues/%2F/long HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n";
    expect(await raw(`${head}authorization: ${guest}\r\n\r\n`)).toMatch(/^HTTP\/1.1 413 /);
    expect(await raw(`${head}\r\n`)).toMatch(/^HTTP\/1.1 401 /);
  });
});

describe("other sites", () => {
  test("are not permitted to read", async () => {
    for (const method of ["GET", "OPTIONS"]) {
      const response = await request("/api/overview", { method, headers: { origin: "http://evil.example" } });
      expect(response.status).toBe(200);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
      expect(response.headers.get("access-control-allow-methods")).toBeNull();
    }
  });

  test.each(["http://evil.example", "null", "http://127.0.0.1:1"])("nor to change, as %s", async (origin) => {
    const response = await request("/api/queues/%2F/planted", {
      method: "PUT",
      body: "{}",
      headers: { origin },
    });
    expect(response.status).toBe(403);
    expect(broker.inspection.vhost("/")!.findQueue("planted")).toBeUndefined();
  });

  test("but this one is", async () => {
    const headers = { origin: management.url };
    expect((await request("/api/queues/%2F/own", { method: "PUT", body: "{}", headers })).status).toBe(201);
    expect((await request("/api/queues/%2F/own", { method: "DELETE", headers })).status).toBe(204);
  });
});

test("an expression that takes for ever is stopped", async () => {
  const name = "a".repeat(200);
  await request(`/api/queues/%2F/${name}`, { method: "PUT", body: "{}" });
  const pattern = encodeURIComponent("^(a+)+$b");
  const before = performance.now();
  const response = await request(`/api/queues?page=1&use_regex=true&name=${pattern}`);
  expect(response.status).toBe(400);
  expect(performance.now() - before).toBeLessThan(5_000);
  await request(`/api/queues/%2F/${name}`, { method: "DELETE" });
});

describe("slow clients", () => {
  test("that do not finish their headers are told 408", async () => {
    expect(await raw("GET /api/overview HTTP/1.1\r\nhost: x\r\n")).toMatch(/^HTTP\/1.1 408 /);
  });

  test("that say nothing at all are hung up on", async () => {
    expect(await rest(await opened())).toMatch(/^(HTTP\/1.1 408 |$)/);
  });

  test("that do not finish their body are told 408", async () => {
    const head = `PUT /api/queues/%2F/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nauthorization: ${guest}\r\n\r\n`;
    expect(await raw(`${head}{`)).toMatch(/^HTTP\/1.1 408 /);
    expect(broker.inspection.vhost("/")!.findQueue("slow")).toBeUndefined();
  });

  test("in their thousands get 503 beyond a limit, and AMQP clients are served meanwhile", async () => {
    const ends: Promise<string>[] = [];
    // Not more at once than the kernel lets wait.
    for (let count = 0; count < 2_000; count += 100)
      for (const socket of await Promise.all(Array.from({ length: 100 }, opened))) ends.push(rest(socket));
    await expectBrokerServes();
    const answers = await Promise.all(ends);
    expect(answers.filter((answer) => answer.startsWith("HTTP/1.1 503 ")).length).toBeGreaterThan(0);
    expect(answers.filter((answer) => !/^HTTP\/1.1 (503|408) /.test(answer))).toEqual([]);
    // When they are gone, there is room again.
    expect((await request("/api/whoami")).status).toBe(200);
  });
});

test("guesses are slowed, and the others are not", async () => {
  await broker.admin.addUser("guessed", "secret", { tags: ["management"] });
  const guess = (): Promise<Response> =>
    request("/api/whoami", { headers: { authorization: basic("guessed:wrong") } });
  for (let count = 0; count < 5; count++) expect((await guess()).status).toBe(401);
  const controller = new AbortController();
  const slowed = fetch(`${management.url}/api/whoami`, {
    headers: { authorization: basic("guessed:wrong") },
    signal: controller.signal,
  }).then(
    () => "answered",
    () => "given up",
  );
  expect((await request("/api/whoami")).status).toBe(200);
  controller.abort();
  expect(await slowed).toBe("given up");
});

function basic(credentials: string): string {
  return `Basic ${Buffer.from(credentials).toString("base64")}`;
}

/** RabbitMQ's own command line for its management API, as Debian has it, used on Warren. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { startManagement, type Management } from "../../src/management/index.ts";
import { findOnPath, python } from "../support/peers.ts";

let broker: Broker;
let management: Management;
const home = mkdtempSync(join(tmpdir(), "warren-rabbitmqadmin-"));
const script = findOnPath("rabbitmqadmin");

beforeAll(async () => {
  broker = await startBroker({ port: 0 });
  management = await startManagement({ port: 0, host: "127.0.0.1", broker, logger: silentLogger });
});
afterAll(async () => {
  await management.stop();
  await broker.stop();
  rmSync(home, { recursive: true });
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: string[]): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const { port } = new URL(management.url);
  const command = [script!, "--host=127.0.0.1", `--port=${port}`, ...args];
  // Its own home, so that nobody's ~/.rabbitmqadmin.conf counts.
  const child = execFile(python, command, { env: { HOME: home } }, (_error, stdout, stderr) =>
    resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  return promise;
}

async function expectDone(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect([args.join(" "), code, stderr]).toEqual([args.join(" "), 0, ""]);
  return stdout.trim();
}

/** What a list shows, without its table. */
async function list(...args: string[]): Promise<string[][]> {
  const [, ...lines] = (await expectDone("--format=tsv", ...args)).split("\n");
  return lines.map((line) => line.split("\t"));
}

describe("rabbitmqadmin", () => {
  test("declares, lists, publishes, gets, purges and deletes", async () => {
    expect(await expectDone("declare", "exchange", "name=e", "type=topic")).toBe("exchange declared");
    expect(await expectDone("declare", "queue", "name=q", "durable=true")).toBe("queue declared");
    const limited = ["declare", "queue", "name=limited", 'arguments={"x-max-length":5}'];
    expect(await expectDone(...limited)).toBe("queue declared");
    const binding = ["source=e", "destination=q", "routing_key=a.#"];
    expect(await expectDone("declare", "binding", ...binding)).toBe("binding declared");
    const message = ["exchange=e", "routing_key=a.b", "payload=hello"];
    expect(await expectDone("publish", ...message)).toBe("Message published");
    expect(await expectDone("publish", "exchange=e", "routing_key=b", "payload=x")).toContain("NOT routed");
    expect(await list("list", "queues", "name", "messages")).toEqual([
      ["limited", "0"],
      ["q", "1"],
    ]);
    expect(await list("list", "queues", "name", "arguments.x-max-length")).toContainEqual(["limited", "5"]);
    expect(await list("list", "exchanges", "name", "type")).toContainEqual(["e", "topic"]);
    expect(await list("list", "bindings", "source", "destination", "routing_key")).toContainEqual([
      "e",
      "q",
      "a.#",
    ]);
    const got = await list("get", "queue=q", "ackmode=ack_requeue_false", "count=2");
    expect(got).toHaveLength(1);
    expect(got[0]).toContain("hello");
    await expectDone("publish", ...message);
    expect(await expectDone("purge", "queue", "name=q")).toBe("queue purged");
    expect((await run("delete", "queue", "name=q")).code).toBe(0);
    expect((await run("delete", "queue", "name=limited")).code).toBe(0);
    expect((await run("delete", "exchange", "name=e")).code).toBe(0);
    expect(await run("delete", "queue", "name=q")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Not found") as string,
    });
  });

  test("deletes one binding", async () => {
    await expectDone("declare", "queue", "name=bound");
    await expectDone("declare", "binding", "source=amq.topic", "destination=bound", "routing_key=a.#");
    const binding = [
      "source=amq.topic",
      "destination_type=queue",
      "destination=bound",
      "properties_key=a.%23",
    ];
    expect(await expectDone("delete", "binding", ...binding)).toBe("binding deleted");
    expect(await list("list", "bindings", "source")).not.toContainEqual(["amq.topic"]);
    await expectDone("delete", "queue", "name=bound");
  });

  test("manages virtual hosts, users, permissions and limits", async () => {
    await expectDone("declare", "vhost", "name=v");
    await expectDone("declare", "user", "name=u", "password=p", "tags=management");
    await expectDone("declare", "permission", "vhost=v", "user=u", "configure=.*", "write=.*", "read=^r");
    await expectDone("declare", "vhost_limit", "vhost=v", "name=max-queues", "value=1");
    expect(await list("list", "vhosts", "name")).toEqual([["/"], ["v"]]);
    expect(await list("list", "users", "name", "tags")).toEqual([
      ["guest", "administrator"],
      ["u", "management"],
    ]);
    expect(await list("list", "permissions", "vhost", "user", "read")).toContainEqual(["v", "u", "^r"]);
    expect(await list("list", "vhost_limits", "vhost", "value")).toHaveLength(1);
    const asUser = ["--vhost=v", "--username=u", "--password=p"];
    expect(await expectDone(...asUser, "declare", "queue", "name=theirs")).toBe("queue declared");
    const second = await run(...asUser, "declare", "queue", "name=second");
    expect([second.code, second.stderr]).toEqual([
      1,
      expect.stringContaining("queue limit in vhost 'v' (1) is reached"),
    ]);
    expect(await list(...asUser, "list", "queues", "name")).toEqual([["theirs"]]);
    expect((await run(...asUser, "list", "users")).code).toBe(1);
    await expectDone("delete", "vhost_limit", "vhost=v", "name=max-queues");
    await expectDone("delete", "permission", "vhost=v", "user=u");
    await expectDone("delete", "user", "name=u");
    await expectDone("delete", "vhost", "name=v");
    expect(await list("list", "vhosts", "name")).toEqual([["/"]]);
  });

  test("shows what is connected, and closes it", async () => {
    const connection = await connect(broker.url);
    const closed = new Promise((resolve) => connection.once("close", resolve));
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.consume(queue, () => {}, { consumerTag: "here" });
    const [[name, user]] = await list("list", "connections", "name", "user");
    expect(user).toBe("guest");
    expect(await list("list", "channels", "name", "number")).toEqual([[`${name} (1)`, "1"]]);
    expect(await list("list", "consumers", "consumer_tag", "queue.name")).toEqual([["here", queue]]);
    expect(await expectDone("close", "connection", `name=${name}`)).toBe("connection closed");
    expect(String(await closed)).toContain("320");
  });

  test("shows the overview and the node", async () => {
    expect(await list("show", "overview", "rabbitmq_version", "product_name")).toEqual([
      ["3.10.8", "Warren"],
    ]);
    const [[name, type, running]] = await list("list", "nodes", "name", "type", "running");
    expect([name, type, running]).toEqual([expect.stringMatching(/^warren@/), "disc", "True"]);
  });

  test("is refused with wrong credentials", async () => {
    expect(await run("--username=guest", "--password=wrong", "list", "queues")).toMatchObject({ code: 1 });
  });
});

/** `warren`'s commands in rabbitmqctl's words, on a Warren and on a RabbitMQ. */
import { connect } from "amqplib";
import { expect, test } from "vitest";
import { runCommand, type Outcome } from "../support/command.ts";
import { ask, eachSide, startTwoBrokers, type Side } from "./two-brokers.ts";

startTwoBrokers();

function run(side: Side, ...args: string[]): Promise<Outcome> {
  return runCommand(args, { WARREN_HTTP_URL: side.url });
}

async function expectDone(side: Side, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(side, ...args);
  expect([side.name, args[0], code, stderr]).toEqual([side.name, args[0], 0, ""]);
  return stdout.trimEnd();
}

async function rows(side: Side, ...args: string[]): Promise<unknown> {
  return JSON.parse(await expectDone(side, ...args, "--json"));
}

test("c6 list_queues, list_exchanges, list_bindings, with columns", async () => {
  for (const side of eachSide()) {
    const connection = await connect(side.amqpUrl);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue("task_queue", { durable: true });
    await channel.assertQueue("hello", { durable: true });
    await channel.assertExchange("logs", "fanout");
    await channel.bindQueue("hello", "logs", "");
    for (let count = 0; count < 3; count++) channel.sendToQueue("task_queue", Buffer.from("x"));
    await channel.waitForConfirms();
    await channel.prefetch(1);
    await channel.consume("task_queue", () => {}, { consumerTag: "worker" });
    await expect
      .poll(() => rows(side, "list_queues", "name", "messages_ready", "messages_unacknowledged"))
      .toEqual([
        { name: "hello", messages_ready: 0, messages_unacknowledged: 0 },
        { name: "task_queue", messages_ready: 2, messages_unacknowledged: 1 },
      ]);
    expect(await expectDone(side, "list_queues")).toBe("name        messages\nhello       0\ntask_queue  3");
    expect(await rows(side, "list_exchanges")).toContainEqual({ name: "logs", type: "fanout" });
    expect(await rows(side, "list_bindings")).toContainEqual({
      source_name: "logs",
      source_kind: "exchange",
      destination_name: "hello",
      destination_kind: "queue",
      routing_key: "",
      arguments: {},
    });
    await expect
      .poll(() =>
        rows(side, "list_consumers", "queue_name", "consumer_tag", "ack_required", "prefetch_count"),
      )
      .toEqual([{ queue_name: "task_queue", consumer_tag: "worker", ack_required: true, prefetch_count: 1 }]);
    expect(await rows(side, "list_connections", "user", "channels")).toEqual([
      { user: "guest", channels: 1 },
    ]);
    expect(await rows(side, "list_channels", "user", "consumer_count")).toEqual([
      { user: "guest", consumer_count: 1 },
    ]);
    expect(await expectDone(side, "purge_queue", "task_queue")).toBe("queue 'task_queue' is purged");
    expect(await expectDone(side, "delete_queue", "hello")).toBe("queue 'hello' is deleted");
    const closed = new Promise((resolve) => connection.once("close", resolve));
    const [{ name }] = (await rows(side, "list_connections", "name")) as [{ name: string }];
    await expectDone(side, "close_connection", name, "for a test");
    expect(String(await closed)).toContain("for a test");
  }
});

test("what is declared is published to, looked at and deleted", async () => {
  for (const side of eachSide()) {
    await expectDone(side, "declare", "exchange", "my_exchange", "topic");
    await expectDone(side, "declare", "queue", "my_app", "--arguments", '{"x-max-length":5}');
    await expectDone(side, "declare", "binding", "my_exchange", "my_app", "--routing-key", "a.#");
    await expectDone(side, "declare", "queue", "my_app", "--arguments", '{"x-max-length":5}');
    const other = await run(side, "declare", "queue", "my_app", "--arguments", '{"x-max-length":6}');
    expect([other.code, other.stderr]).toEqual([
      1,
      expect.stringContaining("inequivalent arg 'x-max-length'"),
    ]);
    expect(await expectDone(side, "publish", "Hello", "-e", "my_exchange", "-r", "a.b")).toBe("published");
    const lost = await run(side, "publish", "Hello", "-e", "my_exchange", "-r", "b");
    expect([lost.code, lost.stderr]).toEqual([1, "Error: published, but no queue has got it\n"]);
    const got = { exchange: "my_exchange", routing_key: "a.b", payload: "Hello" };
    expect(await rows(side, "get", "my_app", "--count", "3")).toMatchObject([{ ...got, redelivered: false }]);
    expect(await rows(side, "get", "my_app", "--ack")).toMatchObject([{ ...got, redelivered: true }]);
    expect(await expectDone(side, "get", "my_app")).toBe("exchange  routing_key  redelivered  left  payload");
    await expectDone(side, "delete_exchange", "my_exchange");
    await expectDone(side, "delete_queue", "my_app");
    expect(await run(side, "get", "my_app")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no queue 'my_app'/) as string,
    });
  }
});

test("users, their permissions and virtual hosts come and go", async () => {
  for (const side of eachSide()) {
    await expectDone(side, "add_vhost", "v/1");
    await expectDone(side, "add_user", "u", "first");
    await expectDone(side, "set_user_tags", "u", "management", "other");
    await expectDone(side, "set_permissions", "u", "^a", "^b", "", "--vhost", "v/1");
    expect(await rows(side, "list_permissions", "-p", "v/1")).toContainEqual({
      user: "u",
      configure: "^a",
      write: "^b",
      read: "",
    });
    expect(await rows(side, "list_users")).toContainEqual({ user: "u", tags: ["management", "other"] });
    expect(await rows(side, "list_vhosts")).toEqual([{ name: "/" }, { name: "v/1" }]);
    await expectDone(side, "ping", "--user", "u", "--password", "first");
    await expectDone(side, "change_password", "u", "second");
    expect((await ask(side, "/api/whoami", { user: "u:second" })).body).toMatchObject({ name: "u" });
    await expectDone(side, "clear_permissions", "u", "-p", "v/1");
    await expectDone(side, "delete_user", "u");
    await expectDone(side, "delete_vhost", "v/1");
    expect(await rows(side, "list_users", "user")).toEqual([{ user: "guest" }]);
  }
});

test("says what is wrong, and ends with a code", async () => {
  for (const side of eachSide()) {
    expect(await run(side, "delete_queue", "nothing")).toEqual({
      code: 1,
      stdout: "",
      stderr: "Error: there is no queue 'nothing' in virtual host '/'\n",
    });
    expect(await run(side, "add_user", "guest", "x")).toMatchObject({
      code: 1,
      stderr: "Error: user 'guest' exists already\n",
    });
    expect(await run(side, "ping", "--password", "wrong")).toMatchObject({
      code: 1,
      stderr: "Error: Login failed\n",
    });
    expect(await expectDone(side, "status")).toMatch(/node +\S+@/);
  }
  const nobody = await runCommand(["ping"], { WARREN_HTTP_URL: "http://127.0.0.1:1" });
  expect([nobody.code, nobody.stderr]).toEqual([
    69,
    expect.stringMatching(/Nobody answers at http:\/\/127\.0\.0\.1:1/),
  ]);
  const odd = await runCommand(["ping", "--url", "amqp://localhost"], {});
  expect([odd.code, odd.stderr]).toEqual([1, expect.stringContaining("not an HTTP address")]);
});

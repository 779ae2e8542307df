/** Who may do what: the same users, permissions and limits on both brokers, and the same words of refusal. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { emptyTable, MethodId, type FieldTable, type FieldValue, type Method } from "../../src/wire/index.ts";
import { describeEachAdministeredBroker } from "../support/brokers.ts";
import { bindQueue, consume, declareExchange, declareQueue } from "../support/methods.ts";
import { RawClient } from "../support/raw-client.ts";
import { loginReply, nextWord, replyTo, type Account, type Action } from "../support/refusals.ts";

const everything = { configure: ".*", write: ".*", read: ".*" };
const password = "secret";
const loginRefused =
  "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. (0.0)";

// rabbitmqctl takes a second or two on an idle machine, and a test calls it several times.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

describeEachAdministeredBroker("security", (broker) => {
  const id = randomUUID().slice(0, 8);
  const vhost = `yard-${id}`;
  /** May do everything in the virtual host. */
  const keeper = `keeper-${id}`;
  /** May configure c-…, write to w-… and read from r-…, and see nothing of other virtual hosts. */
  const limited = `limited-${id}`;

  beforeAll(async () => {
    const { admin } = broker();
    await admin.addVhost(vhost);
    for (const user of [keeper, limited]) await admin.addUser(user, password);
    await admin.setPermissions(keeper, { vhost, ...everything });
    await admin.setPermissions(limited, { vhost, configure: "^c-", write: "^(w|cw)-", read: "^(r|cr)-" });
    const client = await RawClient.login(broker().port, { user: keeper, password, vhost });
    for (const queue of ["plain", "w-queue", "r-queue", "c-queue"]) {
      await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
    }
    for (const exchange of ["plain", "w-exchange", "r-exchange", "r-topic", "topic"]) {
      const type = exchange.endsWith("topic") ? "topic" : "direct";
      await client.call(1, declareExchange(exchange, type), MethodId.ExchangeDeclareOk);
    }
    await client.close();
  });

  afterAll(async () => {
    const { admin } = broker();
    await admin.deleteVhost(vhost);
    for (const user of [keeper, limited]) await admin.deleteUser(user);
  });

  async function open(account: Account): Promise<RawClient> {
    const client = await RawClient.login(broker().port, { password, vhost, ...account });
    onTestFinished(() => client.close());
    return client;
  }

  describe("logging in", () => {
    test("b12 is refused alike for a wrong password, an unknown user and an empty password", async () => {
      const { port } = broker();
      expect(await loginReply(port, { user: keeper, password: "wrong", vhost })).toBe(loginRefused);
      expect(await loginReply(port, { user: `nobody-${id}`, vhost })).toBe(loginRefused);
      expect(await loginReply(port, { user: keeper, password: "", vhost })).toBe(loginRefused);
    });

    test("is refused in silence for a client that does not expect a reply", async () => {
      const account = { user: keeper, password: "wrong", vhost };
      expect(await loginReply(broker().port, account, { capabilities: [] })).toBe("end");
    });

    test("needs a virtual host that exists and that the user has permissions in", async () => {
      const { port } = broker();
      expect(await loginReply(port, { user: keeper, vhost })).toBe("open");
      expect(await loginReply(port, { user: keeper, vhost: "nowhere" })).toBe(
        "530 NOT_ALLOWED - vhost nowhere not found (10.40)",
      );
      expect(await loginReply(port, { user: keeper, vhost: "/" })).toBe(
        `530 NOT_ALLOWED - access to vhost '/' refused for user '${keeper}' (10.40)`,
      );
      const { username: user, password: secret } = broker();
      expect(await loginReply(port, { user, password: secret, vhost })).toBe(
        `530 NOT_ALLOWED - access to vhost '${vhost}' refused for user '${user}' (10.40)`,
      );
    });
  });

  describe("virtual hosts", () => {
    test("have queues of the same name that know nothing of each other", async () => {
      const mine = await open({ user: keeper });
      const theirs = await RawClient.login(broker().port, {
        user: broker().username,
        password: broker().password,
      });
      onTestFinished(() => theirs.close());
      const queue = broker().queueName("namesake");
      for (const client of [mine, theirs]) await client.call(1, declareQueue(queue), MethodId.QueueDeclareOk);
      mine.publish(1, "", queue, "mine");
      const passive = declareQueue(queue, { passive: true });
      const ready = async (client: RawClient): Promise<number> =>
        (await client.call(1, passive, MethodId.QueueDeclareOk)).messageCount;
      await expect.poll(() => ready(mine)).toBe(1);
      expect(await ready(theirs)).toBe(0);
    });
  });

  describe("permissions", () => {
    const refused = (kind: "queue" | "exchange", name: string, method: string): string =>
      `403 ACCESS_REFUSED - access to ${kind} '${name}' in vhost '${vhost}' refused for user '${limited}' (${method})`;
    const onDefault = (method: string): string =>
      `403 ACCESS_REFUSED - operation not permitted on the default exchange (${method})`;
    const deadLetters = (exchange: string): { arguments: FieldTable } => ({
      arguments: new Map([["x-dead-letter-exchange", { type: "longstr", value: exchange }]]),
    });
    const alternate = (exchange: string): { arguments: FieldTable } => ({
      arguments: new Map([["alternate-exchange", { type: "longstr", value: exchange }]]),
    });

    const cases: readonly (readonly [string, Action, string])[] = [
      ["declare a queue", declareQueue("new"), refused("queue", "new", "50.10")],
      ["declare a queue that exists", declareQueue("plain"), refused("queue", "plain", "50.10")],
      ["declare a permitted queue", declareQueue("c-queue"), "allowed"],
      [
        "declare a queue with a reserved name",
        declareQueue("amq.mine"),
        "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*' (50.10)",
      ],
      ["look at a queue", declareQueue("plain", { passive: true }), "allowed"],
      [
        "look at a missing queue",
        declareQueue("new", { passive: true }),
        `404 NOT_FOUND - no queue 'new' in vhost '${vhost}' (50.10)`,
      ],
      [
        "declare a queue whose dead letters it may not read",
        declareQueue("c-dead", deadLetters("w-exchange")),
        refused("queue", "c-dead", "50.10"),
      ],
      ["delete a queue", deleteQueue("plain"), refused("queue", "plain", "50.40")],
      ["delete a missing queue", deleteQueue("missing"), refused("queue", "missing", "50.40")],
      ["purge a queue", purge("plain"), refused("queue", "plain", "50.30")],
      ["purge a permitted queue", purge("r-queue"), "allowed"],
      ["get from a queue", get("plain"), refused("queue", "plain", "60.70")],
      ["get from a missing queue", get("missing"), refused("queue", "missing", "60.70")],
      ["get from a permitted queue", get("r-queue"), "allowed"],
      ["consume", consume("plain"), refused("queue", "plain", "60.20")],
      ["consume from a permitted queue", consume("r-queue"), "allowed"],
      ["declare an exchange", declareExchange("new", "direct"), refused("exchange", "new", "40.10")],
      [
        "declare an exchange that exists, of another type",
        declareExchange("plain", "fanout"),
        refused("exchange", "plain", "40.10"),
      ],
      [
        "declare an exchange with a reserved name",
        declareExchange("amq.mine", "direct"),
        refused("exchange", "amq.mine", "40.10"),
      ],
      ["declare the default exchange", declareExchange("", "direct"), onDefault("40.10")],
      ["look at an exchange", declareExchange("plain", "direct", { passive: true }), "allowed"],
      [
        "declare an exchange whose alternate it may not read for",
        declareExchange("c-alternate", "direct", alternate("w-exchange")),
        refused("exchange", "c-alternate", "40.10"),
      ],
      ["delete an exchange", deleteExchange("plain"), refused("exchange", "plain", "40.20")],
      ["delete a missing exchange", deleteExchange("missing"), refused("exchange", "missing", "40.20")],
      [
        "delete an exchange of the system",
        deleteExchange("amq.direct"),
        `403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '${vhost}' not allowed (40.20)`,
      ],
      [
        "bind a queue that it may not write to",
        bindQueue("plain", "r-exchange", "key"),
        refused("queue", "plain", "50.20"),
      ],
      [
        "bind to an exchange that it may not read from",
        bindQueue("w-queue", "plain", "key"),
        refused("exchange", "plain", "50.20"),
      ],
      ["bind as permitted", bindQueue("w-queue", "r-exchange", "key"), "allowed"],
      [
        "bind a queue that it may not write to, to the default exchange",
        bindQueue("plain", "", "key"),
        refused("queue", "plain", "50.20"),
      ],
      ["bind to the default exchange", bindQueue("w-queue", "", "key"), onDefault("50.20")],
      [
        "bind to a missing exchange",
        bindQueue("w-queue", "r-missing", "key"),
        `404 NOT_FOUND - no exchange 'r-missing' in vhost '${vhost}' (50.20)`,
      ],
      [
        "unbind a queue that it may not write to",
        unbindQueue("plain", "r-exchange"),
        refused("queue", "plain", "50.50"),
      ],
      [
        "unbind from an exchange that it may not read from",
        unbindQueue("w-queue", "plain"),
        refused("exchange", "plain", "50.50"),
      ],
      [
        "bind an exchange that it may not write to",
        bindExchange("plain", "r-exchange"),
        refused("exchange", "plain", "40.30"),
      ],
      [
        "bind an exchange to one that it may not read from",
        bindExchange("w-exchange", "plain"),
        refused("exchange", "plain", "40.30"),
      ],
      [
        "bind the default exchange",
        bindExchange("", "r-exchange"),
        refused("exchange", "amq.default", "40.30"),
      ],
      ["bind an exchange to the default exchange", bindExchange("w-exchange", ""), onDefault("40.30")],
      ["bind exchanges as permitted", bindExchange("w-exchange", "r-exchange"), "allowed"],
      [
        "unbind an exchange that it may not write to",
        unbindExchange("plain", "r-exchange"),
        refused("exchange", "plain", "40.40"),
      ],
      [
        "unbind an exchange from one that it may not read from",
        unbindExchange("w-exchange", "plain"),
        refused("exchange", "plain", "40.40"),
      ],
      ["publish", publish("plain"), refused("exchange", "plain", "60.40")],
      ["publish as permitted", publish("w-exchange"), "allowed"],
      ["publish to the default exchange", publish(""), refused("exchange", "amq.default", "60.40")],
      ["publish to a missing exchange", publish("missing"), refused("exchange", "missing", "60.40")],
      [
        "publish to a missing exchange that it may write to",
        publish("w-missing"),
        `404 NOT_FOUND - no exchange 'w-missing' in vhost '${vhost}' (60.40)`,
      ],
    ];

    test.each(cases)("%s: a limited user", async (_name, action, reply) => {
      const client = await open({ user: limited });
      expect(await replyTo(client, action)).toBe(reply);
    });

    test("a name that the broker makes up must be permitted, too", async () => {
      const client = await open({ user: limited });
      expect(await replyTo(client, declareQueue(""))).toMatch(
        new RegExp(
          `^403 ACCESS_REFUSED - access to queue 'amq.gen-.*' in vhost '${vhost}' refused for user '${limited}' \\(50.10\\)$`,
        ),
      );
    });

    test("dead letters and what an exchange cannot route need an exchange that may be written to", async () => {
      const user = await temporaryUser({ configure: "^cr-", write: "^w-", read: "^cr-" });
      const client = await open({ user });
      const refusedFor = (kind: string, name: string, method: string): string =>
        `403 ACCESS_REFUSED - access to ${kind} '${name}' in vhost '${vhost}' refused for user '${user}' (${method})`;
      expect(await replyTo(client, declareQueue("cr-dead", deadLetters("plain")))).toBe(
        refusedFor("exchange", "plain", "50.10"),
      );
      expect(await replyTo(client, declareQueue("cr-dead", deadLetters("")))).toBe(
        refusedFor("exchange", "amq.default", "50.10"),
      );
      expect(await replyTo(client, declareExchange("cr-alternate", "direct", alternate("plain")))).toBe(
        refusedFor("exchange", "plain", "40.10"),
      );
      expect(await replyTo(client, declareQueue("cr-dead", deadLetters("w-exchange")))).toBe("allowed");
      expect(await replyTo(client, declareExchange("cr-alternate", "direct", alternate("w-exchange")))).toBe(
        "allowed",
      );
    });

    test("an empty pattern permits nothing", async () => {
      const user = await temporaryUser({ configure: "", write: "", read: "" });
      const client = await open({ user });
      expect(await replyTo(client, declareQueue("q"))).toContain("access to queue 'q'");
      expect(await replyTo(client, publish("plain"))).toContain("access to exchange 'plain'");
    });

    test("a change counts for connections that are open", async () => {
      const user = await temporaryUser(everything);
      const client = await open({ user });
      expect(await replyTo(client, declareQueue("plain"))).toBe("allowed");
      await broker().admin.setPermissions(user, { vhost, configure: "", write: "^w-", read: ".*" });
      expect(await replyTo(client, declareQueue("plain"))).toContain("access to queue 'plain'");
      expect(await replyTo(client, publish("w-exchange"))).toBe("allowed");
      await broker().admin.clearPermissions(user, { vhost });
      expect(await replyTo(client, publish("w-exchange"))).toContain("access to exchange 'w-exchange'");
      expect(await loginReply(broker().port, { user, vhost })).toContain(
        `access to vhost '${vhost}' refused`,
      );
    });

    test("topic permissions limit the routing keys to publish with and to bind with", async () => {
      const user = await temporaryUser(everything);
      const { admin } = broker();
      const topics = {
        vhost,
        exchange: "topic",
        write: String.raw`^w\.`,
        read: String.raw`^r\.{username}\.`,
      };
      await admin.setTopicPermissions(user, topics);
      const client = await open({ user });
      const refusedTopic = (key: string, method: string): string =>
        `403 ACCESS_REFUSED - access to topic '${key}' in exchange 'topic' in vhost '${vhost}' refused for user '${user}' (${method})`;
      expect(await replyTo(client, publish("topic", "w.a"))).toBe("allowed");
      expect(await replyTo(client, publish("topic", "x.a"))).toBe(refusedTopic("x.a", "60.40"));
      expect(await replyTo(client, publish("r-topic", "x.a"))).toBe("allowed");
      expect(await replyTo(client, bindQueue("plain", "topic", `r.${user}.a`))).toBe("allowed");
      expect(await replyTo(client, bindQueue("plain", "topic", "#"))).toBe(refusedTopic("#", "50.20"));
      expect(await replyTo(client, unbindQueue("plain", "topic"))).toBe(refusedTopic("key", "50.50"));
      expect(await replyTo(client, bindExchange("plain", "topic"))).toBe(refusedTopic("key", "40.30"));
      expect(await replyTo(client, bindExchange("topic", "r-topic"))).toBe("allowed");
      // RabbitMQ checks the method's own key only.
      const withCopy = publish("topic", "w.a", ["x.copy"]);
      const checksCopies = broker().name === "warren";
      expect(await replyTo(client, withCopy)).toBe(
        checksCopies ? refusedTopic("x.copy", "60.40") : "allowed",
      );
      await admin.clearTopicPermissions(user, { vhost });
      expect(await replyTo(client, publish("topic", "x.b"))).toBe("allowed");
    });
  });

  describe("limits", () => {
    test("of a virtual host's connections", async () => {
      const { admin, port } = broker();
      const yard = await temporaryVhost();
      await admin.setVhostLimits(yard, { maxConnections: 1 });
      const first = await open({ user: keeper, vhost: yard });
      const reached = (user: string, limit: number): string =>
        `530 NOT_ALLOWED - access to vhost '${yard}' refused for user '${user}': connection limit (${limit}) is reached (10.40)`;
      await expect.poll(() => loginReply(port, { user: keeper, vhost: yard })).toBe(reached(keeper, 1));
      expect(await loginReply(port, { user: limited, vhost: yard })).toBe(reached(limited, 1));
      await first.close();
      await expect.poll(() => loginReply(port, { user: keeper, vhost: yard })).toBe("open");
      await admin.setVhostLimits(yard, { maxConnections: 0 });
      expect(await loginReply(port, { user: keeper, vhost: yard })).toBe(reached(keeper, 0));
      await admin.clearVhostLimits(yard);
      expect(await loginReply(port, { user: keeper, vhost: yard })).toBe("open");
    });

    test("of a virtual host's queues, but not for those that are there", async () => {
      const yard = await temporaryVhost();
      const client = await open({ user: keeper, vhost: yard });
      await client.call(1, declareQueue("one"), MethodId.QueueDeclareOk);
      await broker().admin.setVhostLimits(yard, { maxQueues: 1 });
      expect(await replyTo(client, declareQueue("one"))).toBe("allowed");
      expect(await replyTo(client, declareQueue("two", { exclusive: true }))).toBe(
        `406 PRECONDITION_FAILED - cannot declare queue 'two': queue limit in vhost '${yard}' (1) is reached (50.10)`,
      );
      expect(await replyTo(client, declareQueue(""))).toContain("cannot declare queue 'amq.gen-");
      expect(await replyTo(client, deleteQueue("one"))).toBe("allowed");
      await expect.poll(() => replyTo(client, declareQueue("two"))).toBe("allowed");
    });

    test("of a user's connections", async () => {
      const { admin, port } = broker();
      const user = await temporaryUser(everything);
      await admin.setUserLimits(user, { maxConnections: 1 });
      const first = await open({ user });
      await expect
        .poll(() => loginReply(port, { user, vhost }))
        .toBe(
          `530 NOT_ALLOWED - connection refused for user '${user}': user connection limit (1) is reached (10.40)`,
        );
      await first.close();
      await expect.poll(() => loginReply(port, { user, vhost })).toBe("open");
    });

    test("of a user's channels, over all connections", async () => {
      const { admin } = broker();
      const user = await temporaryUser(everything);
      await admin.setUserLimits(user, { maxChannels: 2 });
      await open({ user });
      const second = await open({ user });
      // RabbitMQ counts a channel some time after it has been opened.
      let reply = "";
      for (let channel = 2; reply === "" || reply === "ChannelOpenOk"; channel++) {
        second.method(channel, { id: MethodId.ChannelOpen });
        reply = await nextWord(second);
      }
      expect(reply).toBe(
        `530 NOT_ALLOWED - number of channels opened for user '${user}' has reached the maximum allowed user limit of (2) (0.0)`,
      );
    });
  });

  describe("what ends open connections", () => {
    test("deleting their user does, changing its password does not", async () => {
      const { admin, port } = broker();
      const user = `passing-${randomUUID().slice(0, 8)}`;
      await admin.addUser(user, password);
      await admin.setPermissions(user, { vhost, ...everything });
      const client = await open({ user });
      await admin.changePassword(user, "another");
      expect(await replyTo(client, declareQueue("plain"))).toBe("allowed");
      expect(await loginReply(port, { user, vhost })).toBe(loginRefused);
      expect(await loginReply(port, { user, password: "another", vhost })).toBe("open");
      await admin.deleteUser(user);
      expect(await nextWord(client)).toBe(`320 CONNECTION_FORCED - user '${user}' is deleted (0.0)`);
      expect(await loginReply(port, { user, password: "another", vhost })).toBe(loginRefused);
    });

    test("deleting their virtual host does, and its queues are gone when it is made anew", async () => {
      const { admin, port } = broker();
      const yard = await temporaryVhost();
      const client = await open({ user: keeper, vhost: yard });
      await client.call(1, declareQueue("q", { durable: true }), MethodId.QueueDeclareOk);
      client.publish(1, "", "q", "gone", { properties: { deliveryMode: 2 } });
      await admin.deleteVhost(yard);
      // RabbitMQ says the one or the other.
      expect(await nextWord(client)).toMatch(
        new RegExp(`^320 CONNECTION_FORCED - vhost '${yard}' is (deleted|down) \\(0.0\\)$`),
      );
      expect(await loginReply(port, { user: keeper, vhost: yard })).toBe(
        `530 NOT_ALLOWED - vhost ${yard} not found (10.40)`,
      );
      await admin.addVhost(yard);
      expect(await loginReply(port, { user: keeper, vhost: yard })).toContain("refused for user");
      await admin.setPermissions(keeper, { vhost: yard, ...everything });
      const again = await open({ user: keeper, vhost: yard });
      expect(await replyTo(again, declareQueue("q", { passive: true }))).toContain("no queue 'q'");
    });
  });

  async function temporaryUser(permissions: typeof everything): Promise<string> {
    const user = `user-${randomUUID().slice(0, 8)}`;
    const { admin } = broker();
    await admin.addUser(user, password);
    onTestFinished(() => admin.deleteUser(user));
    await admin.setPermissions(user, { vhost, ...permissions });
    return user;
  }

  /** One where the keeper may do everything. */
  async function temporaryVhost(): Promise<string> {
    const name = `yard-${randomUUID().slice(0, 8)}`;
    const { admin } = broker();
    await admin.addVhost(name);
    onTestFinished(() => admin.deleteVhost(name).catch(() => {}));
    await admin.setPermissions(keeper, { vhost: name, ...everything });
    return name;
  }
});

function deleteQueue(queue: string): Method {
  return { id: MethodId.QueueDelete, queue, ifUnused: false, ifEmpty: false, noWait: false };
}

function deleteExchange(exchange: string): Method {
  return { id: MethodId.ExchangeDelete, exchange, ifUnused: false, noWait: false };
}

function purge(queue: string): Method {
  return { id: MethodId.QueuePurge, queue, noWait: false };
}

function get(queue: string): Method {
  return { id: MethodId.BasicGet, queue, noAck: true };
}

function unbindQueue(queue: string, exchange: string): Method {
  return { id: MethodId.QueueUnbind, queue, exchange, routingKey: "key", arguments: emptyTable };
}

function bindExchange(destination: string, source: string): Method {
  return {
    id: MethodId.ExchangeBind,
    destination,
    source,
    routingKey: "key",
    noWait: false,
    arguments: emptyTable,
  };
}

function unbindExchange(destination: string, source: string): Method {
  return {
    id: MethodId.ExchangeUnbind,
    destination,
    source,
    routingKey: "key",
    noWait: false,
    arguments: emptyTable,
  };
}

function publish(
  exchange: string,
  routingKey = "key",
  copies: readonly string[] = [],
): (client: RawClient, channel: number) => void {
  const value = copies.map((key): FieldValue => ({ type: "longstr", value: key }));
  const headers: FieldTable = new Map([["CC", { type: "array", value }]]);
  const properties = copies.length > 0 ? { headers } : {};
  return (client, channel) => client.publish(channel, exchange, routingKey, "a message", { properties });
}

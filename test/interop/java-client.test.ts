import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBreakableRoute, waysToBreak } from "../support/broken-connection.ts";
import { describeEachBroker } from "../support/brokers.ts";
import { javaClassPath } from "../support/peers.ts";
import { interopPath, spawnProgram, type Program } from "../support/program.ts";

const classes = mkdtempSync(join(tmpdir(), "warren-java-"));
const classPath = [classes, ...javaClassPath].join(delimiter);
afterAll(() => rmSync(classes, { recursive: true }));
beforeAll(() => {
  const sources = ["Client.java", "Report.java"].map((file) => interopPath(`java/${file}`));
  execFileSync("javac", ["-d", classes, "-cp", classPath, ...sources]);
});

describeEachBroker("the Java client", (broker) => {
  let client: Program;

  beforeAll(async () => {
    // What compiles quickly is enough for a few seconds.
    const flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
    const args = [...flags, "-cp", classPath, "Client"];
    client = spawnProgram(broker(), { name: "Client.java", command: "java", args });
    await client.next("ready");
  });
  afterAll(() => client.kill());

  test("publishes with confirms, consumes with a prefetch, acknowledges", async () => {
    await run("confirms", broker().queueName("confirmed"));
    expect(await client.next("confirmed")).toMatchObject({ ready: 100 });
    const numbers = Array.from({ length: 100 }, (_, index) => index);
    expect(await client.next("received")).toMatchObject({ numbers });
  });

  test("a prefetch may hold for a channel, or for each consumer", async () => {
    await run("prefetch", broker().queueName("prefetched"));
    expect(await client.take("channel", 2)).toMatchObject([{ ready: 7 }, { ready: 4 }]);
    expect(await client.next("consumers")).toMatchObject({ ready: 2 });
  });

  test("publishes in transactions", async () => {
    const queue = broker().queueName("transacted");
    await run("transactions", queue);
    expect(await client.next("before")).toMatchObject({ ready: 0 });
    expect(await client.next("after")).toMatchObject({ ready: 1, body: "done" });
    const channel = await broker().observer.createChannel();
    expect(await channel.get(queue, { noAck: true })).toMatchObject({ fields: { redelivered: true } });
    await channel.close();
  });

  test("is returned what is unroutable, and confirmed", async () => {
    const queue = broker().queueName("missing");
    await run("returns", queue);
    expect(await client.next("returned")).toMatchObject({
      code: 312,
      text: "NO_ROUTE",
      key: queue,
      type: "greeting",
    });
    expect(await client.next("confirmed")).toMatchObject({ all: true, body: "to nobody" });
  });

  test("calls procedures whose answers come without a queue (direct reply-to)", async () => {
    await run("rpc", broker().queueName("requests"));
    expect(await client.next("answered")).toMatchObject({
      answers: ["ONE", "TWO", "THREE"],
      direct: [true, true, true],
    });
  });

  test("declares queues with arguments, which are compared by value", async () => {
    const [queue, dead] = [broker().queueName("arguments"), broker().queueName("dead")];
    await run("arguments", queue, dead);
    expect(await client.next("order")).toMatchObject({ bodies: ["priority 5", "priority 3", "priority 1"] });
    expect(await client.next("dead")).toMatchObject({
      reason: "expired",
      queue,
      count: 1,
      time: "Date",
      expiration: "50",
    });
    expect(await client.next("refused")).toMatchObject({
      text:
        "channel error; protocol method: #method<channel.close>(reply-code=406, reply-text=PRECONDITION_FAILED - " +
        `inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '/': received '60001' but current is ` +
        "'60000', class-id=50, method-id=10)",
    });
  });

  test("tells why it was refused, in the broker's words", async () => {
    const queue = broker().queueName("missing");
    await run("refusals", queue);
    const notFound =
      "channel error; protocol method: #method<channel.close>(reply-code=404, reply-text=NOT_FOUND - " +
      `no queue '${queue}' in vhost '/', class-id=50, method-id=10)`;
    expect(await client.next("missing")).toMatchObject({ text: notFound });
    expect(await client.next("closed")).toMatchObject({
      text: `channel is already closed due to ${notFound}`,
    });
    expect(await client.next("channel closed")).toMatchObject({ hard: false, "by us": false });
    expect(await client.next("unknown tag")).toMatchObject({
      text:
        "channel error; protocol method: #method<channel.close>(reply-code=406, reply-text=PRECONDITION_FAILED - " +
        "unknown delivery tag 42, class-id=60, method-id=80)",
    });
    expect(await client.next("vhost")).toMatchObject({
      text:
        "connection error; protocol method: #method<connection.close>(reply-code=530, reply-text=NOT_ALLOWED - " +
        "vhost nowhere not found, class-id=10, method-id=40)",
    });
    expect(await client.next("password")).toMatchObject({
      type: "AuthenticationFailureException",
      text: expect.stringContaining(
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
      ),
    });
  });

  for (const { way, breakIt } of waysToBreak) {
    test(`recovers what it has declared, and its consumer, after ${way}`, async () => {
      const exchange = broker().exchangeName("recovered");
      const route = await openBreakableRoute(broker());
      client.say(`recovery ${route.port} ${exchange}`);
      await client.next("consuming");
      const channel = await broker().observer.createChannel();
      channel.publish(exchange, "key", Buffer.from("before"));
      expect(await client.next("received")).toMatchObject({ body: "before" });

      breakIt(route);
      await client.next("lost");
      await client.next("recovered");
      channel.publish(exchange, "key", Buffer.from("after"));
      expect(await client.next("received")).toMatchObject({ body: "after" });
      await channel.close();
      await run("stop");
      await client.next("lost");
    });
  }

  async function run(...scenario: string[]): Promise<void> {
    client.say(scenario.join(" "));
    expect(await client.next("done")).toEqual({ event: "done" });
  }
});

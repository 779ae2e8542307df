import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runAmqpTool, type ToolResult } from "../support/amqp-tool.ts";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";

describeEachBroker("amqp-tools: the C client", (broker) => {
  test("a file of 3 MB goes through a queue unchanged", async () => {
    const queue = await declareQueue(broker(), "large");
    const directory = await mkdtemp(join(tmpdir(), "warren-large-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const [source, copy] = [join(directory, "source"), join(directory, "copy")];
    await writeFile(source, randomBytes(3_000_000));

    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-p"], await readFile(source)));
    // The message comes to the command's standard input, in frames of 128 KiB at most.
    succeeded(await runAmqpTool(broker(), "amqp-consume", ["-q", queue, "-c", "1", "tee", copy]));

    expect((await readFile(copy)).equals(await readFile(source))).toBe(true);
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("a message may be empty", async () => {
    const queue = await declareQueue(broker(), "empty");
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-b", ""]));
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });

    expect(succeeded(await runAmqpTool(broker(), "amqp-get", ["-q", queue]))).toBe("");
    // Its own exit code for a queue with nothing in it (basic.get-empty).
    const nothing = await runAmqpTool(broker(), "amqp-get", ["-q", queue]);
    expect(nothing).toMatchObject({ exitCode: 2, stderr: "" });
  });

  test("each line of the input is a message with --line-buffered, in order", async () => {
    const queue = await declareQueue(broker(), "lines");
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-l"], "one\ntwo\nthree\n"));
    const consumed = await runAmqpTool(broker(), "amqp-consume", ["-q", queue, "-c", "3", "cat"]);
    expect(succeeded(consumed)).toBe("one\ntwo\nthree\n");
  });

  test("the broker names a queue that is declared without a name", async () => {
    const declared = await runAmqpTool(broker(), "amqp-declare-queue", ["-q", ""]);
    const queue = succeeded(declared).trim();
    expect(queue).toMatch(/^amq\.gen-.+/);
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-b", "one"]));
    const deleted = await runAmqpTool(broker(), "amqp-delete-queue", ["-q", queue]);
    expect(succeeded(deleted)).toBe("1\n"); // the count of messages that went with it
  });

  test("deleting a queue that is not there is no error", async () => {
    const deleted = await runAmqpTool(broker(), "amqp-delete-queue", ["-q", broker().queueName("missing")]);
    expect(succeeded(deleted)).toBe("0\n");
  });

  test("a message carries the properties and headers that it is given", async () => {
    const queue = await declareQueue(broker(), "headers");
    const properties = ["-C", "application/json", "-E", "utf-8", "-t", "answers", "-H", "trace: abc", "-p"];
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, ...properties, "-b", "{}"]));
    const channel = await broker().observer.createChannel();
    onTestFinished(() => channel.close());
    expect(await channel.get(queue, { noAck: true })).toMatchObject({
      content: Buffer.from("{}"),
      properties: {
        contentType: "application/json",
        contentEncoding: "utf-8",
        replyTo: "answers",
        deliveryMode: 2,
        headers: { trace: "abc" },
      },
    });
  });

  test("a queue of its own is bound to an exchange while it consumes, and goes with it", async () => {
    const exchange = broker().exchangeName("news");
    const channel = await broker().observer.createConfirmChannel();
    onTestFinished(() => channel.close());
    await channel.assertExchange(exchange, "topic");
    const bound = ["-e", exchange, "-r", "news.*", "-x", "-c", "2", "cat"];
    const queue = broker().queueName("news");
    const consumed = runAmqpTool(broker(), "amqp-consume", ["-q", queue, ...bound]);
    // It does not say when it has bound its queue: what is not routed comes back.
    let routed = 0;
    channel.on("return", () => (routed -= 1));
    while (routed < 2) {
      routed += 1;
      channel.publish(exchange, "news.today", Buffer.from("new"), { mandatory: true });
      await channel.waitForConfirms();
    }
    expect(succeeded(await consumed)).toBe("newnew");
    await expect.poll(() => queueState(broker(), queue)).toBeUndefined();
  });

  test("a command that fails leaves its message to the queue", async () => {
    const queue = await declareQueue(broker(), "failing");
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-b", "once"]));
    // It reads its input, which is no command: of one that does not read it, the tool may die (SIGPIPE).
    const command = ["sh"];
    const failed = await runAmqpTool(broker(), "amqp-consume", [
      "-q",
      queue,
      "-c",
      "1",
      "-p",
      "1",
      ...command,
    ]);
    expect(failed).toMatchObject({ exitCode: 0 });
    await expect.poll(() => queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });
    const lost = await runAmqpTool(broker(), "amqp-consume", ["-q", queue, "-c", "1", "-A", ...command]);
    expect(lost).toMatchObject({ exitCode: 0 });
    await expect.poll(() => queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("404 for a missing queue or exchange", async () => {
    const queue = broker().queueName("missing");
    for (const [tool, method] of [
      ["amqp-get", "basic.get"],
      ["amqp-consume", "basic.consume"],
    ] as const) {
      const command = tool === "amqp-consume" ? ["cat"] : [];
      expect(await runAmqpTool(broker(), tool, ["-q", queue, ...command])).toMatchObject({
        exitCode: 1,
        stderr: `${method}: server channel error 404, message: NOT_FOUND - no queue '${queue}' in vhost '/'\n`,
      });
    }
    const exchange = broker().exchangeName("missing");
    expect(await runAmqpTool(broker(), "amqp-publish", ["-e", exchange, "-b", "lost"])).toMatchObject({
      exitCode: 1,
      stderr: `closing channel: server channel error 404, message: NOT_FOUND - no exchange '${exchange}' in vhost '/'\n`,
    });
  });

  test("405 for a queue that is exclusive to another connection", async () => {
    const queue = broker().queueName("exclusive");
    const holder = await broker().observer.createChannel();
    onTestFinished(() => holder.close());
    await holder.assertQueue(queue, { exclusive: true });

    const attempts = [
      await runAmqpTool(broker(), "amqp-declare-queue", ["-q", queue]),
      await runAmqpTool(broker(), "amqp-get", ["-q", queue]),
      await runAmqpTool(broker(), "amqp-consume", ["-q", queue, "cat"]),
      await runAmqpTool(broker(), "amqp-delete-queue", ["-q", queue]),
    ];
    for (const attempt of attempts) {
      expect(attempt.exitCode).toBe(1);
      expect(attempt.stderr).toContain(
        "server channel error 405, message: RESOURCE_LOCKED - " +
          `cannot obtain exclusive access to locked queue '${queue}' in vhost '/'`,
      );
    }
    // Its owner can still use it, and anyone may publish to it.
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-b", "for the owner"]));
    expect(await holder.get(queue, { noAck: true })).toMatchObject({ content: Buffer.from("for the owner") });
  });

  test("406 for declaring a queue again with another durability", async () => {
    const queue = await declareQueue(broker(), "transient");
    expect(await runAmqpTool(broker(), "amqp-declare-queue", ["-q", queue, "-d"])).toMatchObject({
      exitCode: 1,
      stderr:
        "queue.declare: server channel error 406, message: PRECONDITION_FAILED - inequivalent arg 'durable' " +
        `for queue '${queue}' in vhost '/': received 'true' but current is 'false'\n`,
    });
    succeeded(await runAmqpTool(broker(), "amqp-declare-queue", ["-q", queue]));
  });

  test("406 for deleting a queue that is to be deleted only if empty, and is not", async () => {
    const queue = await declareQueue(broker(), "full");
    succeeded(await runAmqpTool(broker(), "amqp-publish", ["-r", queue, "-b", "one"]));
    expect(await runAmqpTool(broker(), "amqp-delete-queue", ["-q", queue, "-e"])).toMatchObject({
      exitCode: 1,
      stderr: `queue.delete: server channel error 406, message: PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty\n`,
    });
    expect(await queueState(broker(), queue)).toEqual({ ready: 1, consumers: 0 });
  });

  test("530 for an unknown vhost", async () => {
    const elsewhere = { ...broker(), vhost: "nowhere" };
    expect(await runAmqpTool(elsewhere, "amqp-declare-queue", ["-q", "never"])).toMatchObject({
      exitCode: 1,
      stderr:
        "logging in to AMQP server: server connection error 530, message: NOT_ALLOWED - vhost nowhere not found\n",
    });
  });

  test("403 for a wrong password or an unknown user", async () => {
    const strangers = [
      { ...broker(), password: "wrong" },
      { ...broker(), username: "nobody" },
    ];
    for (const stranger of strangers) {
      const refused = await runAmqpTool(stranger, "amqp-declare-queue", ["-q", "never"]);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain(
        "logging in to AMQP server: server connection error 403, message: ACCESS_REFUSED - " +
          "Login was refused using authentication mechanism PLAIN.",
      );
    }
  });
});

async function declareQueue(broker: BrokerUnderTest, purpose: string): Promise<string> {
  const queue = broker.queueName(purpose);
  const declared = await runAmqpTool(broker, "amqp-declare-queue", ["-q", queue]);
  expect(succeeded(declared)).toBe(`${queue}\n`);
  return queue;
}

/** What the tool wrote, once it is certain that it did not fail. */
function succeeded(result: ToolResult): string {
  expect(result).toMatchObject({ exitCode: 0, stderr: "" });
  return result.stdout.toString();
}

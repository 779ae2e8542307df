import { expect, test } from "vitest";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { startProgram, type Program } from "../support/program.ts";

describeEachBroker("pika: commands and requests", (broker) => {
  test("b3 b4 a command is built, published, routed, consumed by its action and acknowledged", async () => {
    const route = newRoute(broker());
    const consumer = await startConsumer(broker(), route);

    await publish(
      broker(),
      route,
      '{"action": "delete_user", "userId": "john_doe"}',
      '{"action": "greet_user", "userId": "jane_doe"}',
    );

    expect(await consumer.next("user deleted")).toMatchObject({ user: "john_doe" });
    expect(await consumer.next("user greeted")).toMatchObject({ user: "jane_doe" });
    expect(await consumer.take("acknowledged", 2)).toMatchObject([
      { content_type: "application/json" },
      { content_type: "application/json" },
    ]);
    await consumer.stop();
    expect(await queueState(broker(), route.queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("b3 a command that nobody understands is refused and does not end the consumer", async () => {
    const route = newRoute(broker());
    const consumer = await startConsumer(broker(), route);

    await publish(
      broker(),
      route,
      "not JSON",
      '{"action": "fly"}',
      '{"action": "greet_user", "userId": "ann"}',
    );

    expect(await consumer.take("refused", 2)).toMatchObject([
      { body: "not JSON" },
      { body: '{"action": "fly"}' },
    ]);
    expect(await consumer.next("user greeted")).toMatchObject({ user: "ann" });
    await consumer.stop();
    expect(await queueState(broker(), route.queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("b10 a producer connects with host, port, vhost and credentials, publishes and closes", async () => {
    expect(broker().vhost).toBe("/");
    const route = newRoute(broker());
    const consumer = await startConsumer(broker(), route);
    await publish(broker(), route, '{"action": "greet_user", "userId": "ann"}');
    expect(await consumer.next("user greeted")).toMatchObject({ user: "ann" });

    const stranger = startProgram({ ...broker(), password: "wrong" }, "pika/send.py", route.queue, "never");
    await expect(stranger.finished()).rejects.toThrow(/ProbableAuthenticationError.*403.*ACCESS_REFUSED/);
  });

  test("a request names the queue for its answer, and answers are matched by correlation id", async () => {
    const queue = broker().queueName("word-count");
    const server = startProgram(broker(), "pika/rpc_server.py", "--batch", "4", queue);
    await server.next("ready");

    const first = startProgram(broker(), "pika/rpc_client.py", queue, "one", "one two");
    const second = startProgram(broker(), "pika/rpc_client.py", queue, "one two three", "one two three four");

    await Promise.all([first.finished(), second.finished()]);
    expect(answersOf(first)).toEqual({ one: "1", "one two": "2" });
    expect(answersOf(second)).toEqual({ "one two three": "3", "one two three four": "4" });
    await server.stop();
  });
});

interface Route {
  exchange: string;
  queue: string;
  key: string;
}

function newRoute(broker: BrokerUnderTest): Route {
  return { exchange: broker.exchangeName("my_exchange"), queue: broker.queueName("my_app"), key: "test" };
}

async function startConsumer(broker: BrokerUnderTest, { exchange, queue, key }: Route): Promise<Program> {
  const options = ["--exchange", exchange, "--queue", queue, "--key", key];
  const consumer = startProgram(broker, "pika/command_consumer.py", ...options);
  await consumer.next("ready");
  return consumer;
}

async function publish(
  broker: BrokerUnderTest,
  { exchange, key }: Route,
  ...commands: string[]
): Promise<void> {
  const options = ["--exchange", exchange, "--key", key];
  await startProgram(broker, "pika/command_producer.py", ...options, ...commands).finished();
}

function answersOf(client: Program): Record<string, unknown> {
  const answers = client.untaken("answered");
  return Object.fromEntries(answers.map(({ request, answer }) => [request, answer]));
}

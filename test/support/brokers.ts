/** Runs one suite against each broker, so that RabbitMQ is the judge of what the suite demands of Warren. */

import { connect, type Channel, type ChannelModel } from "amqplib";
import { afterAll, beforeAll, describe, inject, onTestFinished } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { selectedBrokers, type BrokerName } from "./broker-selection.ts";

export interface BrokerUnderTest {
  readonly name: BrokerName;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly vhost: string;
  readonly username: string;
  readonly password: string;
  /** A queue name no other test uses; what bears it at the end of the test is deleted. */
  queueName(purpose: string): string;
  /** An exchange name no other test uses; what bears it at the end of the test is deleted. */
  exchangeName(purpose: string): string;
}

/**
 * Defines the same suite for every selected broker. Warren is started for each suite; RabbitMQ takes
 * seconds to start, so all share one and keep apart by their names.
 */
export function describeEachBroker(title: string, suite: (broker: () => BrokerUnderTest) => void): void {
  for (const name of selectedBrokers) {
    describe(`${title} [${name}]`, () => {
      let started: StartedBroker | undefined;
      beforeAll(async () => {
        started = await start(name);
      });
      afterAll(() => started?.stop());
      suite(() => started!.broker);
    });
  }
}

interface StartedBroker {
  broker: BrokerUnderTest;
  stop(): Promise<void>;
}

async function start(name: BrokerName): Promise<StartedBroker> {
  if (name === "rabbitmq") {
    const url = inject("rabbitmqUrl");
    if (!url) throw new Error("the global set-up started no RabbitMQ");
    return withJanitor(name, url, async () => {});
  }
  const warren = await startBroker({ port: 0 });
  return withJanitor(name, warren.url, () => warren.stop());
}

/** Adds the connection that deletes what a test has left. */
async function withJanitor(
  name: BrokerName,
  url: string,
  stopBroker: () => Promise<void>,
): Promise<StartedBroker> {
  const connection = await connect(url);
  // A broken connection shows where the janitor is next used.
  connection.on("error", () => {});

  const { hostname, port, username, password, pathname } = new URL(url);
  const broker: BrokerUnderTest = {
    name,
    host: hostname,
    port: Number(port),
    url,
    vhost: decodeURIComponent(pathname.slice(1)) || "/",
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    queueName(purpose) {
      const queue = uniqueName(purpose);
      onTestFinished(() => withChannel(connection, (channel) => channel.deleteQueue(queue)));
      return queue;
    },
    exchangeName(purpose) {
      const exchange = uniqueName(purpose);
      onTestFinished(() => withChannel(connection, (channel) => channel.deleteExchange(exchange)));
      return exchange;
    },
  };
  return {
    broker,
    async stop() {
      await connection.close();
      await stopBroker();
    },
  };
}

let namesGiven = 0;

function uniqueName(purpose: string): string {
  namesGiven += 1;
  return `${purpose}-${process.pid}-${namesGiven}`;
}

async function withChannel(
  connection: ChannelModel,
  action: (channel: Channel) => Promise<unknown>,
): Promise<void> {
  const channel = await connection.createChannel();
  // The same error rejects the action.
  channel.on("error", () => {});
  await action(channel);
  await channel.close();
}

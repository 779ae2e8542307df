/** Runs one suite against each broker, so that RabbitMQ is the judge of what the suite demands of Warren. */

import { randomUUID } from "node:crypto";
import { connect, type Channel, type ChannelModel } from "amqplib";
import { afterAll, beforeAll, describe, inject, onTestFinished } from "vitest";
import { startBroker } from "../../src/broker/index.ts";
import { rabbitmqAdmin, type Admin } from "./rabbitmq-admin.ts";
import { selectedBrokers, type BrokerName } from "./broker-selection.ts";

/** Where a broker is, and who may use it. */
export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly vhost: string;
  readonly username: string;
  readonly password: string;
}

export interface BrokerUnderTest extends BrokerAddress {
  readonly name: BrokerName;
  /** Users, permissions, virtual hosts and limits. */
  readonly admin: Admin;
  /** A connection for looking at the broker beside the client under test. */
  readonly observer: ChannelModel;
  /** A queue name no other test uses; what bears it at the end of the test is deleted. */
  queueName(purpose: string): string;
  /** An exchange name no other test uses; what bears it at the end of the test is deleted. */
  exchangeName(purpose: string): string;
}

/**
 * Defines the same suite for every selected broker. Warren is started for each suite; RabbitMQ takes
 * seconds to start, so all share one and keep apart by their names.
 */
export function describeEachBroker(title: string, suite: Suite): void {
  describeBrokers(selectedBrokers, title, suite);
}

/** The same for a suite that uses {@link BrokerUnderTest.admin}: not for a RabbitMQ that the tests have not started. */
export function describeEachAdministeredBroker(title: string, suite: Suite): void {
  const isInReach = (name: BrokerName): boolean => name === "warren" || !!inject("rabbitmqEnvironment");
  describeBrokers(selectedBrokers.filter(isInReach), title, suite);
}

type Suite = (broker: () => BrokerUnderTest, name: BrokerName) => void;

function describeBrokers(names: readonly BrokerName[], title: string, suite: Suite): void {
  for (const name of names) {
    describe(`${title} [${name}]`, () => {
      let started: StartedBroker | undefined;
      beforeAll(async () => {
        started = await start(name);
      });
      afterAll(() => started?.stop());
      suite(() => started!.broker, name);
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
    return observe(name, url, rabbitmqAdmin(inject("rabbitmqEnvironment")), async () => {});
  }
  const warren = await startBroker({ port: 0 });
  return observe(name, warren.url, warren.admin, () => warren.stop());
}

async function observe(
  name: BrokerName,
  url: string,
  admin: Admin,
  stopBroker: () => Promise<void>,
): Promise<StartedBroker> {
  const address = addressOf(url);
  const observer = await connect(address.url);
  // A broken connection shows where it is next used.
  observer.on("error", () => {});

  const broker: BrokerUnderTest = {
    name,
    ...address,
    admin,
    observer,
    queueName(purpose) {
      const queue = uniqueName(purpose);
      onTestFinished(async () => {
        await onChannel(observer, (channel) => channel.deleteQueue(queue));
      });
      return queue;
    },
    exchangeName(purpose) {
      const exchange = uniqueName(purpose);
      onTestFinished(async () => {
        await onChannel(observer, (channel) => channel.deleteExchange(exchange));
      });
      return exchange;
    },
  };
  return {
    broker,
    async stop() {
      await observer.close();
      await stopBroker();
    },
  };
}

/** With the defaults of AMQP URLs for what is left out, in which the clients differ. */
export function addressOf(url: string): BrokerAddress {
  const { hostname: host, port, username, password, pathname } = new URL(url);
  const parts = {
    host,
    port: Number(port || 5672),
    vhost: decodeURIComponent(pathname.slice(1)) || "/",
    username: decodeURIComponent(username) || "guest",
    password: decodeURIComponent(password) || "guest",
  };
  const [user, secret, path] = [parts.username, parts.password, parts.vhost].map(encodeURIComponent);
  return { ...parts, url: `amqp://${user}:${secret}@${host}:${parts.port}/${path}` };
}

function uniqueName(purpose: string): string {
  return `${purpose}-${randomUUID().slice(0, 8)}`;
}

/** How many messages wait in the queue and how many consumers it has; undefined where there is none. */
export async function queueState(
  broker: BrokerUnderTest,
  queue: string,
): Promise<{ ready: number; consumers: number } | undefined> {
  try {
    return await onChannel(broker.observer, async (channel) => {
      const { messageCount, consumerCount } = await channel.checkQueue(queue);
      return { ready: messageCount, consumers: consumerCount };
    });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === 404) return undefined;
    throw error;
  }
}

async function onChannel<T>(connection: ChannelModel, action: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await connection.createChannel();
  // The same error rejects the action.
  channel.on("error", () => {});
  const result = await action(channel);
  await channel.close();
  return result;
}

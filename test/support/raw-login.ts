/** Raw clients that end with the test that opened them. */
import { onTestFinished } from "vitest";
import { MethodId } from "../../src/wire/index.ts";
import type { BrokerUnderTest } from "./brokers.ts";
import { declareQueue } from "./methods.ts";
import { RawClient, type LoginOptions } from "./raw-client.ts";

/** A raw client with channel 1 open. */
export async function login(broker: BrokerUnderTest, options: LoginOptions = {}): Promise<RawClient> {
  const { port, username: user, password, vhost } = broker;
  const client = await RawClient.login(port, { user, password, vhost, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Declares a server-named queue of the client's own and says its name. */
export async function ownQueue(client: RawClient): Promise<string> {
  const { queue } = await client.call(1, declareQueue("", { exclusive: true }), MethodId.QueueDeclareOk);
  return queue;
}

/** Users, permissions, virtual hosts and limits outlive the broker, however it ends. */
import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerAdmin } from "../../src/broker/index.ts";
import { MethodId } from "../../src/wire/index.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { declareExchange, declareQueue } from "../support/methods.ts";
import { RawClient } from "../support/raw-client.ts";
import { loginReply, replyTo } from "../support/refusals.ts";

const everything = { configure: ".*", write: ".*", read: ".*" };

async function started(dataDir: string): Promise<Broker> {
  const broker = await startBroker({ port: 0, dataDir });
  onTestFinished(() => broker.stop());
  return broker;
}

function overview(admin: BrokerAdmin): object {
  return {
    users: admin.listUsers(),
    permissions: admin.listPermissions(),
    topicPermissions: admin.listTopicPermissions(),
    vhosts: admin.listVhosts(),
  };
}

/** Each changes something that the ones before have made. */
const steps: readonly (readonly [string, (admin: BrokerAdmin) => Promise<void>])[] = [
  ["addUser", (admin) => admin.addUser("ada", "first", { tags: ["management"] })],
  ["addVhost", (admin) => admin.addVhost("yard")],
  ["setPermissions", (admin) => admin.setPermissions("ada", { vhost: "yard", ...everything })],
  [
    "setTopicPermissions",
    (admin) =>
      admin.setTopicPermissions("ada", { vhost: "yard", exchange: "t", write: "^{username}", read: "" }),
  ],
  ["setUserLimits", (admin) => admin.setUserLimits("ada", { maxConnections: 7 })],
  ["setUserLimits again", (admin) => admin.setUserLimits("ada", { maxChannels: 8 })],
  ["setVhostLimits", (admin) => admin.setVhostLimits("yard", { maxQueues: 9 })],
  [
    "addVhost with a description",
    (admin) => admin.addVhost("yard", { description: "behind", tags: ["a", "b"] }),
  ],
  ["setVhostLimits of /", (admin) => admin.setVhostLimits("/", { maxConnections: 10 })],
  ["setUserTags", (admin) => admin.setUserTags("ada", ["administrator"])],
  ["changePassword", (admin) => admin.changePassword("ada", "second")],
  ["clearVhostLimits", (admin) => admin.clearVhostLimits("yard")],
  ["clearUserLimits", (admin) => admin.clearUserLimits("ada")],
  ["clearTopicPermissions", (admin) => admin.clearTopicPermissions("ada", { vhost: "yard" })],
  ["clearPermissions", (admin) => admin.clearPermissions("ada", { vhost: "yard" })],
  [
    "importUser",
    (admin) =>
      admin.importUser("imported", {
        passwordHash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
        hashingAlgorithm: "rabbit_password_hashing_sha256",
      }),
  ],
  ["deleteVhost", (admin) => admin.deleteVhost("yard")],
  ["deleteUser", (admin) => admin.deleteUser("ada")],
];

describe("what is administered", () => {
  test("is on the disk when the call comes back: a broker that is killed then has lost nothing", async () => {
    const dataDir = dataDirectory();
    const { admin } = await started(dataDir);
    const written = (): string => {
      const bytes = readFileSync(join(dataDir, "definitions.log"));
      return createHash("sha256").update(bytes).digest("hex");
    };
    for (const [number, [name, step]] of steps.entries()) {
      const before = written();
      await step(admin);
      expect({ name, isWritten: written() !== before }).toEqual({ name, isWritten: true });
      if (![7, 12, steps.length - 1].includes(number)) continue;
      // What a kill at this moment would leave.
      const copy = dataDirectory();
      cpSync(dataDir, copy, { recursive: true });
      const next = await startBroker({ port: 0, dataDir: copy });
      expect(overview(next.admin)).toEqual(overview(admin));
      await next.stop();
    }
  });

  test("counts after a restart: passwords, permissions, and what virtual hosts hold", async () => {
    const dataDir = dataDirectory();
    const first = await startBroker({ port: 0, dataDir });
    for (const [, step] of steps.slice(0, 11)) await step(first.admin);
    const ada = { user: "ada", password: "second", vhost: "yard" };
    const publisher = await RawClient.login(first.port, ada);
    onTestFinished(() => publisher.close());
    await publisher.call(1, declareExchange("t", "topic", { durable: true }), MethodId.ExchangeDeclareOk);
    await publisher.call(1, declareQueue("q", { durable: true }), MethodId.QueueDeclareOk);
    await publisher.call(1, { id: MethodId.ConfirmSelect, noWait: false }, MethodId.ConfirmSelectOk);
    publisher.publish(1, "", "q", "kept", { properties: { deliveryMode: 2 } });
    await publisher.expect(MethodId.BasicAck);
    await first.stop(100);

    const broker = await started(dataDir);
    expect(broker.usage()).toMatchObject({ queues: 1, messages: 1 });
    expect(await loginReply(broker.port, { ...ada, password: "first" })).toContain("Login was refused");
    const client = await RawClient.login(broker.port, ada);
    onTestFinished(() => client.close());
    const { messageCount } = await client.call(
      1,
      declareQueue("q", { passive: true }),
      MethodId.QueueDeclareOk,
    );
    expect(messageCount).toBe(1);
    expect(await replyTo(client, (on, channel) => on.publish(channel, "t", "bob.x", "m"))).toContain(
      "access to topic 'bob.x'",
    );
    expect(await loginReply(broker.port, { user: "guest", password: "guest" })).toBe("open");
  });
});

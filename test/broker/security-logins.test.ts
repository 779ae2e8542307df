/** How Warren keeps passwords, slows their guessing and remembers who may do what. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { startBroker, type Broker, type BrokerOptions } from "../../src/broker/index.ts";
import { silentLogger } from "../../src/base/index.ts";
import { FrameType, MethodId, type Method } from "../../src/wire/index.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { declareQueue } from "../support/methods.ts";
import { rabbitmqAdmin, rabbitmqctl } from "../support/rabbitmq-admin.ts";
import { encodeFrame, encodeMethod, protocolHeader, RawClient, startOk } from "../support/raw-client.ts";
import { loginReply, nextWord, replyTo } from "../support/refusals.ts";

const everything = { configure: ".*", write: ".*", read: ".*" };
const refused =
  "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. (0.0)";

async function started(options: BrokerOptions = {}): Promise<Broker> {
  const broker = await startBroker({ port: 0, ...options });
  onTestFinished(() => broker.stop());
  return broker;
}

describe("passwords", () => {
  test("are on the disk as argon2id hashes only", async () => {
    const dataDir = dataDirectory();
    const broker = await started({ dataDir });
    await broker.admin.addUser("ada", "correct horse battery");
    await broker.admin.changePassword("ada", "staple correct horse");
    expect(await loginReply(broker.port, { user: "ada", password: "correct horse battery" })).toBe(refused);
    await broker.stop();
    const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    );
    const bytes = Buffer.concat(files.map((file) => readFileSync(join(file.parentPath, file.name))));
    expect(bytes.includes("$argon2id$v=19$m=19456,")).toBe(true);
    expect(bytes.includes("battery")).toBe(false);
    expect(bytes.includes("staple")).toBe(false);
  });

  test.each(["sha256", "sha512"] as const)("imported with RabbitMQ's %s hashes work", async (digest) => {
    const { admin, port } = await started();
    const salt = Buffer.from([0x90, 0x8d, 0xc6, 0x0a]);
    const hash = createHash(digest).update(salt).update("test12").digest();
    await admin.importUser("ada", {
      passwordHash: Buffer.concat([salt, hash]).toString("base64"),
      hashingAlgorithm: `rabbit_password_hashing_${digest}`,
    });
    await admin.setPermissions("ada", everything);
    expect(await loginReply(port, { user: "ada", password: "test12" })).toBe("open");
    expect(await loginReply(port, { user: "ada", password: "test13" })).toBe(refused);
    expect(await loginReply(port, { user: "ada", password: "test12" })).toBe("open");
  });

  test("an imported hash of no password lets nobody in", async () => {
    const { admin, port } = await started();
    const salt = Buffer.from([1, 2, 3, 4]);
    const hash = createHash("sha256").update(salt).digest();
    const passwordHash = Buffer.concat([salt, hash]).toString("base64");
    await admin.importUser("ada", { passwordHash, hashingAlgorithm: "rabbit_password_hashing_sha256" });
    await admin.setPermissions("ada", everything);
    expect(await loginReply(port, { user: "ada", password: "" })).toBe(refused);
  });

  test("the hash in RabbitMQ's documentation is understood", async () => {
    const { admin, port } = await started();
    const passwordHash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    await admin.importUser("ada", { passwordHash, hashingAlgorithm: "rabbit_password_hashing_sha256" });
    await admin.setPermissions("ada", everything);
    expect(await loginReply(port, { user: "ada", password: "test12" })).toBe("open");
  });

  test.runIf(inject("rabbitmqEnvironment"))(
    "a user that a RabbitMQ exports can log in",
    async () => {
      const environment = inject("rabbitmqEnvironment");
      const rabbitmq = rabbitmqAdmin(environment);
      await rabbitmq.addUser("exported", "from the old broker", { tags: ["monitoring"] });
      onTestFinished(() => rabbitmq.deleteUser("exported"));
      const definitions = JSON.parse(await rabbitmqctl(environment, "export_definitions", "-")) as {
        users: { name: string; password_hash: string; hashing_algorithm: string; tags: string[] }[];
      };
      const user = definitions.users.find(({ name }) => name === "exported")!;
      const { admin, port } = await started();
      await admin.importUser("exported", {
        passwordHash: user.password_hash,
        hashingAlgorithm: user.hashing_algorithm as "rabbit_password_hashing_sha256",
        tags: user.tags,
      });
      await admin.setPermissions("exported", everything);
      expect(await loginReply(port, { user: "exported", password: "from the old broker" })).toBe("open");
      expect(await loginReply(port, { user: "exported", password: "guessed" })).toBe(refused);
    },
    120_000,
  );
});

describe("the user of the options", () => {
  test("can always log in, whatever the data directory says of that name", async () => {
    const dataDir = dataDirectory();
    const first = await startBroker({ port: 0, dataDir });
    await first.admin.addUser("ada", "stored");
    await first.stop();
    const broker = await started({ dataDir, user: "ada", password: "given" });
    expect(await loginReply(broker.port, { user: "ada", password: "given" })).toBe("open");
    expect(broker.admin.listUsers()).toContainEqual({ name: "ada", tags: ["administrator"], limits: {} });
    await expect(broker.admin.deleteUser("ada")).rejects.toThrow(
      "user 'ada' cannot be changed: the options that the broker was started with set it",
    );
    await expect(broker.admin.clearPermissions("ada")).rejects.toThrow("cannot be changed");
    await broker.admin.addVhost("tests");
    await broker.admin.setPermissions("ada", { vhost: "tests", ...everything });
    expect(await loginReply(broker.port, { user: "ada", password: "given", vhost: "tests" })).toBe("open");
  });

  test("is not kept: without the options it is not there", async () => {
    const dataDir = dataDirectory();
    const first = await startBroker({ port: 0, dataDir, user: "ada", password: "given" });
    await first.stop();
    const broker = await started({ dataDir });
    expect(await loginReply(broker.port, { user: "ada", password: "given" })).toBe(refused);
    expect(await loginReply(broker.port, { user: "guest", password: "guest" })).toBe("open");
  });
});

describe("guest", () => {
  test("is there at the first start only: deleted, it does not come back", async () => {
    const dataDir = dataDirectory();
    const first = await startBroker({ port: 0, dataDir });
    await first.admin.deleteUser("guest");
    await first.stop();
    const broker = await started({ dataDir });
    expect(broker.admin.listUsers()).toEqual([]);
    expect(await loginReply(broker.port, { user: "guest", password: "guest" })).toBe(refused);
  });

  test("may log in from this machine only, even when another user of the options lets the broker be reached", async () => {
    const broker = await started({ host: "0.0.0.0", user: "ada", password: "given" });
    await broker.admin.addUser("guest", "guest");
    await broker.admin.setPermissions("guest", everything);
    const guest = { user: "guest", password: "guest" };
    expect(await loginReply(broker.port, guest)).toBe("open");
    const elsewhere = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal, family }) => !internal && family === "IPv4");
    const host = elsewhere?.address;
    if (host === undefined) return;
    expect(await loginReply(broker.port, guest, { host })).toBe(refused);
    expect(await loginReply(broker.port, { user: "ada", password: "given" }, { host })).toBe("open");
  });
});

describe("guessing", () => {
  const wrong = { user: "ada", password: "wrong" };
  const right = { user: "ada", password: "right" };

  async function guarded(): Promise<{ broker: Broker; clock: ManualClock; warnings: string[] }> {
    const clock = new ManualClock();
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_fields: object, message: string) => warnings.push(message) };
    const broker = await started({ clock, logger });
    await broker.admin.addUser("ada", "right");
    await broker.admin.setPermissions("ada", everything);
    return { broker, clock, warnings };
  }

  /** The reply to an attempt that has to wait so long, and not a millisecond less. */
  async function after(clock: ManualClock, delayMs: number, reply: Promise<string>): Promise<string> {
    let isAnswered = false;
    const answered = reply.finally(() => (isAnswered = true));
    await elsewhere(clock);
    clock.advance(delayMs - 1);
    // More than the time that a verification takes.
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(isAnswered).toBe(false);
    clock.advance(1);
    return answered;
  }

  /** Until an attempt waits: its timer is one more than before. */
  async function elsewhere(clock: ManualClock): Promise<void> {
    let before = -1;
    while (before !== clock.pending) {
      before = clock.pending;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  test("is slowed down after five failures, with the right password too, until that one succeeds", async () => {
    const { broker, clock, warnings } = await guarded();
    for (let failure = 0; failure < 5; failure++) expect(await loginReply(broker.port, wrong)).toBe(refused);
    for (const delayMs of [500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
      expect(await after(clock, delayMs, loginReply(broker.port, wrong))).toBe(refused);
    }
    expect(await after(clock, 5_000, loginReply(broker.port, right))).toBe("open");
    expect(await loginReply(broker.port, wrong)).toBe(refused);
    expect(await loginReply(broker.port, right)).toBe("open");
    expect(warnings.filter((warning) => warning.startsWith("too many failed logins"))).toEqual([
      "too many failed logins of this user: further attempts are delayed",
    ]);
  });

  test("many guesses at once are not answered at once", async () => {
    const { broker, clock } = await guarded();
    let answered = 0;
    const replies = Array.from({ length: 20 }, async (_unused, number) => {
      const reply = await loginReply(broker.port, { user: "ada", password: `guess ${number}` });
      answered++;
      return reply;
    });
    await expect.poll(() => answered).toBe(5);
    await elsewhere(clock);
    expect(answered).toBe(5);
    clock.advance(500);
    await expect.poll(() => answered).toBe(6);
    await broker.stop(0);
    await Promise.all(replies);
  });

  test("does not slow other users", async () => {
    const { broker } = await guarded();
    for (let failure = 0; failure < 5; failure++) await loginReply(broker.port, wrong);
    expect(await loginReply(broker.port, { user: "guest", password: "guest" })).toBe("open");
  });

  test("of many names is slowed by address, but not for who has logged in from there before", async () => {
    const { broker, clock } = await guarded();
    expect(await loginReply(broker.port, right)).toBe("open");
    const guesses = Array.from({ length: 50 }, (_unused, number) =>
      loginReply(broker.port, { user: `name ${number}`, password: "guess" }),
    );
    for (const reply of await Promise.all(guesses)) expect(reply).toBe(refused);
    expect(await after(clock, 250, loginReply(broker.port, { user: "another", password: "guess" }))).toBe(
      refused,
    );
    expect(await loginReply(broker.port, right)).toBe("open");
  });

  test("is not slowed when the options say so", async () => {
    const { port } = await started({ clock: new ManualClock(), throttleLogins: false });
    const guess = { user: "guest", password: "guess" };
    for (let failure = 0; failure < 8; failure++) expect(await loginReply(port, guess)).toBe(refused);
  });

  test("is forgotten after a while", async () => {
    const { broker, clock } = await guarded();
    for (let failure = 0; failure < 5; failure++) await loginReply(broker.port, wrong);
    clock.advance(10 * 60_000);
    expect(await loginReply(broker.port, wrong)).toBe(refused);
  });

  test("by a flood does not hold up those who are logged in, nor those who come back", async () => {
    const broker = await started();
    const client = await RawClient.login(broker.port);
    onTestFinished(() => client.close());
    const over = new AbortController();
    let guesses = 0;
    const flood = Array.from({ length: 40 }, async (_unused, line) => {
      while (!over.signal.aborted) {
        await loginReply(broker.port, { user: `flood ${line} ${guesses}`, password: "guess" }).catch(
          (error: unknown) => {
            // The broker stops in the middle of the last ones.
            if (!over.signal.aborted) throw error;
          },
        );
        guesses++;
      }
    });
    await expect.poll(() => guesses).toBeGreaterThan(0);
    let most = 0;
    for (let round = 0; round < 20; round++) {
      const before = guesses;
      await client.call(1, declareQueue("q"), MethodId.QueueDeclareOk);
      expect(await loginReply(broker.port, { user: "guest", password: "guest" })).toBe("open");
      most = Math.max(most, guesses - before);
    }
    over.abort();
    // Whoever stood behind the guesses would see all forty of them answered first.
    expect(most).toBeLessThan(20);
    await broker.stop(0);
    await Promise.all(flood);
  });
});

describe("a login under way", () => {
  test("does not hear what the client sends behind it before it is settled, and then all of it", async () => {
    const { admin, port } = await started();
    await admin.addUser("ada", "right");
    await admin.setPermissions("ada", everything);
    const client = await RawClient.open(port);
    onTestFinished(() => client.close());
    const tuning = { channelMax: 2047, frameMax: 131_072, heartbeat: 0 };
    const methods: [number, Method][] = [
      [0, startOk("ada", "right")],
      [0, { id: MethodId.ConnectionTuneOk, ...tuning }],
      [0, { id: MethodId.ConnectionOpen, virtualHost: "/" }],
      [1, { id: MethodId.ChannelOpen }],
    ];
    const frames = methods.map(([channel, method]) =>
      encodeFrame(FrameType.Method, channel, encodeMethod(method)),
    );
    client.bytes(Buffer.concat([protocolHeader, ...frames]));
    for (const id of [
      MethodId.ConnectionStart,
      MethodId.ConnectionTune,
      MethodId.ConnectionOpenOk,
      MethodId.ChannelOpenOk,
    ]) {
      await client.expect(id);
    }
    expect(await replyTo(client, declareQueue("q"))).toBe("allowed");
  });

  test("leaves nothing behind when the client has gone, and is called off when the broker stops", async () => {
    const clock = new ManualClock();
    const broker = await started({ clock });
    for (let failure = 0; failure < 5; failure++) {
      await loginReply(broker.port, { user: "guest", password: "wrong" });
    }
    const { connections } = broker.usage();
    const client = await RawClient.open(broker.port);
    const waiting = client.handshake({ user: "guest", password: "wrong" }).catch(() => "ended");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.close();
    expect(await waiting).toBe("ended");
    // While it waits its socket is not read, so that its end is noticed when it is its turn.
    clock.advance(500);
    await expect.poll(() => broker.usage().connections).toBe(connections);
    const reply = loginReply(broker.port, { user: "guest", password: "guest" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stopped = broker.stop(50);
    expect(await reply).toMatch(/^320 CONNECTION_FORCED/);
    clock.advance(5_000);
    await stopped;
  });
});

describe("administration", () => {
  test("refuses what makes no sense, and says why", async () => {
    const { admin } = await started();
    await expect(admin.addUser("", "x")).rejects.toThrow("the name of a user has 1 to 255 bytes");
    await expect(admin.addUser("ada", "")).rejects.toThrow("a password cannot be empty");
    await expect(admin.addUser("guest", "x")).rejects.toThrow("user 'guest' exists already");
    await expect(admin.deleteUser("ada")).rejects.toThrow("user 'ada' does not exist");
    await expect(admin.changePassword("ada", "x")).rejects.toThrow("user 'ada' does not exist");
    await expect(admin.setPermissions("ada", everything)).rejects.toThrow("user 'ada' does not exist");
    await expect(admin.setPermissions("guest", { vhost: "x", ...everything })).rejects.toThrow(
      "virtual host 'x' does not exist",
    );
    await expect(admin.setPermissions("guest", { ...everything, read: "(" })).rejects.toThrow(
      "'(' cannot be used as a regular expression",
    );
    await expect(
      admin.setTopicPermissions("guest", { exchange: "x", write: String.raw`\A`, read: "" }),
    ).rejects.toThrow("cannot be used as a regular expression");
    await expect(admin.deleteVhost("/")).rejects.toThrow("cannot be deleted");
    await expect(admin.setUserLimits("guest", { maxChannels: 1.5 })).rejects.toThrow("maxChannels is 1.5");
    await expect(admin.setVhostLimits("/", { maxFoo: 1 } as object)).rejects.toThrow(
      "there is no limit 'maxFoo'",
    );
    const short = { passwordHash: "AAAA", hashingAlgorithm: "rabbit_password_hashing_sha256" } as const;
    await expect(admin.importUser("ada", short)).rejects.toThrow("4 bytes of salt and 32 bytes of hash");
    const md5 = { passwordHash: "", hashingAlgorithm: "rabbit_password_hashing_md5" as never };
    await expect(admin.importUser("ada", md5)).rejects.toThrow("'rabbit_password_hashing_md5' is not known");
    expect(admin.listUsers().map(({ name }) => name)).toEqual(["guest"]);
    expect(admin.listPermissions()).toEqual([{ user: "guest", vhost: "/", ...everything }]);
  });

  test("after a stop changes nothing any more", async () => {
    const broker = await started();
    await broker.stop();
    await expect(broker.admin.addVhost("x")).rejects.toThrow("the broker is stopped");
  });

  test("a route that a publisher remembers is not used after its permission is gone", async () => {
    const { admin, port } = await started();
    await admin.addUser("ada", "right");
    await admin.setPermissions("ada", everything);
    const client = await RawClient.login(port, { user: "ada", password: "right" });
    onTestFinished(() => client.close());
    await client.call(1, declareQueue("q"), MethodId.QueueDeclareOk);
    for (let count = 0; count < 3; count++) client.publish(1, "", "q", "permitted");
    await client.call(1, declareQueue("q"), MethodId.QueueDeclareOk);
    await admin.setPermissions("ada", { ...everything, write: "" });
    client.publish(1, "", "q", "not any more");
    expect(await nextWord(client)).toBe(
      "403 ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'ada' (60.40)",
    );
  });
});

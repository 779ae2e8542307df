/** What queue.declare accepts, what it refuses and how, and what counts as the same queue. */
import type { FieldValue } from "../../../src/wire/index.ts";
import type { Arguments, Session } from "../session.ts";
import type { Scenarios } from "./scenario.ts";

const long = (value: bigint): FieldValue => ({ type: "long", value });

const classic: readonly Arguments[] = [
  { "x-message-ttl": "abc" },
  { "x-message-ttl": -1 },
  { "x-message-ttl": long(1n << 40n) },
  { "x-message-ttl": long(0xffff_ffffn) },
  { "x-message-ttl": long(0x1_0000_0000n) },
  { "x-message-ttl": { type: "double", value: 5.5 } },
  { "x-message-ttl": { type: "float", value: 5 } },
  { "x-message-ttl": { type: "timestamp", value: 5n } },
  { "x-message-ttl": { type: "unsignedbyte", value: 200 } },
  { "x-message-ttl": { type: "void" } },
  { "x-message-ttl": 0 },
  { "x-expires": 0 },
  { "x-expires": -4 },
  { "x-expires": "a" },
  { "x-expires": long(1n << 33n) },
  { "x-expires": long(1n << 45n) },
  { "x-max-length": "x" },
  { "x-max-length": -1 },
  { "x-max-length": long(1n << 40n) },
  { "x-max-length-bytes": true },
  { "x-max-length-bytes": -3 },
  { "x-overflow": 5 },
  { "x-overflow": "boom" },
  { "x-overflow": "drop-head" },
  { "x-overflow": "reject-publish-dlx" },
  { "x-max-priority": -1 },
  { "x-max-priority": 256 },
  { "x-max-priority": 0 },
  { "x-max-priority": "a" },
  { "x-max-priority": long(255n) },
  { "x-dead-letter-exchange": 1 },
  { "x-dead-letter-exchange": { type: "void" } },
  { "x-dead-letter-exchange": "" },
  { "x-dead-letter-routing-key": "k" },
  { "x-dead-letter-routing-key": 5 },
  { "x-dead-letter-exchange": "e", "x-dead-letter-routing-key": 5 },
  { "x-dead-letter-exchange": "nobody declared it" },
  { "x-dead-letter-strategy": "at-least-once" },
  { "x-dead-letter-strategy": 5 },
  { "x-single-active-consumer": "a" },
  { "x-single-active-consumer": 1 },
  { "x-single-active-consumer": false },
  { "x-queue-mode": "foo" },
  { "x-queue-mode": 1 },
  { "x-queue-mode": "lazy" },
  { "x-queue-mode": "default" },
  { "x-queue-version": "a" },
  { "x-queue-version": 3 },
  { "x-queue-version": 0 },
  { "x-queue-version": 2 },
  { "x-queue-version": 1 },
  { "x-queue-type": "foo" },
  { "x-queue-type": 1 },
  { "x-queue-type": "classic" },
  { "x-delivery-limit": 5 },
  { "x-quorum-initial-group-size": 3 },
  { "x-max-age": "1h" },
  { "x-max-in-memory-length": 5 },
  { "x-max-in-memory-bytes": 5 },
  { "x-queue-leader-locator": "client-local" },
  { "x-queue-master-locator": "client-local" },
  { "x-queue-master-locator": "min-masters" },
  { "x-stream-max-segment-size-bytes": 5 },
  { "x-initial-cluster-size": 3 },
  { "x-consumer-timeout": 5 },
  { "x-ha-policy": "all" },
  { "x-cancel-on-ha-failover": true },
  { "x-unknown": { type: "void" } },
  { "x-unknown": "anything", other: 7 },
  { "x-message-ttl": -1, "x-expires": 0, "x-overflow": "boom" },
  { "x-delivery-limit": 5, "x-expires": 0 },
  { "x-max-length": -1, "x-delivery-limit": 5, "x-queue-type": "foo" },
];

const quorum: readonly Arguments[] = [
  {},
  { "x-max-priority": 5 },
  { "x-queue-mode": "lazy" },
  { "x-queue-version": 2 },
  { "x-message-ttl": 100 },
  { "x-message-ttl": -1 },
  { "x-expires": 10_000 },
  { "x-max-length": 5 },
  { "x-max-length-bytes": 5 },
  { "x-overflow": "reject-publish" },
  { "x-overflow": "reject-publish-dlx" },
  { "x-overflow": "boom" },
  { "x-delivery-limit": 3 },
  { "x-delivery-limit": -1 },
  { "x-delivery-limit": 0 },
  { "x-delivery-limit": "a" },
  { "x-quorum-initial-group-size": 3 },
  { "x-quorum-initial-group-size": 0 },
  { "x-quorum-initial-group-size": "a" },
  { "x-dead-letter-strategy": "at-least-once" },
  { "x-dead-letter-strategy": "at-most-once" },
  { "x-dead-letter-strategy": "foo" },
  { "x-dead-letter-strategy": 4 },
  {
    "x-dead-letter-strategy": "at-least-once",
    "x-dead-letter-exchange": "e",
    "x-overflow": "reject-publish",
  },
  { "x-dead-letter-exchange": "e" },
  { "x-dead-letter-routing-key": "k" },
  { "x-single-active-consumer": true },
  { "x-max-in-memory-length": 5 },
  { "x-max-in-memory-bytes": 5 },
  { "x-max-in-memory-length": -5 },
  { "x-queue-leader-locator": "balanced" },
  { "x-queue-leader-locator": "nonsense" },
  { "x-queue-leader-locator": 4 },
  { "x-queue-master-locator": "client-local" },
  { "x-max-age": "1h" },
  { "x-initial-cluster-size": 3 },
  { "x-unknown": 3 },
];

export const argumentScenarios: Scenarios = {
  "each argument of a classic queue is accepted or refused": (session) => declareEach(session, classic, {}),

  "each argument of a quorum queue is accepted or refused": (session) =>
    declareEach(
      session,
      quorum.map((table) => ({ "x-queue-type": "quorum", ...table })),
      { durable: true },
    ),

  async "a quorum queue is durable, shared, lasting and named"(session) {
    const table = { "x-queue-type": "quorum" };
    await session.declare("q", table);
    await session.declare("q", table, { durable: true, exclusive: true });
    await session.declare("q", table, { durable: true, autoDelete: true });
    await session.declare("q", table, { autoDelete: true, exclusive: true });
    await session.declare("", table, { durable: true });
    await session.declare("q", table, { durable: true });
    await session.declare("q", { "x-queue-type": "classic" }, { durable: true });
    await session.declare("q", {}, { durable: true });
  },

  async "declaring a queue again compares its arguments"(session) {
    const table = { "x-message-ttl": 5000, "x-max-length": 3, "x-overflow": "drop-head", "x-unknown": 1 };
    await session.declare("q", table);
    await session.declare("q", table);
    await session.declare("q", { ...table, "x-message-ttl": long(5000n) });
    await session.declare("q", { ...table, "x-message-ttl": 5001 });
    await session.declare("q", { ...table, "x-unknown": 2 });
    await session.declare("q", { ...table, "x-overflow": "reject-publish" });
    await session.declare("q", { ...table, "x-expires": 60_000 });
    await session.declare("q", { ...table, "x-max-priority": 3 });
    await session.declare("q", { ...table, "x-dead-letter-exchange": "e" });
    await session.declare("q", { ...table, "x-queue-mode": "lazy" });
    await session.declare("q", { ...table, "x-queue-version": 2 });
    await session.declare("q", { ...table, "x-single-active-consumer": true });
    await session.declare("q", { ...table, "x-queue-type": "quorum" });
    await session.declare("q", { ...table, "x-queue-type": "classic" });
    await session.declare("q", { ...table, "x-queue-master-locator": "client-local" });
    await session.declare("q", { ...table, "x-max-length-bytes": 5 });
    await session.declare("q", { ...table, "x-message-ttl": "text" });
    await session.declare("q", {});
    await session.declare("q", { "x-queue-mode": "bad" });
  },

  async "declaring a quorum queue again compares its arguments"(session) {
    const table = { "x-queue-type": "quorum", "x-delivery-limit": 3, "x-dead-letter-exchange": "e" };
    const options = { durable: true };
    await session.declare("q", table, options);
    await session.declare("q", { ...table, "x-delivery-limit": 4 }, options);
    await session.declare("q", { ...table, "x-dead-letter-strategy": "at-most-once" }, options);
    await session.declare("q", { ...table, "x-dead-letter-exchange": "f" }, options);
    await session.declare("q", { ...table, "x-dead-letter-routing-key": "k" }, options);
    await session.declare("q", { ...table, "x-quorum-initial-group-size": 1 }, options);
    await session.declare("q", { ...table, "x-queue-leader-locator": "balanced" }, options);
    await session.declare("q", { ...table, "x-unknown": 1 }, options);
  },

  async "an exchange's arguments"(session) {
    await session.declareExchange("x1", "direct", { "alternate-exchange": 5 });
    await session.declareExchange("x2", "direct", { "alternate-exchange": "nobody" });
    await session.declareExchange("x2", "direct", {});
    await session.declareExchange("x2", "direct", { "alternate-exchange": "other" });
    await session.declareExchange("x2", "direct", { "alternate-exchange": "nobody" });
    await session.declareExchange("x3", "direct", { unknown: 5 });
    await session.declareExchange("x3", "direct", { unknown: 6 });
    await session.declareExchange("x4", "topic", {}, { internal: true });
    await session.declareExchange("x4", "topic", {});
  },
};

async function declareEach(session: Session, tables: readonly Arguments[], options: object): Promise<void> {
  for (const table of tables) {
    session.note(
      "arguments",
      JSON.stringify(table, (_key, value: unknown) => (typeof value === "bigint" ? Number(value) : value)),
    );
    await session.declare("q", table, options);
    await session.delete("q");
  }
}

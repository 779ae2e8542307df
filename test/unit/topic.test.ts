import fc from "fast-check";
import { Qlobber } from "qlobber";
import { describe, expect, it } from "vitest";
import { emptyTable } from "../../src/wire/index.ts";
import { Exchange } from "../../src/broker/routing/index.ts";

const options = { durable: false, autoDelete: false, internal: false, arguments: emptyTable };

/** A topic exchange and, beside it, a matcher written by others: they must agree. */
class Compared {
  private readonly exchange = new Exchange("topics", "topic", options);
  private readonly oracle = new Qlobber<string>({ separator: ".", wildcard_one: "*", wildcard_some: "#" });
  private readonly targets = new Map<string, { name: string }>();

  bind(pattern: string): void {
    if (this.exchange.bind(this.binding(pattern))) this.oracle.add(pattern, pattern);
  }

  unbind(pattern: string): void {
    if (this.exchange.unbind(this.binding(pattern))) this.oracle.remove(pattern, pattern);
  }

  routed(routingKey: string): string[] {
    const names = new Set<string>();
    this.exchange.route({ routingKey, headers: () => emptyTable }, ({ name }) => names.add(name));
    return [...names].toSorted();
  }

  expected(routingKey: string): string[] {
    return [...new Set(this.oracle.match(routingKey))].toSorted();
  }

  private binding(pattern: string) {
    const destination = this.targets.get(pattern) ?? { name: pattern };
    this.targets.set(pattern, destination);
    return { destination, routingKey: pattern, arguments: emptyTable };
  }
}

// No empty words: `*` stands for one in RabbitMQ, and not for the oracle.
const word = fc.constantFrom("a", "b", "cc");
const key = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join("."));
const pattern = fc
  .array(fc.oneof(word, fc.constantFrom("*", "#")), { minLength: 1, maxLength: 5 })
  // The oracle takes at most three hashes.
  .filter((words) => words.filter((one) => one === "#").length <= 3)
  .map((words) => words.join("."));

describe("topic exchange", () => {
  it("finds what another matcher finds, while patterns come and go", () => {
    fc.assert(
      fc.property(
        fc.array(pattern, { maxLength: 12 }),
        fc.array(fc.nat(11)),
        fc.array(key),
        (patterns, gone, keys) => {
          const compared = new Compared();
          for (const one of patterns) compared.bind(one);
          for (const index of gone) if (patterns[index] !== undefined) compared.unbind(patterns[index]);
          for (const one of keys) expect(compared.routed(one)).toEqual(compared.expected(one));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("takes an empty key for no words at all", () => {
    expect(routed(["#", "*", ""], "")).toEqual(["", "#"]);
  });

  it("takes nothing between two dots for an empty word", () => {
    expect(routed(["*.*", "#", "a", ".a"], ".a")).toEqual(["#", "*.*", ".a"]);
  });

  it("is not slowed by a pattern of many hashes", () => {
    const hashes = Array.from({ length: 40 }, () => "#.a").join(".");
    expect(routed([hashes], Array.from({ length: 80 }, () => "a").join("."))).toHaveLength(1);
    expect(routed([hashes], Array.from({ length: 80 }, () => "b").join("."))).toHaveLength(0);
  });
});

function routed(patterns: readonly string[], routingKey: string): string[] {
  const exchange = new Exchange("topics", "topic", options);
  for (const one of patterns)
    exchange.bind({ destination: { name: one }, routingKey: one, arguments: emptyTable });
  const names: string[] = [];
  exchange.route({ routingKey, headers: () => emptyTable }, ({ name }) => names.push(name));
  return names.toSorted();
}

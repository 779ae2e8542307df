export type BrokerName = "warren" | "rabbitmq";

const known: readonly BrokerName[] = ["warren", "rabbitmq"];

/** The brokers to test, from WARREN_TEST_BROKERS (names with commas between); both unless it is set. */
export const selectedBrokers: readonly BrokerName[] = parse(process.env["WARREN_TEST_BROKERS"]);

function parse(list: string | undefined): readonly BrokerName[] {
  if (!list) return known;
  return list.split(",").map((name) => {
    const broker = known.find((candidate) => candidate === name.trim());
    if (!broker) {
      throw new Error(`WARREN_TEST_BROKERS names "${name.trim()}"; the brokers are ${known.join(" and ")}`);
    }
    return broker;
  });
}

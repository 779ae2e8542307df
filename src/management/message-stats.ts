import type { Counters } from "./counters.ts";
import type { Detailed, Rates } from "./rates.ts";

export type { Detailed } from "./rates.ts";

/** `message_stats` of something, with rates; nothing when it has never had a message, as in RabbitMQ. */
export function messageStats(rates: Rates, source: object, counters: Counters): Stats {
  return messageStatsOf(rates.of(source, counters));
}

export interface Stats {
  readonly message_stats?: Detailed;
}

export function messageStatsOf(detailed: Detailed): Stats {
  const seen = groups.filter((group) => group.some((name) => Number(detailed[name] ?? 0) > 0)).flat();
  if (seen.length === 0) return {};
  return {
    message_stats: picked(
      detailed,
      seen.filter((name) => name in detailed),
    ),
  };
}

/** What is in queues, with how fast it grows. */
export function depthOf(detailed: Detailed): Detailed {
  return picked(detailed, ["messages", "messages_ready", "messages_unacknowledged"]);
}

/** These counters and their rates. */
export function picked(detailed: Detailed, names: readonly string[]): Detailed {
  return Object.fromEntries(
    names.flatMap((name) => [name, `${name}_details`]).map((key) => [key, detailed[key]]),
  );
}

/** Shown together or not at all. */
const groups: readonly (readonly string[])[] = [
  ["ack", "deliver", "deliver_get", "deliver_no_ack", "get", "get_empty", "get_no_ack", "redeliver"],
  ["confirm", "drop_unroutable", "publish", "return_unroutable"],
  ["publish_in", "publish_out"],
];

import type { Command } from "commander";
import { addApiOptions, segment, withApi, type ApiFlags } from "./http-api.ts";
import { formatTable } from "./table.ts";

/** One of rabbitmqctl's `list_…` commands. */
interface ListVerb {
  readonly name: string;
  readonly description: string;
  /** Where the API has it; of one virtual host where there are several. */
  readonly path: (vhost: string) => string;
  /** What is shown when no columns are named. */
  readonly columns: readonly string[];
  /** rabbitmqctl's names for what the API calls otherwise. */
  readonly aliases?: Readonly<Record<string, string>>;
}

const verbs: readonly ListVerb[] = [
  {
    name: "list_queues",
    description: "Queues: name, messages, messages_ready, messages_unacknowledged, consumers, …",
    path: (vhost) => `/queues/${segment(vhost)}`,
    columns: ["name", "messages"],
  },
  {
    name: "list_exchanges",
    description: "Exchanges: name, type, durable, auto_delete, internal, arguments, …",
    path: (vhost) => `/exchanges/${segment(vhost)}`,
    columns: ["name", "type"],
  },
  {
    name: "list_bindings",
    description: "Bindings, those of the default exchange too.",
    path: (vhost) => `/bindings/${segment(vhost)}`,
    columns: [
      "source_name",
      "source_kind",
      "destination_name",
      "destination_kind",
      "routing_key",
      "arguments",
    ],
    aliases: { source_name: "source", destination_name: "destination", destination_kind: "destination_type" },
  },
  {
    name: "list_connections",
    description: "Connections: name, user, peer_host, state, channels, recv_oct, send_oct, …",
    path: () => "/connections",
    columns: ["user", "peer_host", "peer_port", "state"],
  },
  {
    name: "list_channels",
    description: "Channels: name, user, consumer_count, messages_unacknowledged, prefetch_count, …",
    path: () => "/channels",
    columns: ["name", "user", "consumer_count", "messages_unacknowledged"],
  },
  {
    name: "list_consumers",
    description: "Consumers of queues.",
    path: (vhost) => `/consumers/${segment(vhost)}`,
    columns: [
      "queue_name",
      "channel_name",
      "consumer_tag",
      "ack_required",
      "prefetch_count",
      "active",
      "arguments",
    ],
    aliases: { queue_name: "queue.name", channel_name: "channel_details.name" },
  },
  {
    name: "list_users",
    description: "Users and their tags.",
    path: () => "/users",
    columns: ["user", "tags"],
    aliases: { user: "name" },
  },
  {
    name: "list_vhosts",
    description: "Virtual hosts: name, description, messages, …",
    path: () => "/vhosts",
    columns: ["name"],
  },
  {
    name: "list_permissions",
    description: "Who may do what in a virtual host.",
    path: (vhost) => `/vhosts/${segment(vhost)}/permissions`,
    columns: ["user", "configure", "write", "read"],
  },
];

type Row = Readonly<Record<string, unknown>>;

/** `warren list_queues name messages_ready`, and the like. */
export function addListVerbs(program: Command): void {
  for (const verb of verbs) {
    addApiOptions(program.command(`${verb.name} [columns...]`))
      .description(verb.description)
      .action((columns: string[], flags: ApiFlags) => list(verb, columns, flags));
  }
}

function list(verb: ListVerb, wanted: readonly string[], flags: ApiFlags): Promise<void> {
  return withApi(flags, async (api) => {
    const rows = (await api.get(verb.path(flags.vhost))) as Row[];
    const columns = wanted.length > 0 ? wanted : verb.columns;
    const values = rows.map((row) =>
      columns.map((column) => valueOf(row, verb.aliases?.[column] ?? column, column)),
    );
    if (flags.json) {
      const objects = values.map((row) =>
        Object.fromEntries(columns.map((name, index) => [name, row[index]])),
      );
      console.log(JSON.stringify(objects));
    } else {
      console.log(
        formatTable(
          columns,
          values.map((row) => row.map(textOf)),
        ),
      );
    }
  });
}

function valueOf(row: Row, path: string, column: string): unknown {
  // The source of a binding always is one.
  if (column === "source_kind") return "exchange";
  let value: unknown = row;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Row)[name];
  }
  return value;
}

function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

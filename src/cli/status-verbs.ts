import type { Command } from "commander";
import { addApiOptions, withApi, type ApiFlags } from "./http-api.ts";
import { formatTable } from "./table.ts";

interface Overview {
  readonly product_name?: string;
  readonly product_version?: string;
  readonly rabbitmq_version: string;
  readonly node?: string;
  readonly object_totals: Readonly<Record<string, number>>;
  readonly queue_totals: { readonly messages_ready?: number; readonly messages_unacknowledged?: number };
  readonly listeners?: readonly {
    readonly protocol: string;
    readonly ip_address: string;
    readonly port: number;
  }[];
}

/** `warren status` and `warren ping`. */
export function addStatusVerbs(program: Command): void {
  addApiOptions(program.command("status"))
    .description("What a running broker is and holds.")
    .action((flags: ApiFlags) =>
      withApi(flags, async (api) => {
        const overview = (await api.get("/overview")) as Overview;
        console.log(flags.json ? JSON.stringify(overview) : formatStatus(overview));
      }),
    );
  addApiOptions(program.command("ping"))
    .description("Whether a broker answers, and knows the user.")
    .action((flags: ApiFlags) =>
      withApi(flags, async (api) => {
        await api.get("/whoami");
        console.log(flags.json ? JSON.stringify({ done: "ping succeeded" }) : "ping succeeded");
      }),
    );
}

function formatStatus(overview: Overview): string {
  const { product_name: product = "RabbitMQ", rabbitmq_version: rabbitmq, listeners = [] } = overview;
  const { messages_ready: ready = 0, messages_unacknowledged: unacknowledged = 0 } = overview.queue_totals;
  const { connections, channels, queues, exchanges } = overview.object_totals;
  return formatTable(
    ["", ""],
    [
      ["product", `${product} ${overview.product_version ?? ""}`],
      ["answers as", `RabbitMQ ${rabbitmq}`],
      ["node", overview.node],
      ...listeners.map(({ protocol, ip_address: address, port }) => [protocol, `${address}:${port}`]),
      ["connections", connections],
      ["channels", channels],
      ["exchanges", exchanges],
      ["queues", queues],
      ["messages", `${ready} ready, ${unacknowledged} unacknowledged`],
    ],
  ).trim();
}

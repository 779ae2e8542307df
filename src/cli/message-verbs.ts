import type { Command } from "commander";
import { addApiOptions, Refusal, segment, withApi, type ApiFlags } from "./http-api.ts";
import { formatTable } from "./table.ts";

interface PublishFlags extends ApiFlags {
  readonly exchange: string;
  readonly routingKey: string;
  readonly persistent?: boolean;
  readonly contentType?: string;
}

interface GetFlags extends ApiFlags {
  readonly count: string;
  readonly ack?: boolean;
}

interface Got {
  readonly payload: string;
  readonly exchange: string;
  readonly routing_key: string;
  readonly redelivered: boolean;
  readonly message_count: number;
}

/** `warren publish` and `warren get`: to try something out, one message at a time. */
export function addMessageVerbs(program: Command): void {
  addApiOptions(program.command("publish <payload>"))
    .description("Publish a message, and say whether any queue has got it.")
    .option("-e, --exchange <name>", "empty for the default one, which knows queues by their names", "")
    .option("-r, --routing-key <key>", "", "")
    .option("--persistent", "it survives a restart in a durable queue")
    .option("--content-type <type>", "as application/json")
    .action((payload: string, flags: PublishFlags) => publish(payload, flags));

  addApiOptions(program.command("get <queue>"))
    .description("Look at the first messages of a queue. They stay there.")
    .option("-n, --count <number>", "at most", "1")
    .option("--ack", "take them out")
    .action((queue: string, flags: GetFlags) => get(queue, flags));
}

function publish(payload: string, flags: PublishFlags): Promise<void> {
  const { exchange, routingKey, vhost, persistent, contentType, json } = flags;
  return withApi(flags, async (api) => {
    const path = `/exchanges/${segment(vhost)}/${segment(exchange === "" ? "amq.default" : exchange)}/publish`;
    const properties = { delivery_mode: persistent ? 2 : 1, content_type: contentType };
    const body = { routing_key: routingKey, properties, payload, payload_encoding: "string" };
    const answer = (await api.send("POST", path, { body, what: `exchange '${exchange}'` })) as {
      routed: boolean;
    };
    if (json) console.log(JSON.stringify(answer));
    else if (answer.routed) console.log("published");
    // Nothing was lost that anybody waits for, but a script should know.
    if (!answer.routed && !json) throw new Refusal("published, but no queue has got it");
  });
}

function get(queue: string, flags: GetFlags): Promise<void> {
  const { vhost, count, ack, json } = flags;
  return withApi(flags, async (api) => {
    if (!/^\d+$/.test(count)) throw new Refusal(`--count is '${count}'; it must be a whole number`);
    const path = `/queues/${segment(vhost)}/${segment(queue)}/get`;
    const ackmode = ack ? "ack_requeue_false" : "ack_requeue_true";
    const body = { count: Number(count), ackmode, encoding: "auto" };
    const what = `queue '${queue}' in virtual host '${vhost}'`;
    const got = (await api.send("POST", path, { body, what })) as Got[];
    console.log(json ? JSON.stringify(got) : formatMessages(got));
  });
}

function formatMessages(got: readonly Got[]): string {
  const rows = got.map((message) => [
    message.exchange,
    message.routing_key,
    message.redelivered ? "yes" : "no",
    message.message_count,
    message.payload,
  ]);
  return formatTable(["exchange", "routing_key", "redelivered", "left", "payload"], rows);
}

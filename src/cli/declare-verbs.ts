import type { Command } from "commander";
import { parseJson } from "./bus-options.ts";
import { addApiOptions, Refusal, segment, withApi, type ApiFlags } from "./http-api.ts";

interface DeclareFlags extends ApiFlags {
  readonly transient?: boolean;
  readonly autoDelete?: boolean;
  readonly internal?: boolean;
  readonly arguments?: string;
  readonly routingKey?: string;
  readonly toExchange?: boolean;
}

/** `warren declare queue|exchange|binding`. Declaring what is there is fine if it is the same. */
export function addDeclareVerbs(program: Command): void {
  const declare = program.command("declare").description("Make a queue, an exchange or a binding.");
  const command = (usage: string): Command =>
    addApiOptions(declare.command(usage)).option("--arguments <json>", 'as {"x-max-length":1000}');

  command("queue <name>")
    .option("--transient", "it does not survive a restart")
    .option("--auto-delete", "it goes with its last consumer")
    .action((name: string, flags: DeclareFlags) => {
      const body = { durable: !flags.transient, auto_delete: !!flags.autoDelete };
      return put(`/queues/${segment(flags.vhost)}/${segment(name)}`, body, flags, `queue '${name}' is there`);
    });

  command("exchange <name> <type>")
    .option("--transient", "it does not survive a restart")
    .option("--auto-delete", "it goes with its last binding")
    .option("--internal", "only other exchanges may route to it")
    .action((name: string, type: string, flags: DeclareFlags) => {
      const { transient, autoDelete, internal, vhost } = flags;
      const body = { type, durable: !transient, auto_delete: !!autoDelete, internal: !!internal };
      return put(`/exchanges/${segment(vhost)}/${segment(name)}`, body, flags, `exchange '${name}' is there`);
    });

  command("binding <source> <destination>")
    .option("-r, --routing-key <key>", "", "")
    .option("--to-exchange", "the destination is an exchange, not a queue")
    .action((source: string, destination: string, flags: DeclareFlags) => {
      const kind = flags.toExchange ? "e" : "q";
      const path = `/bindings/${segment(flags.vhost)}/e/${segment(source)}/${kind}/${segment(destination)}`;
      const body = { routing_key: flags.routingKey };
      return put(path, body, flags, `'${destination}' is bound to '${source}'`, "POST");
    });
}

function put(path: string, body: object, flags: DeclareFlags, done: string, method = "PUT"): Promise<void> {
  return withApi(flags, async (api) => {
    const table = flags.arguments === undefined ? {} : argumentsOf(flags.arguments);
    await api.send(method, path, { body: { ...body, arguments: table } });
    console.log(flags.json ? JSON.stringify({ done }) : done);
  });
}

function argumentsOf(text: string): unknown {
  try {
    return parseJson(text, "--arguments");
  } catch (error) {
    throw new Refusal((error as Error).message);
  }
}

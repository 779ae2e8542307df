/**
 * A broker as a process of its own, with the options of its first argument as JSON: says its port, answers each message
 * with its usage, reports what it logs as errors, stops in order on SIGTERM.
 */
import { startBroker, type BrokerOptions } from "../../src/broker/index.ts";
import { silentLogger } from "../../src/base/index.ts";

const logger = {
  ...silentLogger,
  error: (fields: object, message: string) =>
    process.send!({ error: `${message} ${JSON.stringify(fields)}` }),
};
const options = JSON.parse(process.argv[2] ?? "{}") as BrokerOptions;
const broker = await startBroker({ port: 0, logger, ...options });
process.on("SIGTERM", () => void broker.stop().then(() => process.exit(0)));
process.on("message", () => process.send!({ usage: broker.usage() }));
process.on("disconnect", () => process.exit(0));
process.send!({ port: broker.port });

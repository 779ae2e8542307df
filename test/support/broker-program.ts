/** A broker as a process of its own: says its port, answers each message with its usage, reports what it logs as errors. */
import { startBroker } from "../../src/broker/index.ts";
import { silentLogger } from "../../src/base/index.ts";

const logger = {
  ...silentLogger,
  error: (fields: object, message: string) =>
    process.send!({ error: `${message} ${JSON.stringify(fields)}` }),
};
const broker = await startBroker({ port: 0, logger });
process.on("message", () => process.send!({ usage: broker.usage() }));
process.on("disconnect", () => process.exit(0));
process.send!({ port: broker.port });

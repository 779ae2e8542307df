/**
 * A process that opens the data directory of its first argument, says what it is for it, and stops in order on SIGTERM. It says
 * `{role}` at first and at each change, `{error}` for what it logs as an error, and `{blocked: true}` before it blocks its
 * thread, as it is told with `{blockMs}`.
 */
import { silentLogger } from "../../../src/base/index.ts";
import { openEmbeddedBroker } from "../../../src/tasks/embedded/index.ts";

const say = (event: object): void => void process.send!(event);
const logger = {
  ...silentLogger,
  error: (fields: object, message: string) => say({ error: message, fields }),
};
const broker = await openEmbeddedBroker({ dataDir: process.argv[2], logger });
broker.onChange((role) => say({ role }));
// Nothing else keeps it: when it has stopped, the process ends by itself.
process.on("SIGTERM", () => void broker.stop().then(() => process.disconnect()));
process.on("message", ({ blockMs }: { blockMs: number }) => {
  process.send!({ blocked: true }, () => {
    const end = performance.now() + blockMs;
    while (performance.now() < end);
    say({ blocked: false });
  });
});
say({ role: broker.isServing ? "serving" : "attached" });

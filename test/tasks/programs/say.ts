import { silentLogger, type Logger } from "../../../src/base/index.ts";

/** One line of JSON on standard output, as test/support/program.ts reads them. A pipe is written at once. */
export function say(event: string, fields: object = {}): void {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** What happens to the connection and to an embedded broker, for whoever reads why a test has failed. */
export const sayingLogger: Logger = {
  ...silentLogger,
  warn: (fields, message) => say("warning", { message, fields }),
  error: (fields, message) => say("error", { message, fields }),
};

/** Nobody has use for a program whose test has ended. */
export function endWithParent(): void {
  process.stdin.on("end", () => process.exit(1)).resume();
}

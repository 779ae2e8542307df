/** The part of pino's logger that Warren calls, so that any logger of that shape can be handed in. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/**
 * JSON lines on standard output; in a terminal, lines for people (pino-pretty). pino is loaded only here, so that a
 * program that embeds a broker with a logger of its own, or none, does not pay for it (9 MB, 20 ms).
 */
export async function createLogger(level: LogLevel, pretty: boolean = process.stdout.isTTY): Promise<Logger> {
  const { pino } = await import("pino");
  if (pretty) {
    const options = { ignore: "pid,hostname", translateTime: "HH:MM:ss.l", singleLine: true };
    return plain(pino({ level, transport: { target: "pino-pretty", options } }));
  }
  // Synchronous: pino's own default flushes when the process exits, and retries for ever when nobody reads any more.
  const output = pino.destination({ fd: 1, sync: true });
  return plain(pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime }, output));
}

/** pino's type has a `then` that an async function may not return. */
function plain(logger: Logger): Logger {
  return logger;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

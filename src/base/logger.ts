import { pino } from "pino";

/** The part of pino's logger that Warren calls, so that any logger of that shape can be handed in. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** JSON lines on standard output; in a terminal, lines for people (pino-pretty). */
export function createLogger(level: LogLevel, pretty: boolean = process.stdout.isTTY === true): Logger {
  if (!pretty) return pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime });
  const target = { target: "pino-pretty", options: { ignore: "pid,hostname", translateTime: "HH:MM:ss.l" } };
  return pino({ level, transport: target });
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

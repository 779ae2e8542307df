import { readFileSync } from "node:fs";

/** What `warren serve` can be told. */
export interface ServeSettings {
  port: number;
  httpPort: number;
  host: string;
  /** A unix socket to listen on, too. */
  socket: string | undefined;
  /** Where durable things are kept, unless `memory` is set. */
  data: string;
  user: string;
  password: string;
  memory: boolean;
  /** In bytes; undefined leaves the broker's default. */
  memoryLimit: number | undefined;
  diskFreeLimit: number | undefined;
  /** In milliseconds; 0 is for ever. */
  consumerTimeout: number;
  compat: "3" | "4";
  logLevel: "debug" | "info" | "warn" | "error" | "silent";
}

/** What a flag or a key of the configuration file may hold. */
type Given = string | number | boolean | undefined;
type Parser = (text: string, origin: string) => string | number | boolean;

interface Setting {
  readonly name: keyof ServeSettings;
  readonly flag: string;
  /** Looked at in this order. */
  readonly environment: readonly string[];
  readonly description: string;
  readonly fallback: ServeSettings[keyof ServeSettings];
  readonly parse: Parser;
}

const text: Parser = (value) => value;

export const settings: readonly Setting[] = [
  setting("port", "--port <number>", "AMQP port; 0 takes any free one", 5672, port),
  setting("httpPort", "--http-port <number>", "HTTP port; 0 takes any free one", 15_672, port),
  setting("host", "--host <address>", "address to listen on", "127.0.0.1", text),
  setting("socket", "--socket <path>", "unix socket to listen on, too", undefined, text),
  setting("data", "--data <dir>", "data directory", "warren-data", text),
  setting("user", "--user <name>", "who can always log in", "guest", text, "RABBITMQ_DEFAULT_USER"),
  setting("password", "--password <text>", "and its password", "guest", text, "RABBITMQ_DEFAULT_PASS"),
  setting("memory", "--memory", "keep everything in memory: nothing survives a restart", false, flag),
  setting("memoryLimit", "--memory-limit <size>", "of messages; publishers wait beyond", undefined, size),
  setting("diskFreeLimit", "--disk-free-limit <size>", "publishers wait below", undefined, size),
  setting(
    "consumerTimeout",
    "--consumer-timeout <ms>",
    "to acknowledge; 0 is for ever",
    1_800_000,
    milliseconds,
  ),
  setting("compat", "--compat <version>", "the RabbitMQ whose rules hold, 3 or 4", "3", version),
  setting("logLevel", "--log-level <level>", "debug, info, warn, error or silent", "info", logLevel),
];

/**
 * Settles each setting: from the command line, else the environment, else the configuration file, else the default.
 * @throws Error that names the flag, variable or file and key with a value that makes no sense.
 */
export function resolveSettings(
  flags: Readonly<Record<string, Given>>,
  environment: Readonly<Record<string, string | undefined>>,
  configFile: string | undefined,
): ServeSettings {
  const config = configFile === undefined ? {} : readConfig(configFile);
  const resolved = settings.map(({ name, flag: flagText, environment: variables, parse, fallback }) => {
    if (flags[name] !== undefined) return [name, parse(String(flags[name]), flagText.split(" ")[0])];
    const variable = variables.find((candidate) => environment[candidate] !== undefined);
    if (variable !== undefined) return [name, parse(environment[variable]!, variable)];
    if (config[name] !== undefined) return [name, parse(String(config[name]), `${configFile}: ${name}`)];
    return [name, fallback];
  });
  return Object.fromEntries(resolved) as ServeSettings;
}

function setting(
  name: keyof ServeSettings,
  flagText: string,
  description: string,
  fallback: ServeSettings[keyof ServeSettings],
  parse: Parser,
  ...alsoKnownAs: string[]
): Setting {
  const variable = `WARREN_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
  return { name, flag: flagText, environment: [variable, ...alsoKnownAs], description, fallback, parse };
}

/** A JSON object with the settings' names as keys. */
function readConfig(file: string): Record<string, Given> {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`Cannot read the configuration file ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  let config: unknown;
  try {
    config = JSON.parse(content);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Error(`${file} must hold a JSON object, such as {"port": 5672}`);
  }
  const known = settings.map(({ name }) => name as string);
  const unknown = Object.keys(config).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new Error(`${file}: unknown setting "${unknown}". Known are ${known.join(", ")}.`);
  }
  return config as Record<string, Given>;
}

function port(value: string, origin: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isInteger(number) || number < 0 || number > 65_535) {
    throw new Error(`${origin}: '${value}' is not a port; give a number from 0 to 65535`);
  }
  return number;
}

/** A number of bytes, or of a unit that stands behind it. */
function size(value: string, origin: string): number {
  const [, digits, unit] = /^(\d+)\s*([kmg]i?b|b)?$/i.exec(value.trim()) ?? [];
  if (digits === undefined) {
    throw new Error(
      `${origin}: '${value}' is not a size; give a number of bytes, or one with a unit: 512MB, 2GiB`,
    );
  }
  const [scale = "b", binary] = (unit ?? "b").toLowerCase();
  return Number(digits) * (binary === "i" ? 1024 : 1000) ** "bkmg".indexOf(scale);
}

function milliseconds(value: string, origin: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new Error(`${origin}: '${value}' is not a number of milliseconds; give one, such as 60000`);
}

function version(value: string, origin: string): string {
  if (value === "3" || value === "4") return value;
  throw new Error(`${origin}: '${value}' is no version; give 3 or 4`);
}

function flag(value: string, origin: string): boolean {
  if (["true", "1", "yes"].includes(value)) return true;
  if (["false", "0", "no", ""].includes(value)) return false;
  throw new Error(`${origin}: '${value}' is neither true nor false`);
}

function logLevel(value: string, origin: string): string {
  const levels = ["debug", "info", "warn", "error", "silent"];
  if (levels.includes(value)) return value;
  throw new Error(`${origin}: '${value}' is not a log level; give one of ${levels.join(", ")}`);
}

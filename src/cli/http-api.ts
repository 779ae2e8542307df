import { Option, type Command } from "commander";

/** Flags that say which broker's management API is meant, and how its answers are shown. */
export interface ApiFlags {
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
  readonly vhost: string;
  readonly json?: boolean;
}

const defaultUrl = "http://127.0.0.1:15672";
const timeoutMs = 30_000;
/** As rabbitmqctl ends when there is nobody (EX_UNAVAILABLE). */
const unreachableCode = 69;

export function addApiOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--url <url>", "the broker's HTTP address").env("WARREN_HTTP_URL").default(defaultUrl),
    )
    .addOption(new Option("--user <name>", "guest, if the URL names nobody").env("WARREN_USER"))
    .addOption(new Option("--password <text>", "guest").env("WARREN_PASSWORD"))
    .option("-p, --vhost <name>", "virtual host", "/")
    .option("--json", "for programs");
}

interface ApiBody {
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the path names, for who is told that it is not there. */
  readonly what?: string;
}

/** What the broker, or we, have against it. */
export class Refusal extends Error {}
class Unreachable extends Error {}

/** The management API of a Warren or a RabbitMQ. */
export class HttpApi {
  private readonly base: string;
  private readonly authorization: string;

  constructor({ url, user, password }: ApiFlags) {
    const parsed = parseUrl(url);
    const name = user ?? (decodeURIComponent(parsed.username) || "guest");
    const secret = password ?? (decodeURIComponent(parsed.password) || "guest");
    this.authorization = `Basic ${Buffer.from(`${name}:${secret}`).toString("base64")}`;
    this.base = parsed.origin + parsed.pathname.replace(/\/+$/, "");
  }

  get(path: string): Promise<unknown> {
    return this.send("GET", path);
  }

  /** Whether there is something at a path. */
  async has(path: string): Promise<boolean> {
    const { status } = await this.request("GET", path, {});
    return status !== 404;
  }

  async send(method: string, path: string, request: ApiBody = {}): Promise<unknown> {
    const { status, text } = await this.request(method, path, request);
    if (status < 300) return text === "" ? undefined : JSON.parse(text);
    throw new Refusal(refusalOf(status, text, request.what));
  }

  private async request(
    method: string,
    path: string,
    { body, headers }: ApiBody,
  ): Promise<{ status: number; text: string }> {
    const { authorization } = this;
    try {
      const response = await fetch(`${this.base}/api${path}`, {
        method,
        headers: { authorization, "content-type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { status: response.status, text: await response.text() };
    } catch (error) {
      const { cause, message } = error as Error;
      throw new Unreachable(`Nobody answers at ${this.base}: ${cause ? (cause as Error).message : message}`);
    }
  }
}

function parseUrl(url: string): URL {
  if (URL.canParse(url) && /^https?:/.test(url)) return new URL(url);
  throw new Refusal(`'${url}' is not an HTTP address, as ${defaultUrl} is`);
}

function refusalOf(status: number, text: string, what: string | undefined): string {
  if (status === 404 && what !== undefined) return `there is no ${what}`;
  let reason: unknown;
  try {
    ({ reason } = JSON.parse(text) as { reason?: unknown });
  } catch {
    reason = text;
  }
  const shown = typeof reason === "string" ? reason.trim() : JSON.stringify(reason);
  return shown === "" || shown === undefined ? `the broker answered ${status}` : shown;
}

/** Runs a command; what is said against it goes to standard error, and the exit code tells. */
export async function withApi(flags: ApiFlags, work: (api: HttpApi) => Promise<void>): Promise<void> {
  try {
    await work(new HttpApi(flags));
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof Unreachable)) throw error;
    process.stderr.write(`Error: ${error.message}\n`);
    process.exitCode = error instanceof Unreachable ? unreachableCode : 1;
  }
}

/** A part of a path. */
export function segment(name: string): string {
  return encodeURIComponent(name);
}

/** A Warren and a RabbitMQ, each with its management API, that are asked the same and must answer the same. */
import { connect, type Channel, type ChannelModel } from "amqplib";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { silentLogger } from "../../src/base/index.ts";
import { startBroker } from "../../src/broker/index.ts";
import { startManagement } from "../../src/management/index.ts";
import { selectedBrokers, type BrokerName } from "../support/broker-selection.ts";
import { startRabbitmq } from "../support/rabbitmq.ts";

export interface Side {
  readonly name: BrokerName;
  readonly url: string;
  readonly amqpUrl: string;
  /** What the broker's one node is called. */
  node: string;
  stop(): Promise<void>;
}

export interface Asked {
  readonly method?: string;
  readonly body?: unknown;
  /** Instead of JSON of `body`. */
  readonly text?: string;
  readonly user?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly status: number;
  readonly body: unknown;
}

let sides: Side[] = [];

/** Call once in a test file. Without a RabbitMQ on this machine only Warren is asked. */
export function startTwoBrokers(): void {
  beforeAll(async () => {
    sides = await Promise.all([
      startWarren(),
      ...(selectedBrokers.includes("rabbitmq") ? [startRabbit()] : []),
    ]);
    for (const side of sides) {
      const { body } = await ask(side, "/api/overview");
      side.node = (body as { node: string }).node;
    }
  });
  afterAll(() => Promise.all(sides.map((side) => side.stop())));
}

async function startWarren(): Promise<Side> {
  const broker = await startBroker({ port: 0 });
  const management = await startManagement({ port: 0, host: "127.0.0.1", broker, logger: silentLogger });
  return {
    name: "warren",
    url: management.url,
    amqpUrl: broker.url,
    node: "",
    async stop() {
      await management.stop();
      await broker.stop();
    },
  };
}

async function startRabbit(): Promise<Side> {
  const rabbitmq = await startRabbitmq({ withManagement: true });
  return {
    name: "rabbitmq",
    url: rabbitmq.managementUrl!,
    amqpUrl: rabbitmq.url,
    node: "",
    stop: () => rabbitmq.stop(),
  };
}

export async function ask(side: Side, path: string, asked: Asked = {}): Promise<Answered> {
  const { method = "GET", body, user = "guest:guest", headers = {} } = asked;
  const text = asked.text ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(`${side.url}${path}`, {
    method,
    headers: {
      "content-type": "application/json",
      authorization: `Basic ${Buffer.from(user).toString("base64")}`,
      ...headers,
    },
    ...(text !== undefined && { body: text }),
  });
  const answer = await response.text();
  return { status: response.status, body: answer === "" ? undefined : JSON.parse(answer) };
}

/** Both answer the same, status and body. What is looked at only gets the time that statistics take. */
export async function same(path: string, asked: Asked = {}): Promise<Answered> {
  return compare(path, asked, (answer) => answer);
}

/**
 * Both answer with the same status and fields of the same types. `absent` are the fields of RabbitMQ's that Warren is meant
 * to leave out, `own` those that it adds, by their paths.
 */
export async function sameShape(
  path: string,
  differences: { absent?: readonly string[]; own?: readonly string[] } = {},
  asked: Asked = {},
): Promise<Answered> {
  const { absent = [], own = [] } = differences;
  return compare(path, asked, ({ status, body }, { name }) => {
    const without = new Set(name === "warren" ? own : absent);
    return { status, body: Object.fromEntries([...fieldsOf(body)].filter(([field]) => !without.has(field))) };
  });
}

async function compare(
  path: string,
  asked: Asked,
  view: (answer: Answered, side: Side) => unknown,
): Promise<Answered> {
  const [warren, rabbitmq] = sides;
  const look = async (side: Side): Promise<{ answer: Answered; seen: unknown }> => {
    const answer = neutral(await ask(side, path, asked), side);
    return { answer, seen: view(answer, side) };
  };
  const once = async (): Promise<Answered> => {
    const ours = await look(warren);
    if (rabbitmq) expect(ours.seen).toEqual((await look(rabbitmq)).seen);
    return ours.answer;
  };
  const changes = (asked.method ?? "GET") !== "GET";
  return changes ? once() : vi.waitFor(once, { timeout: 10_000, interval: 50 });
}

/** Does the same at both over AMQP; what they leave open is closed at the test's end. */
export async function atBoth(
  work: (channel: Channel, connection: ChannelModel, side: Side) => Promise<void>,
): Promise<AsyncDisposable> {
  const connections = await Promise.all(
    sides.map(async (side) => {
      const connection = await connect(side.amqpUrl, { clientProperties: { connection_name: "compared" } });
      connection.on("error", () => {});
      const channel = await connection.createChannel();
      channel.on("error", () => {});
      await work(channel, connection, side);
      return connection;
    }),
  );
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.map((connection) => connection.close().catch(() => {})));
    },
  };
}

export function eachSide(): readonly Side[] {
  return sides;
}

/** The node's name and ports are the broker's own. */
function neutral({ status, body }: Answered, { node, amqpUrl }: Side): Answered {
  if (body === undefined) return { status, body };
  const { port } = new URL(amqpUrl);
  const text = JSON.stringify(body)
    .replaceAll(JSON.stringify(node).slice(1, -1), "NODE")
    .replaceAll(new RegExp(`(127\\.0\\.0\\.1:)\\d+( -> 127\\.0\\.0\\.1:)${port}`, "g"), "$1PEER$2PORT")
    .replaceAll(`"port":${port}`, '"port":"PORT"')
    .replaceAll(/"peer_port":\d+/g, '"peer_port":"PEER"');
  return { status, body: JSON.parse(text) as unknown };
}

/** All fields by their paths, with their types; of a list the fields of any of its items. */
function fieldsOf(value: unknown, path = ""): Map<string, string> {
  const fields = new Map<string, string>();
  if (Array.isArray(value)) {
    fields.set(path, "list");
    for (const item of value) for (const [name, type] of fieldsOf(item, `${path}[]`)) fields.set(name, type);
  } else if (typeof value === "object" && value !== null) {
    fields.set(path, "object");
    for (const [name, item] of Object.entries(value))
      for (const [deeper, type] of fieldsOf(item, path === "" ? name : `${path}.${name}`))
        fields.set(deeper, type);
  } else {
    fields.set(path, value === null ? "null" : typeof value);
  }
  return fields;
}

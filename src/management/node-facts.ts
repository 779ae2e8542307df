import { hostname } from "node:os";
import { createRequire } from "node:module";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

/** What the one node of this broker says of itself. */
export interface NodeFacts {
  /** As RabbitMQ names nodes. */
  readonly name: string;
  readonly version: string;
  /** The RabbitMQ whose API this is. */
  readonly rabbitmqVersion: string;
  readonly amqp: Listener;
  readonly http: Listener;
}

interface Listener {
  readonly address: string;
  readonly port: number;
}

export function nodeFacts(amqp: Listener, http: Listener): NodeFacts {
  return { name: `warren@${hostname()}`, version, rabbitmqVersion: "3.10.8", amqp, http };
}

/** Names of agents become parts of queues' and keys' names: lower case, spaces as `_`. "Agent A" is `agent_a`. */
export function normalised(name: string): string {
  return name.trim().toLowerCase().replaceAll(/\s+/g, "_");
}

/** Two agents of one name, as queues see it. */
export function isSameAgent(a: string, b: string): boolean {
  return normalised(a) === normalised(b);
}

/** `agent_{name}_queue` */
export function queueName(agent: string): string {
  return `agent_${normalised(agent)}_queue`;
}

/** `agent.{name}` */
export function routingKey(agent: string): string {
  return `agent.${normalised(agent)}`;
}

/** `topic.{name}` */
export function topicKey(topic: string): string {
  return `topic.${normalised(topic)}`;
}

/** @throws TypeError when it cannot be part of a routing key */
export function assertName(what: string, name: string): void {
  if (/^[^\s.*#][^.*#]*$/.test(name) && Buffer.byteLength(name) <= 120) return;
  throw new TypeError(
    `'${name}' cannot be the name of ${what}: 1 to 120 bytes, neither ., * nor #, and no space before it`,
  );
}

import { fieldText, ReplyCode, type FieldTable } from "../../wire/index.ts";
import { ChannelError } from "../errors.ts";
import type { AccessRules, Permission } from "./access-rules.ts";

type ResourceKind = "queue" | "exchange";

/**
 * What a user may do in a virtual host: asserted before each operation, in RabbitMQ's order and words. A change counts from
 * the next assertion on. https://www.rabbitmq.com/docs/access-control#authorisation
 */
export class Permissions {
  private readonly rules: AccessRules;
  private readonly user: string;
  private readonly vhost: string;
  private permission: Permission | undefined;
  private version = -1;

  constructor(rules: AccessRules, user: string, vhost: string) {
    this.rules = rules;
    this.user = user;
    this.vhost = vhost;
  }

  /** @throws ChannelError 403 */
  assertConfigure(kind: ResourceKind, name: string): void {
    if (!this.current()?.configure.matches(nameOf(kind, name))) throw this.refused(kind, name);
  }

  /** @throws ChannelError 403 */
  assertWrite(kind: ResourceKind, name: string): void {
    if (!this.current()?.write.matches(nameOf(kind, name))) throw this.refused(kind, name);
  }

  /** @throws ChannelError 403 */
  assertRead(kind: ResourceKind, name: string): void {
    if (!this.current()?.read.matches(nameOf(kind, name))) throw this.refused(kind, name);
  }

  /** What dead-letters reads from the queue and writes to the exchange that it names. @throws ChannelError 403 */
  assertDeadLetters(queue: string, table: FieldTable): void {
    this.assertForwarding("queue", queue, table, "x-dead-letter-exchange");
  }

  /** The same for what an exchange cannot route. @throws ChannelError 403 */
  assertAlternate(exchange: string, table: FieldTable): void {
    this.assertForwarding("exchange", exchange, table, "alternate-exchange");
  }

  /** May messages be published to this topic exchange with this routing key? @throws ChannelError 403 */
  assertWriteTopic(exchange: string, routingKey: string): void {
    const topic = this.rules.topicPermission(this.user, this.vhost, exchange);
    if (topic && !topic.write.matches(routingKey)) throw this.refusedTopic(exchange, routingKey);
  }

  /** May something be bound to this topic exchange with this routing key? @throws ChannelError 403 */
  assertReadTopic(exchange: string, routingKey: string): void {
    const topic = this.rules.topicPermission(this.user, this.vhost, exchange);
    if (topic && !topic.read.matches(routingKey)) throw this.refusedTopic(exchange, routingKey);
  }

  private assertForwarding(kind: ResourceKind, name: string, table: FieldTable, argument: string): void {
    const target = table.get(argument);
    if (target?.type !== "longstr") return;
    this.assertRead(kind, name);
    this.assertWrite("exchange", fieldText(target));
  }

  private current(): Permission | undefined {
    if (this.version !== this.rules.version) {
      this.version = this.rules.version;
      this.permission = this.rules.permission(this.user, this.vhost);
    }
    return this.permission;
  }

  private refused(kind: ResourceKind, name: string): ChannelError {
    return new ChannelError(
      ReplyCode.AccessRefused,
      `access to ${kind} '${nameOf(kind, name)}' in vhost '${this.vhost}' refused for user '${this.user}'`,
    );
  }

  private refusedTopic(exchange: string, routingKey: string): ChannelError {
    return new ChannelError(
      ReplyCode.AccessRefused,
      `access to topic '${routingKey}' in exchange '${exchange}' in vhost '${this.vhost}' refused for user '${this.user}'`,
    );
  }
}

/** Permissions know the default exchange by a name of its own. */
function nameOf(kind: ResourceKind, name: string): string {
  return kind === "exchange" && name === "" ? "amq.default" : name;
}

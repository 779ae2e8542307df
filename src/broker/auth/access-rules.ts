import { recordKey, recordsOf, type AccessRecords } from "./access-records.ts";
import { NamePattern, topicPattern } from "./name-pattern.ts";

/** The names of queues and exchanges that a user may configure, write to and read from, as regular expressions. */
export interface PermissionPatterns {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** The routing keys that a user may publish with and bind with, as regular expressions. */
export interface TopicPatterns {
  readonly write: string;
  readonly read: string;
}

export interface Permission {
  readonly user: string;
  readonly vhost: string;
  readonly configure: NamePattern;
  readonly write: NamePattern;
  readonly read: NamePattern;
}

export interface TopicPermission {
  readonly user: string;
  readonly vhost: string;
  readonly exchange: string;
  readonly write: NamePattern;
  readonly read: NamePattern;
}

/** Who may do what in which virtual host. */
export class AccessRules {
  /** Grows with every change. */
  version = 0;
  private readonly records: AccessRecords;
  private readonly permissions = new Map<string, Permission>();
  private readonly topicPermissions = new Map<string, TopicPermission>();
  /** May do everything in the virtual host `/`, whatever is written down. */
  private readonly owner: string | undefined;

  constructor(records: AccessRecords, stored: ReadonlyMap<string, string>, owner: string | undefined) {
    this.records = records;
    this.owner = owner;
    for (const { key, value } of recordsOf("permission", stored)) {
      const [vhost, user] = key;
      this.permissions.set(permissionKey(user, vhost), compiled(user, vhost, value as PermissionPatterns));
    }
    for (const { key, value } of recordsOf("topic-permission", stored)) {
      const [vhost, user, exchange] = key;
      const permission = compiledTopic(user, vhost, exchange, value as TopicPatterns);
      this.topicPermissions.set(topicKey(user, vhost, exchange), permission);
    }
  }

  /** Undefined for a user who has none and may not open the virtual host. */
  permission(user: string, vhost: string): Permission | undefined {
    if (this.isOwnerAt(user, vhost)) return compiled(user, vhost, everything);
    return this.permissions.get(permissionKey(user, vhost));
  }

  /** Undefined when all routing keys are permitted. */
  topicPermission(user: string, vhost: string, exchange: string): TopicPermission | undefined {
    // Asked for each new routing key, and hardly any broker has one.
    if (this.topicPermissions.size === 0 || this.isOwnerAt(user, vhost)) return undefined;
    return this.topicPermissions.get(topicKey(user, vhost, exchange));
  }

  get allPermissions(): Iterable<Permission> {
    return this.permissions.values();
  }

  get allTopicPermissions(): Iterable<TopicPermission> {
    return this.topicPermissions.values();
  }

  /** @throws Error for what is not a regular expression. */
  setPermission(user: string, vhost: string, patterns: PermissionPatterns): void {
    const { configure, write, read } = patterns;
    this.permissions.set(permissionKey(user, vhost), compiled(user, vhost, patterns));
    this.records.put(permissionKey(user, vhost), JSON.stringify({ configure, write, read }));
    this.version++;
  }

  clearPermission(user: string, vhost: string): void {
    this.permissions.delete(permissionKey(user, vhost));
    this.records.delete(permissionKey(user, vhost));
    this.version++;
  }

  /** @throws Error for what is not a regular expression. */
  setTopicPermission(user: string, vhost: string, exchange: string, patterns: TopicPatterns): void {
    const key = topicKey(user, vhost, exchange);
    const { write, read } = patterns;
    this.topicPermissions.set(key, compiledTopic(user, vhost, exchange, patterns));
    this.records.put(key, JSON.stringify({ write, read }));
    this.version++;
  }

  clearTopicPermission(user: string, vhost: string, exchange: string): void {
    this.topicPermissions.delete(topicKey(user, vhost, exchange));
    this.records.delete(topicKey(user, vhost, exchange));
    this.version++;
  }

  forgetUser(name: string): void {
    this.forget(({ user }) => user === name);
  }

  forgetVhost(name: string): void {
    this.forget(({ vhost }) => vhost === name);
  }

  private isOwnerAt(user: string, vhost: string): boolean {
    return user === this.owner && vhost === "/";
  }

  private forget(isGone: (of: { user: string; vhost: string }) => boolean): void {
    for (const permission of this.permissions.values()) {
      if (isGone(permission)) this.clearPermission(permission.user, permission.vhost);
    }
    for (const permission of this.topicPermissions.values()) {
      if (!isGone(permission)) continue;
      this.clearTopicPermission(permission.user, permission.vhost, permission.exchange);
    }
  }
}

const everything: PermissionPatterns = { configure: ".*", write: ".*", read: ".*" };

function compiled(user: string, vhost: string, patterns: PermissionPatterns): Permission {
  return {
    user,
    vhost,
    configure: new NamePattern(patterns.configure),
    write: new NamePattern(patterns.write),
    read: new NamePattern(patterns.read),
  };
}

function compiledTopic(
  user: string,
  vhost: string,
  exchange: string,
  patterns: TopicPatterns,
): TopicPermission {
  const write = topicPattern(patterns.write, user, vhost);
  return { user, vhost, exchange, write, read: topicPattern(patterns.read, user, vhost) };
}

function permissionKey(user: string, vhost: string): string {
  return recordKey("permission", vhost, user);
}

function topicKey(user: string, vhost: string, exchange: string): string {
  return recordKey("topic-permission", vhost, user, exchange);
}

import type { HashingAlgorithm, PermissionPatterns, TopicPatterns, UserLimits } from "./auth/index.ts";
import type { VirtualHostLimits } from "./virtual-host.ts";

/**
 * Users, permissions, virtual hosts and limits of a running broker, in rabbitmqctl's words. What is changed is on the disk
 * when the promise resolves, and counts from then on for connections that are open, too.
 *
 * All reject with an Error that says what is wrong, and change nothing then. A virtual host that is left out is `/`.
 */
export interface BrokerAdmin {
  /** The password is kept as an argon2id hash. Rejects when there is a user of that name. */
  addUser(name: string, password: string, options?: { tags?: readonly string[] }): Promise<void>;
  /** Adds a user whose password is known by its hash only, or puts it into the place of the one of its name. */
  importUser(name: string, user: ImportedUser): Promise<void>;
  /** Connections that are open stay open. */
  changePassword(name: string, password: string): Promise<void>;
  /** Deletes the user with its permissions, and closes its connections: 320 CONNECTION_FORCED. */
  deleteUser(name: string): Promise<void>;
  /** Instead of those that it has: `administrator`, `management`, … */
  setUserTags(name: string, tags: readonly string[]): Promise<void>;
  listUsers(): readonly UserInfo[];

  /**
   * The names of queues and exchanges that the user may configure, write to and read from, each a regular expression that
   * is found in the name: `.*` permits all, an empty one nothing. The default exchange is called `amq.default`.
   * https://www.rabbitmq.com/docs/access-control#authorisation
   */
  setPermissions(user: string, permissions: PermissionPatterns & InVirtualHost): Promise<void>;
  /** The user may not open the virtual host any more. Connections that are open stay, but may do nothing. */
  clearPermissions(user: string, options?: InVirtualHost): Promise<void>;
  listPermissions(): readonly PermissionInfo[];

  /**
   * The routing keys that the user may publish to this topic exchange with, and bind with. `{username}` and `{vhost}`
   * stand for their names. https://www.rabbitmq.com/docs/access-control#topic-authorisation
   */
  setTopicPermissions(
    user: string,
    permissions: TopicPatterns & InVirtualHost & { exchange: string },
  ): Promise<void>;
  /** Of all exchanges in the virtual host, unless one is named: every routing key is permitted again. */
  clearTopicPermissions(user: string, options?: InVirtualHost & { exchange?: string }): Promise<void>;
  listTopicPermissions(): readonly TopicPermissionInfo[];

  /** One that exists already gets the description and tags, if they are given. Nobody has permissions in a new one. */
  addVhost(name: string, options?: VirtualHostDescription): Promise<void>;
  /** Deletes it with all that is in it, and closes its connections: 320 CONNECTION_FORCED. Not the one called `/`. */
  deleteVhost(name: string): Promise<void>;
  listVhosts(): readonly VirtualHostInfo[];

  /** Instead of those that it has. Connections and queues that are there stay. −1 is no limit. */
  setVhostLimits(vhost: string, limits: VirtualHostLimits): Promise<void>;
  clearVhostLimits(vhost: string): Promise<void>;
  /** Beside those that it has, as rabbitmqctl does it. Connections and channels that are open stay. −1 is no limit. */
  setUserLimits(user: string, limits: UserLimits): Promise<void>;
  clearUserLimits(user: string): Promise<void>;

  /** By its name, as {@link BrokerInspection} shows it: 320 CONNECTION_FORCED with the reason. False when there is none. */
  closeConnection(name: string, reason: string): boolean;
  /** All of a user. Says how many there were. */
  closeConnectionsOf(user: string, reason: string): number;
}

/** For people. */
export interface VirtualHostDescription {
  readonly description?: string;
  readonly tags?: readonly string[];
}

/** As RabbitMQ exports a user in its definitions, with the names in JavaScript's spelling. */
export interface ImportedUser {
  /** Base64 of four bytes of salt and the hash, https://www.rabbitmq.com/docs/passwords; or Argon2's text form. */
  readonly passwordHash: string;
  readonly hashingAlgorithm: HashingAlgorithm;
  readonly tags?: readonly string[];
}

interface InVirtualHost {
  readonly vhost?: string;
}

export interface UserInfo {
  readonly name: string;
  readonly tags: readonly string[];
  readonly limits: UserLimits;
}

export interface VirtualHostInfo extends Required<VirtualHostDescription> {
  readonly name: string;
  readonly limits: VirtualHostLimits;
}

export interface PermissionInfo extends PermissionPatterns {
  readonly user: string;
  readonly vhost: string;
}

export interface TopicPermissionInfo extends TopicPatterns {
  readonly user: string;
  readonly vhost: string;
  readonly exchange: string;
}

import { ReplyCode } from "../wire/index.ts";
import type {
  BrokerAdmin,
  ImportedUser,
  PermissionInfo,
  TopicPermissionInfo,
  UserInfo,
  VirtualHostDescription,
  VirtualHostInfo,
} from "./admin.ts";
import {
  assertPasswordHash,
  type AccessRules,
  type PermissionPatterns,
  type TopicPatterns,
  type User,
  type UserLimits,
  type Users,
} from "./auth/index.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { VirtualHost, VirtualHostLimits } from "./virtual-host.ts";
import type { VirtualHosts } from "./virtual-hosts.ts";

export interface AdministrationParts {
  readonly users: Users;
  readonly rules: AccessRules;
  readonly virtualHosts: VirtualHosts;
  readonly connections: OpenConnections;
  /** Comes back when all that was written down until now is on the disk. */
  readonly flush: () => Promise<void>;
}

export class Administration implements BrokerAdmin {
  private readonly users: Users;
  private readonly rules: AccessRules;
  private readonly virtualHosts: VirtualHosts;
  private readonly connections: OpenConnections;
  private readonly flush: () => Promise<void>;
  private isStopped = false;

  constructor({ users, rules, virtualHosts, connections, flush }: AdministrationParts) {
    this.users = users;
    this.rules = rules;
    this.virtualHosts = virtualHosts;
    this.connections = connections;
    this.flush = flush;
  }

  /** From now on every change is refused. */
  stop(): void {
    this.isStopped = true;
  }

  async addUser(name: string, password: string, options: { tags?: readonly string[] } = {}): Promise<void> {
    this.assertNewUser(name);
    assertTags(options.tags ?? []);
    assertPassword(password);
    const hash = await this.users.hashPassword(password);
    this.assertNewUser(name);
    this.rules.forgetUser(name);
    this.users.put({ name, tags: options.tags ?? [], limits: {}, password: hash });
    await this.committed();
  }

  async importUser(name: string, imported: ImportedUser): Promise<void> {
    assertName("user", name);
    this.assertNotOwner(name);
    const { passwordHash: hash, hashingAlgorithm: algorithm, tags = [] } = imported;
    assertTags(tags);
    assertPasswordHash(algorithm, hash);
    const limits = this.users.get(name)?.limits;
    if (!limits) this.rules.forgetUser(name);
    this.users.put({ name, tags, limits: limits ?? {}, password: { algorithm, hash } });
    await this.committed();
  }

  async changePassword(name: string, password: string): Promise<void> {
    this.changeable(name);
    assertPassword(password);
    const hash = await this.users.hashPassword(password);
    this.users.put({ ...this.changeable(name), password: hash });
    await this.committed();
  }

  async deleteUser(name: string): Promise<void> {
    this.changeable(name);
    this.users.delete(name);
    this.rules.forgetUser(name);
    for (const connection of this.connections.ofUser(name)) {
      connection.close(ReplyCode.ConnectionForced, `user '${name}' is deleted`);
    }
    await this.committed();
  }

  async setUserTags(name: string, tags: readonly string[]): Promise<void> {
    assertTags(tags);
    this.users.put({ ...this.changeable(name), tags });
    await this.committed();
  }

  listUsers(): readonly UserInfo[] {
    return [...this.users.all].map(({ name, tags, limits }) => ({ name, tags, limits }));
  }

  async setPermissions(user: string, permissions: PermissionPatterns & { vhost?: string }): Promise<void> {
    const vhost = this.vhostFor(user, permissions.vhost);
    this.rules.setPermission(user, vhost.name, permissions);
    await this.rulesCommitted(vhost);
  }

  async clearPermissions(user: string, options: { vhost?: string } = {}): Promise<void> {
    const vhost = this.vhostFor(user, options.vhost);
    this.rules.clearPermission(user, vhost.name);
    await this.rulesCommitted(vhost);
  }

  listPermissions(): readonly PermissionInfo[] {
    return [...this.rules.allPermissions].map(({ user, vhost, configure, write, read }) => ({
      user,
      vhost,
      configure: configure.text,
      write: write.text,
      read: read.text,
    }));
  }

  async setTopicPermissions(
    user: string,
    permissions: TopicPatterns & { vhost?: string; exchange: string },
  ): Promise<void> {
    const vhost = this.vhostFor(user, permissions.vhost);
    this.rules.setTopicPermission(user, vhost.name, permissions.exchange, permissions);
    await this.rulesCommitted(vhost);
  }

  async clearTopicPermissions(
    user: string,
    options: { vhost?: string; exchange?: string } = {},
  ): Promise<void> {
    const vhost = this.vhostFor(user, options.vhost);
    for (const permission of this.rules.allTopicPermissions) {
      if (permission.user !== user || permission.vhost !== vhost.name) continue;
      const { exchange } = permission;
      if (exchange !== (options.exchange ?? exchange)) continue;
      this.rules.clearTopicPermission(user, vhost.name, exchange);
    }
    await this.rulesCommitted(vhost);
  }

  listTopicPermissions(): readonly TopicPermissionInfo[] {
    return [...this.rules.allTopicPermissions].map(({ user, vhost, exchange, write, read }) => ({
      user,
      vhost,
      exchange,
      write: write.text,
      read: read.text,
    }));
  }

  async addVhost(name: string, options: VirtualHostDescription = {}): Promise<void> {
    assertName("virtual host", name);
    this.assertRunning();
    this.virtualHosts.add(name, options);
    await this.committed();
  }

  async deleteVhost(name: string): Promise<void> {
    this.vhost(name);
    if (name === "/") throw new Error("the virtual host '/' cannot be deleted: it is the broker's own");
    this.virtualHosts.delete(name);
    this.rules.forgetVhost(name);
    for (const connection of this.connections.ofVhost(name)) {
      connection.close(ReplyCode.ConnectionForced, `vhost '${name}' is deleted`);
    }
    await this.committed();
  }

  listVhosts(): readonly VirtualHostInfo[] {
    return this.virtualHosts.all.map(({ name, limits, description, tags }) => ({
      name,
      limits,
      description,
      tags,
    }));
  }

  async setVhostLimits(vhost: string, limits: VirtualHostLimits): Promise<void> {
    this.vhost(vhost);
    this.virtualHosts.setLimits(vhost, checkedLimits(limits, ["maxConnections", "maxQueues"]));
    await this.committed();
  }

  async clearVhostLimits(vhost: string): Promise<void> {
    await this.setVhostLimits(vhost, {});
  }

  async setUserLimits(name: string, limits: UserLimits): Promise<void> {
    const user = this.changeable(name);
    const merged = { ...user.limits, ...limits };
    this.users.put({ ...user, limits: checkedLimits(merged, ["maxConnections", "maxChannels"]) });
    await this.committed();
  }

  async clearUserLimits(name: string): Promise<void> {
    this.users.put({ ...this.changeable(name), limits: {} });
    await this.committed();
  }

  closeConnection(name: string, reason: string): boolean {
    for (const connection of this.connections.open()) {
      if (connection.name !== name) continue;
      connection.close(ReplyCode.ConnectionForced, reason);
      return true;
    }
    return false;
  }

  closeConnectionsOf(user: string, reason: string): number {
    const theirs = [...this.connections.ofUser(user)];
    for (const connection of theirs) connection.close(ReplyCode.ConnectionForced, reason);
    return theirs.length;
  }

  private async committed(): Promise<void> {
    await this.flush();
  }

  /** Publishers keep the routes that they were permitted to use: until the topology changes. */
  private async rulesCommitted(vhost: VirtualHost): Promise<void> {
    vhost.topologyVersion++;
    await this.committed();
  }

  private assertRunning(): void {
    if (this.isStopped) throw new Error("the broker is stopped: nothing can be changed any more");
  }

  private assertNewUser(name: string): void {
    this.assertRunning();
    assertName("user", name);
    if (this.users.get(name)) throw new Error(`user '${name}' exists already`);
  }

  private changeable(name: string): User {
    this.assertRunning();
    const user = this.existing(name);
    this.assertNotOwner(name);
    return user;
  }

  private existing(name: string): User {
    const user = this.users.get(name);
    if (!user) throw new Error(`user '${name}' does not exist`);
    return user;
  }

  private assertNotOwner(name: string): void {
    this.assertRunning();
    if (!this.users.isOwner(name)) return;
    throw new Error(`user '${name}' cannot be changed: the options that the broker was started with set it`);
  }

  private vhost(name: string): VirtualHost {
    this.assertRunning();
    const vhost = this.virtualHosts.get(name);
    if (!vhost) throw new Error(`virtual host '${name}' does not exist`);
    return vhost;
  }

  /** Where the permissions of a user can be changed. */
  private vhostFor(user: string, name = "/"): VirtualHost {
    this.existing(user);
    if (name === "/") this.assertNotOwner(user);
    return this.vhost(name);
  }
}

const mostNameBytes = 255;

function assertName(what: string, name: string): void {
  if (typeof name === "string" && name !== "" && Buffer.byteLength(name) <= mostNameBytes) return;
  throw new Error(`the name of a ${what} has 1 to ${mostNameBytes} bytes, not ${JSON.stringify(name)}`);
}

function assertPassword(password: string): void {
  if (typeof password !== "string" || password === "") throw new Error("a password cannot be empty");
}

function assertTags(tags: readonly string[]): void {
  const wrong = tags.find((tag) => typeof tag !== "string" || tag === "");
  if (wrong !== undefined) throw new Error(`${JSON.stringify(wrong)} cannot be a user's tag`);
}

/** Without those that limit nothing. */
function checkedLimits<Name extends string>(
  limits: { readonly [name in Name]?: number },
  known: readonly Name[],
): { readonly [name in Name]?: number } {
  const unknown = Object.keys(limits).find((name) => !known.includes(name as Name));
  if (unknown !== undefined)
    throw new Error(`there is no limit '${unknown}'; there are ${known.join(" and ")}`);
  for (const name of known) {
    const value = limits[name];
    if (value === undefined || (Number.isInteger(value) && value >= -1)) continue;
    throw new Error(`${name} is ${value}; it must be a whole number, or −1 for no limit`);
  }
  const effective = known.filter((name) => limits[name] !== undefined && limits[name] >= 0);
  return Object.fromEntries(effective.map((name) => [name, limits[name]])) as { [name in Name]?: number };
}

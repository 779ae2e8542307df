import type { AccessRules, Users } from "./auth/index.ts";
import type { BrokerInspection, ConnectionView, UserView, VirtualHostView } from "./inspection.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { Churn } from "./traffic.ts";
import type { VirtualHosts } from "./virtual-hosts.ts";

export interface InspectorParts {
  readonly virtualHosts: VirtualHosts;
  readonly connections: OpenConnections;
  readonly users: Users;
  readonly rules: AccessRules;
  readonly churn: Churn;
  readonly startedAtMs: number;
  readonly memoryLimitBytes: number;
  readonly diskFreeLimitBytes: number;
  readonly dataDir: string | undefined;
  readonly freeDiskBytes: (() => Promise<number>) | undefined;
}

/** Shows the broker's own objects, as what may be seen of them. */
export class Inspector implements BrokerInspection {
  readonly startedAtMs: number;
  readonly churn: Churn;
  readonly memoryLimitBytes: number;
  readonly diskFreeLimitBytes: number;
  readonly dataDir: string | undefined;
  private readonly parts: InspectorParts;

  constructor(parts: InspectorParts) {
    this.parts = parts;
    this.startedAtMs = parts.startedAtMs;
    this.churn = parts.churn;
    this.memoryLimitBytes = parts.memoryLimitBytes;
    this.diskFreeLimitBytes = parts.diskFreeLimitBytes;
    this.dataDir = parts.dataDir;
  }

  get vhosts(): readonly VirtualHostView[] {
    this.countRuns();
    return this.parts.virtualHosts.all;
  }

  vhost(name: string): VirtualHostView | undefined {
    this.countRuns();
    return this.parts.virtualHosts.get(name);
  }

  get connections(): Iterable<ConnectionView> {
    this.countRuns();
    return this.parts.connections.open();
  }

  get users(): Iterable<UserView> {
    return this.parts.users.all;
  }

  user(name: string): UserView | undefined {
    return this.parts.users.get(name);
  }

  mayOpen(user: string, vhost: string): boolean {
    return this.parts.rules.permission(user, vhost) !== undefined;
  }

  /** Publishers add what they have published by their last route only now. */
  private countRuns(): void {
    for (const connection of this.parts.connections.open())
      for (const { publisher } of connection.allChannels) publisher.countRun();
  }

  async freeDiskBytes(): Promise<number | undefined> {
    return this.parts.freeDiskBytes?.();
  }
}

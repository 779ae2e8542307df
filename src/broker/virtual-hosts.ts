import { recordKey, recordsOf, type AccessRecords } from "./auth/index.ts";
import type { VirtualHost, VirtualHostLimits } from "./virtual-host.ts";

/** The virtual hosts of a broker. The one called `/` is always there. */
export class VirtualHosts {
  private readonly hosts = new Map<string, VirtualHost>();
  private readonly create: (name: string) => VirtualHost;
  private readonly records: AccessRecords;

  /** `create` makes a virtual host with what the data directory holds of it. */
  constructor(
    create: (name: string) => VirtualHost,
    records: AccessRecords,
    stored: ReadonlyMap<string, string>,
  ) {
    this.create = create;
    this.records = records;
    this.hosts.set("/", create("/"));
    for (const { key, value } of recordsOf("vhost", stored)) {
      const [name] = key;
      const vhost = this.hosts.get(name) ?? create(name);
      vhost.limits = (value as StoredVirtualHost).limits;
      this.hosts.set(name, vhost);
    }
  }

  get all(): readonly VirtualHost[] {
    return [...this.hosts.values()];
  }

  get(name: string): VirtualHost | undefined {
    return this.hosts.get(name);
  }

  /** One that exists already stays as it is. */
  add(name: string): void {
    if (this.hosts.has(name)) return;
    this.hosts.set(name, this.create(name));
    this.setLimits(name, {});
  }

  setLimits(name: string, limits: VirtualHostLimits): void {
    this.hosts.get(name)!.limits = limits;
    this.records.put(recordKey("vhost", name), JSON.stringify({ limits } satisfies StoredVirtualHost));
  }

  /** Deletes it and all that it holds. Connections to it are to be closed afterwards, as in RabbitMQ: their consumers are cancelled first. */
  delete(name: string): void {
    this.hosts.get(name)?.clear();
    this.hosts.delete(name);
    this.records.delete(recordKey("vhost", name));
  }
}

interface StoredVirtualHost {
  readonly limits: VirtualHostLimits;
}

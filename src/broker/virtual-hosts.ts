import type { VirtualHostDescription } from "./admin.ts";
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
    const first = create("/");
    first.description = "Default virtual host";
    this.hosts.set("/", first);
    for (const { key, value } of recordsOf("vhost", stored)) {
      const [name] = key;
      const vhost = this.hosts.get(name) ?? create(name);
      const { limits, description = vhost.description, tags = [] } = value as StoredVirtualHost;
      Object.assign(vhost, { limits, description, tags });
      this.hosts.set(name, vhost);
    }
  }

  get all(): readonly VirtualHost[] {
    return [...this.hosts.values()];
  }

  get(name: string): VirtualHost | undefined {
    return this.hosts.get(name);
  }

  /** One that exists already stays as it is, but for what is given. */
  add(name: string, { description, tags }: VirtualHostDescription): void {
    const isNew = !this.hosts.has(name);
    if (!isNew && description === undefined && tags === undefined) return;
    const vhost = this.hosts.get(name) ?? this.create(name);
    vhost.description = description ?? vhost.description;
    vhost.tags = tags ?? vhost.tags;
    this.hosts.set(name, vhost);
    this.record(vhost);
  }

  setLimits(name: string, limits: VirtualHostLimits): void {
    const vhost = this.hosts.get(name)!;
    vhost.limits = limits;
    this.record(vhost);
  }

  private record({ name, limits, description, tags }: VirtualHost): void {
    const stored: StoredVirtualHost = { limits, description, tags };
    this.records.put(recordKey("vhost", name), JSON.stringify(stored));
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
  /** Absent in what earlier versions have written. */
  readonly description?: string;
  readonly tags?: readonly string[];
}

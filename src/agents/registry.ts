import type { Clock } from "../base/index.ts";
import type { Journal } from "../tasks/index.ts";
import type { Agent } from "./agent.ts";
import { normalised } from "./names.ts";

/** An agent that some process has started. Whether it still runs is what its queue's consumers say. */
export interface KnownAgent {
  readonly name: string;
  readonly role: string;
  readonly startedAtMs: number;
}

const prefix = "agent:";

/** The agents that were started, by whatever process, for who wants to find them. */
export class Registry {
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly retentionMs: number;

  constructor(journal: Journal, clock: Clock, retentionMs: number) {
    this.journal = journal;
    this.clock = clock;
    this.retentionMs = retentionMs;
  }

  async add({ name, role }: Agent): Promise<void> {
    const log = `${prefix}${normalised(name)}`;
    const nowMs = this.clock.nowMs();
    const entries = [{ kind: "started", data: JSON.stringify({ name, role }) }];
    const length = (await this.journal.read(log)).at(-1)?.sequence ?? 0;
    // Whoever was quicker has said the same.
    await this.journal.append(log, length, { entries, nowMs, expiresAtMs: nowMs + this.retentionMs });
  }

  /** The latest first. */
  async list(limit: number): Promise<KnownAgent[]> {
    const journals = await this.journal.list({ prefix, limit });
    const agents = journals.map(async ({ name: log, length, updatedAtMs }) => {
      const [last] = await this.journal.read(log, length - 1);
      return { ...(JSON.parse(last.data) as Omit<KnownAgent, "startedAtMs">), startedAtMs: updatedAtMs };
    });
    return Promise.all(agents);
  }
}

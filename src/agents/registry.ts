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
const longestRefreshMs = 86_400_000;

/** The agents that were started, by whatever process, for who wants to find them. */
export class Registry {
  /** What is not said again so often is forgotten at some time. */
  readonly refreshMs: number;
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly retentionMs: number;

  constructor(journal: Journal, clock: Clock, retentionMs: number) {
    this.refreshMs = Math.min(retentionMs / 4, longestRefreshMs);
    this.journal = journal;
    this.clock = clock;
    this.retentionMs = retentionMs;
  }

  async add(agent: Agent): Promise<void> {
    const { length } = await this.last(agent);
    await this.append(agent, length, "started", this.described(agent));
  }

  /** It is still there. */
  async refresh(agent: Agent): Promise<void> {
    const { length, data } = await this.last(agent);
    await this.append(agent, length, "refreshed", data ?? this.described(agent));
  }

  /** The latest first. */
  async list(limit: number): Promise<KnownAgent[]> {
    const journals = await this.journal.list({ prefix, limit });
    const agents = await Promise.all(
      journals.map(async ({ name: log, length }) => {
        const [last] = await this.journal.read(log, length - 1);
        return JSON.parse(last.data) as KnownAgent;
      }),
    );
    return agents.toSorted((a, b) => b.startedAtMs - a.startedAtMs);
  }

  private async last(agent: Agent): Promise<{ length: number; data?: string }> {
    const last = (await this.journal.read(logOf(agent))).at(-1);
    return { length: last?.sequence ?? 0, data: last?.data };
  }

  /** Whoever was quicker has said the same. */
  private async append(agent: Agent, length: number, kind: string, data: string): Promise<void> {
    const nowMs = this.clock.nowMs();
    const expiresAtMs = nowMs + this.retentionMs;
    await this.journal.append(logOf(agent), length, { entries: [{ kind, data }], nowMs, expiresAtMs });
  }

  private described({ name, role }: Agent): string {
    const known: KnownAgent = { name, role, startedAtMs: this.clock.nowMs() };
    return JSON.stringify(known);
  }
}

function logOf({ name }: Agent): string {
  return `${prefix}${normalised(name)}`;
}

import type { Clock } from "../base/index.ts";
import { Fatal, type Journal } from "../tasks/index.ts";
import { Conversation } from "./conversation.ts";
import type { Entry } from "./entries.ts";

/** What the outside sees of an entry. */
export type RecordedEntry = Entry & { readonly sequence: number; readonly atMs: number };

/** Where conversations are kept: a journal for each, to which only who knows its end can add. */
export class ConversationLog {
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly retentionMs: number;
  private readonly committing = new WeakMap<Conversation, Promise<unknown>>();

  constructor(journal: Journal, clock: Clock, retentionMs: number) {
    this.journal = journal;
    this.clock = clock;
    this.retentionMs = retentionMs;
  }

  async load(id: string): Promise<Conversation> {
    const conversation = new Conversation(id);
    await this.catchUp(conversation);
    return conversation;
  }

  /** Takes in what others have added. */
  private async catchUp(conversation: Conversation): Promise<void> {
    conversation.apply(await this.entries(conversation.id, conversation.length));
  }

  async entries(id: string, after = 0): Promise<RecordedEntry[]> {
    const records = await this.journal.read(journalName(id), after);
    return records.map(({ sequence, atMs, data }): RecordedEntry => ({
      ...(JSON.parse(data) as Entry),
      sequence,
      atMs,
    }));
  }

  /**
   * Adds what `decide` makes of the conversation as it is now; when others have added something in between, of what it is then.
   * Undefined adds nothing.
   */
  commit(
    conversation: Conversation,
    decide: (now: Conversation) => readonly Entry[] | undefined,
  ): Promise<boolean> {
    // One after the other: two that catch up at once would take in the same entries twice.
    const before = this.committing.get(conversation) ?? Promise.resolve();
    const committed = before.then(() => this.commitNext(conversation, decide));
    this.committing.set(
      conversation,
      committed.catch(() => {}),
    );
    return committed;
  }

  private async commitNext(
    conversation: Conversation,
    decide: (now: Conversation) => readonly Entry[] | undefined,
  ): Promise<boolean> {
    for (;;) {
      const entries = decide(conversation);
      if (entries === undefined || entries.length === 0) return false;
      const nowMs = this.clock.nowMs();
      const isAdded = await this.journal.append(journalName(conversation.id), conversation.length, {
        entries: entries.map((entry) => ({ kind: entry.kind, data: JSON.stringify(entry) })),
        nowMs,
        expiresAtMs: nowMs + this.retentionMs,
      });
      if (isAdded) {
        conversation.apply(entries);
        return true;
      }
      const { length } = conversation;
      await this.catchUp(conversation);
      if (conversation.length === length)
        throw new Fatal(
          `the journal of conversation ${conversation.id} has been removed: it was kept too long`,
        );
    }
  }

  changed(id: string, timeoutMs: number): Promise<void> {
    return this.journal.changed(journalName(id), timeoutMs);
  }

  /** The latest first. */
  async list(limit: number): Promise<{ id: string; updatedAtMs: number }[]> {
    const journals = await this.journal.list({ prefix, limit });
    return journals.map(({ name, updatedAtMs }) => ({ id: name.slice(prefix.length), updatedAtMs }));
  }
}

const prefix = "conversation:";

function journalName(id: string): string {
  return `${prefix}${id}`;
}

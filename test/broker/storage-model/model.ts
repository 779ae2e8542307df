/**
 * What must be true of a broker's durable storage, whatever its disk does. The log brings what is done to the disk commit by
 * commit and the definitions entry by entry, so that each thing done is marked with the number of the one that will bring
 * it. What an opened storage says it found, so many commits and entries, tells then exactly what it must hold: all that is
 * in them and nothing else. And it must have found at least those of which somebody was told.
 */
import type { Message } from "./message.ts";
import { queueKey, TopologyModel, type DefinitionValues } from "./topology-model.ts";

/** A message in a queue. */
export interface Entry {
  readonly message: Message;
  readonly queue: QueueModel;
  readonly sequence: number;
  /** The commit that settles it. */
  settledBy: number;
  delivered: boolean;
  isReady: boolean;
}

/** A queue from its declaration to its deletion; the name may live again. */
export interface QueueModel {
  readonly name: string;
  readonly id: number;
  readonly survives: boolean;
  isDeleted: boolean;
  /** Also what is settled, as long as a crash may bring it back. */
  readonly entries: Map<number, Entry>;
  /** By sequence. */
  ready: Entry[];
}

export interface FoundMessage {
  readonly sequence: number;
  readonly isRedelivered: boolean;
  /** What of its bytes is not as it was published. */
  readonly difference: (message: Message) => string | undefined;
}

/** The messages are in the order in which the queue has them. */
export interface FoundQueue {
  readonly messages: readonly FoundMessage[];
  readonly nextSequence: number;
}

/** What a storage has when it is opened. */
export interface Found {
  readonly commits: number;
  readonly entries: number;
  readonly definitions: DefinitionValues;
  readonly queues: ReadonlyMap<number, FoundQueue>;
}

/** How the life before has ended. A stop that was interrupted, or an opening after it, may count as either. */
export type Ending = "clean" | "unclean" | "perhaps clean";

export class Model {
  /** What the broker did wrong. */
  readonly findings: string[] = [];
  readonly topology: TopologyModel = new TopologyModel();
  /** Those that can be used. */
  readonly queues: Map<string, QueueModel> = new Map();
  readonly messages: Set<Message> = new Set();
  /** The last commit that somebody was told of, and that anything is in. */
  ackedCommits = 0;
  usedCommits = 0;
  /** The same of the definitions. */
  ackedEntries = 0;
  nextNumber = 1;
  /** The last that the life before has begun to write, also those that hold nothing of this. */
  begunCommits = 0;
  begunEntries: number = Infinity;
  /** Of all queues of the current life, deleted ones too. */
  private allQueues: QueueModel[] = [];
  /** Which entries of the definitions must be there when a commit is. */
  private readonly entriesBefore = new Map<number, number>();

  /** Something is appended to the log that goes to the disk with this commit. */
  logged(commit: number): number {
    this.usedCommits = commit;
    this.entriesBefore.set(commit, this.topology.usedEntries);
    return commit;
  }

  queueDeclared(name: string, id: number, survives: boolean): void {
    const earlier = this.allQueues.find((queue) => queue.id === id && queue.survives);
    if (earlier) this.findings.push(`queue ${name} got the id ${id} that queue ${earlier.name} had`);
    const queue = { name, id, survives, isDeleted: false, entries: new Map(), ready: [] };
    this.queues.set(name, queue);
    this.allQueues.push(queue);
  }

  queueDeleted(queue: QueueModel): void {
    queue.isDeleted = true;
    this.queues.delete(queue.name);
    for (const entry of queue.ready) this.release(entry);
    queue.ready = [];
  }

  enqueued(queue: QueueModel, message: Message, sequence: number): void {
    if (queue.entries.has(sequence))
      this.findings.push(`queue ${queue.name} gave the sequence ${sequence} twice`);
    const entry = { message, queue, sequence, settledBy: Infinity, delivered: false, isReady: true };
    queue.entries.set(sequence, entry);
    queue.ready.push(entry);
    message.references++;
    this.messages.add(message);
  }

  /** A queue is done with a message, by a record in this commit or, at Infinity, without one. */
  settled(entry: Entry, commit: number): void {
    entry.settledBy = commit;
    this.release(entry);
  }

  requeued(entry: Entry): void {
    const { ready } = entry.queue;
    entry.isReady = true;
    const at = ready.findIndex(({ sequence }) => sequence > entry.sequence);
    ready.splice(at < 0 ? ready.length : at, 0, entry);
  }

  /** Whether a record in the log settles it. */
  isInLog({ message, queue }: Entry): boolean {
    return message.isLogged && queue.survives && !queue.isDeleted;
  }

  get loggedMessages(): number {
    let count = 0;
    for (const { isLogged } of this.messages) if (isLogged) count++;
    return count;
  }

  /** Compares what was found with what must be there. `isLoose`: definitions may be newer than their entries say. */
  judge(found: Found, ending: Ending, isLoose: boolean): void {
    const { commits, entries } = found;
    if (commits < this.ackedCommits)
      this.findings.push(`commit ${this.ackedCommits} was acknowledged, but ${commits} is the last found`);
    if (entries < this.ackedEntries)
      this.findings.push(
        `definition ${this.ackedEntries} was acknowledged, but ${entries} is the last found`,
      );
    // Opening notes that the broker runs.
    if (commits > this.begunCommits || entries > this.begunEntries + 1)
      this.findings.push(`commit ${commits} or definition ${entries} was found, and never begun`);
    for (const [commit, before] of this.entriesBefore) {
      if (commit <= commits && entries < before)
        this.findings.push(`commit ${commit} is there, but not definition ${before} that was made before it`);
    }
    this.judgeDefinitions(found, isLoose);
    let allRedelivered = true;
    for (const { messages } of found.queues.values())
      for (const { isRedelivered } of messages) allRedelivered &&= isRedelivered;
    const isUnclean = ending === "unclean" || (ending === "perhaps clean" && allRedelivered);
    for (const queue of this.foundQueues(found)) this.judgeQueue(queue, found, isUnclean);
  }

  /** Goes on with what was found. */
  adopt(found: Found): void {
    const { commits, entries, definitions } = found;
    this.allQueues = this.foundQueues(found);
    this.queues.clear();
    this.messages.clear();
    this.topology.begin(definitions, entries);
    this.ackedCommits = this.usedCommits = commits;
    this.ackedEntries = entries;
    this.entriesBefore.clear();
    for (const queue of this.allQueues)
      for (const { message } of queue.entries.values()) message.references = 0;
    for (const queue of this.allQueues) this.adoptQueue(queue, found);
    for (const message of this.messages) message.commit = 0;
  }

  private judgeDefinitions({ definitions, entries }: Found, isLoose: boolean): void {
    const expected = this.topology.at(entries);
    for (const key of new Set([...expected.keys(), ...definitions.keys()])) {
      const value = definitions.get(key);
      if (value === expected.get(key) || (isLoose && this.topology.had(key, value, entries))) continue;
      const must = expected.get(key) ?? "missing";
      this.findings.push(
        `after definition ${entries}, ${key.slice(0, 80)} is ${value ?? "missing"}, not ${must}`,
      );
    }
  }

  private judgeQueue(queue: QueueModel, { commits, queues }: Found, isUnclean: boolean): void {
    const where = `queue ${queue.name} (${queue.id})`;
    const { messages, nextSequence } = queues.get(queue.id)!;
    const found = new Map(messages.map((message) => [message.sequence, message]));
    if (found.size !== messages.length) this.findings.push(`${where} has a sequence twice`);
    const order = messages.map(({ sequence }) => sequence);
    if (order.some((sequence, index) => index > 0 && sequence < order[index - 1]))
      this.findings.push(`${where} is out of order: ${order.join(" ")}`);
    if ((order.at(-1) ?? 0) >= nextSequence)
      this.findings.push(`${where} goes on with ${nextSequence}, but has ${order.at(-1)}`);
    for (const entry of this.expected(queue, commits)) {
      const { message, sequence, delivered } = entry;
      const what = `message ${message.number} of ${where}, sequence ${sequence}, published in commit ${message.commit}`;
      const here = found.get(sequence);
      found.delete(sequence);
      if (!here) {
        this.findings.push(
          `${what}${message.isConfirmed ? ", confirmed," : ""} is lost (${commits} commits)`,
        );
        continue;
      }
      const difference = here.difference(message);
      if (difference) this.findings.push(`${what} has another ${difference}`);
      if (here.isRedelivered !== (isUnclean || delivered))
        this.findings.push(`${what} is ${here.isRedelivered ? "" : "not "}redelivered`);
    }
    for (const sequence of found.keys()) {
      const entry = queue.entries.get(sequence);
      const what = entry
        ? `message ${entry.message.number}, published in commit ${entry.message.commit}, settled by ${entry.settledBy}`
        : "a message never published";
      this.findings.push(`${where} has ${what} with sequence ${sequence} (${commits} commits)`);
    }
  }

  private adoptQueue(queue: QueueModel, { commits, queues }: Found): void {
    const redelivered = new Map(
      queues.get(queue.id)!.messages.map(({ sequence, isRedelivered }) => [sequence, isRedelivered]),
    );
    queue.ready = this.expected(queue, commits);
    queue.isDeleted = false;
    queue.entries.clear();
    this.queues.set(queue.name, queue);
    for (const entry of queue.ready) {
      entry.isReady = true;
      entry.settledBy = Infinity;
      entry.delivered = redelivered.get(entry.sequence)!;
      queue.entries.set(entry.sequence, entry);
      entry.message.references++;
      this.messages.add(entry.message);
    }
  }

  private foundQueues({ definitions, queues }: Found): QueueModel[] {
    return this.allQueues.filter(
      ({ name, id, survives }) =>
        survives && definitions.get(queueKey(name)) === String(id) && queues.has(id),
    );
  }

  private expected(queue: QueueModel, commits: number): Entry[] {
    const entries = [...queue.entries.values()].filter(
      ({ message, settledBy }) => message.isLogged && message.commit <= commits && settledBy > commits,
    );
    return entries.toSorted((a, b) => a.sequence - b.sequence);
  }

  private release({ message }: Entry): void {
    if (--message.references === 0) this.messages.delete(message);
  }
}

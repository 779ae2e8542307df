import type { AnyTask } from "./task.ts";

export interface DeadLetterOptions {
  /** A direct exchange. Default `<queue>.dlx`. */
  readonly exchange?: string;
  /** Default: the queue's name. */
  readonly routingKey?: string;
  /** Default `<queue>.dead`. */
  readonly queue?: string;
}

export interface QueueOptions {
  readonly name: string;
  /** Priorities from 0 to this; 0 makes a queue without priorities. Default 10. */
  readonly maxPriority?: number;
  /** How long any message may wait in it, in milliseconds (`x-message-ttl`). Default: for ever. */
  readonly ttl?: number;
  readonly deadLetter?: DeadLetterOptions;
  /** How else it is reached than by its name. */
  readonly binding?: QueueBinding;
  /** It is another program's to declare: sending to it is an error while it is not there. Default false. */
  readonly passive?: boolean;
}

/** A durable topic exchange that leads to the queue. */
export interface QueueBinding {
  readonly exchange: string;
  /** The first is the one that senders use. */
  readonly routingKeys: readonly [string, ...string[]];
}

/** A queue with everything decided. Whoever names it must mean the same. */
export interface QueueDefinition {
  readonly name: string;
  readonly maxPriority: number;
  readonly ttl: number | undefined;
  readonly deadLetter: Required<DeadLetterOptions>;
  readonly binding: QueueBinding | undefined;
  readonly isPassive: boolean;
}

const defaultQueue = "tasks";
/** RabbitMQ takes 255 bytes; the rest is for the names that are made of it. */
const longestNameBytes = 190;

/** @throws TypeError when the name cannot be a queue's. */
function queueOf(task: AnyTask): QueueDefinition {
  const { queue = defaultQueue, deadLetter } = task;
  const options = typeof queue === "string" ? { name: queue } : queue;
  return defineQueue({ ...options, deadLetter: { ...options.deadLetter, ...deadLetter } });
}

/** @throws TypeError when the name cannot be a queue's. */
export function defineQueue(options: QueueOptions): QueueDefinition {
  const { name, maxPriority = 10, ttl, deadLetter = {}, binding, passive: isPassive = false } = options;
  if (
    name === "" ||
    Buffer.byteLength(name) > longestNameBytes ||
    name.split(".").some((word) => word === "*" || word === "#")
  ) {
    throw new TypeError(
      `'${name}' cannot be a task queue's name: it must have 1 to ${longestNameBytes} bytes, and neither * nor # for a word`,
    );
  }
  const { exchange = `${name}.dlx`, routingKey = name, queue = `${name}.dead` } = deadLetter;
  return { name, maxPriority, ttl, deadLetter: { exchange, routingKey, queue }, binding, isPassive };
}

/** The queues that a bus has met, so that two tasks do not mean different things by one name. */
export class KnownQueues {
  private readonly byTask = new WeakMap<AnyTask, QueueDefinition>();
  private readonly byName = new Map<string, { definition: QueueDefinition; task: string }>();

  /** @throws Error when another task has described the queue in another way. */
  of(task: AnyTask): QueueDefinition {
    const known = this.byTask.get(task);
    if (known !== undefined) return known;
    const found = this.find(task);
    this.byTask.set(task, found);
    return found;
  }

  private find(task: AnyTask): QueueDefinition {
    const definition = queueOf(task);
    const known = this.byName.get(definition.name);
    if (known === undefined) {
      this.byName.set(definition.name, { definition, task: task.name });
      return definition;
    }
    if (JSON.stringify(known.definition) === JSON.stringify(definition)) return known.definition;
    throw new Error(
      `Tasks '${known.task}' and '${task.name}' share the queue '${definition.name}' and describe it differently: ` +
        `${JSON.stringify(known.definition)} and ${JSON.stringify(definition)}. Give both the same queue options, or each its own queue.`,
    );
  }

  get all(): QueueDefinition[] {
    return [...this.byName.values()].map(({ definition }) => definition);
  }
}

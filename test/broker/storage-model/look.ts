/** What a broker has found on its disk. */
import { readTopology } from "../../../src/broker/durable-topology.ts";
import type { Queue } from "../../../src/broker/queues/index.ts";
import { MessageView } from "../../../src/broker/storage/index.ts";
import type { LogStore } from "../../../src/broker/storage/log/log-store.ts";
import type { FieldTable } from "../../../src/wire/index.ts";
import type { Life } from "./life.ts";
import { difference } from "./message.ts";
import type { Found, FoundMessage, FoundQueue } from "./model.ts";
import { bindingKey, exchangeKey, queueKey, type DefinitionValues } from "./topology-model.ts";

/** `readsBytes`: the messages' bytes will be compared, which brings them into memory. */
export function look({ store, definitions, vhost, log }: Life, readsBytes: boolean): Found {
  const queues = new Map<number, FoundQueue>();
  for (const queue of vhost.allQueues) queues.set(queue.id, lookInto(queue, store, readsBytes));
  return {
    commits: log.commitNumber,
    entries: definitions.count,
    definitions: readDefinitions(definitions.all),
    queues,
  };
}

function readDefinitions(all: ReadonlyMap<string, string>): DefinitionValues {
  const values = new Map<string, string>();
  for (const definition of readTopology(all)) {
    if (definition.kind === "exchange") {
      values.set(exchangeKey(definition.name), definition.type);
    } else if (definition.kind === "queue") {
      values.set(queueKey(definition.name), String(definition.id));
    } else {
      const { source, destination, routingKey, arguments: table } = definition;
      const noteBytes = noteBytesOf(table);
      values.set(bindingKey({ exchange: source, queue: destination, key: routingKey, noteBytes }), "");
    }
  }
  return values;
}

function lookInto(queue: Queue, store: LogStore, readsBytes: boolean): FoundQueue {
  const messages: FoundMessage[] = [];
  const giveBack: (() => void)[] = [];
  queue.takeAll((surviving) => {
    const { handle, sequence, isRedelivered } = surviving;
    giveBack.push(() => queue.restore(surviving));
    messages.push({
      sequence,
      isRedelivered,
      difference(message) {
        if (!readsBytes) return undefined;
        store.locate(handle, located);
        return difference(message, located);
      },
    });
  });
  for (const give of giveBack) give();
  return { messages, nextSequence: queue.nextSequence };
}

const located = new MessageView();

function noteBytesOf(table: FieldTable): number {
  const note = table.get("note");
  return note?.type === "longstr" ? note.value.length : 0;
}

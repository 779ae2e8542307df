/** The two systems that are compared, each behind the same few calls. */
import { Queue, Worker as BullWorker } from "bullmq";
import { Redis } from "ioredis";
import { connect, defineTask } from "../../src/tasks/index.ts";

export type SystemName = "warren" | "bullmq";

/** Where it is: Warren's data directory, or Redis's port. */
export type Place = string;

export interface Client {
  /** Resolves when the task is as safe as the system makes it: synced to disk (Warren), in Redis's memory (BullMQ). */
  add(payload: object): Promise<unknown>;
  /** Calls back for each task that is done, its result stored. */
  work(concurrency: number, onDone: () => void): Promise<void>;
  close(): Promise<void>;
}

export async function openClient(system: SystemName, place: Place): Promise<Client> {
  return system === "warren" ? openWarren(place) : openBullmq(Number(place));
}

async function openWarren(directory: string): Promise<Client> {
  const bus = await connect(`embedded:${directory}`);
  const task = defineTask("bench");
  return {
    add: (payload) => bus.send(task, payload),
    async work(concurrency, onDone) {
      // Counted when the handler returns; its result and acknowledgement are on their way. The last one is awaited by close.
      const worker = bus.worker({ concurrency }).on(task, () => {
        onDone();
        return { ok: true };
      });
      await worker.start();
    },
    close: () => bus.close(),
  };
}

function openBullmq(port: number): Promise<Client> {
  const connection = new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: null });
  const queue = new Queue("bench", { connection });
  let worker: BullWorker | undefined;
  return Promise.resolve({
    add: (payload) => queue.add("bench", payload),
    async work(concurrency, onDone) {
      worker = new BullWorker(
        "bench",
        async () => {
          onDone();
          return { ok: true };
        },
        { connection, concurrency },
      );
      await worker.waitUntilReady();
    },
    async close() {
      await worker?.close();
      await queue.close();
      connection.disconnect();
    },
  });
}

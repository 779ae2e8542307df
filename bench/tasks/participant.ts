// A process of the benchmark: sends tasks or does them, when it is told to.
import { openClient, type Client, type SystemName } from "./systems.ts";

export type Order =
  | { readonly kind: "add"; readonly tasks: number; readonly inFlight: number; readonly bytes: number }
  | { readonly kind: "work"; readonly tasks: number; readonly concurrency: number }
  | { readonly kind: "close" };

/** Times are milliseconds since 1970, with fractions, so that two processes can be compared. */
export interface Report {
  readonly kind: "ready" | "done" | "closed";
  readonly fromMs?: number;
  readonly toMs?: number;
}

const [system, place] = process.argv.slice(2);
const client = await openClient(system as SystemName, place);
const report = (message: Report): void => void process.send!(message);
const nowMs = (): number => performance.timeOrigin + performance.now();

process.on("message", (order: Order) => void obey(order));
report({ kind: "ready" });

async function obey(order: Order): Promise<void> {
  if (order.kind === "add") await add(client, order);
  else if (order.kind === "work") await work(client, order);
  else {
    await client.close();
    report({ kind: "closed" });
    process.disconnect();
  }
}

async function add(to: Client, { tasks, inFlight, bytes }: Order & { kind: "add" }): Promise<void> {
  const payload = { text: "x".repeat(bytes) };
  const fromMs = nowMs();
  let sent = 0;
  const sender = async (): Promise<void> => {
    while (sent++ < tasks) await to.add(payload);
  };
  await Promise.all(Array.from({ length: inFlight }, sender));
  report({ kind: "done", fromMs, toMs: nowMs() });
}

async function work(on: Client, { tasks, concurrency }: Order & { kind: "work" }): Promise<void> {
  const all = Promise.withResolvers<void>();
  let done = 0;
  const fromMs = nowMs();
  await on.work(concurrency, () => {
    if (++done === tasks) all.resolve();
  });
  await all.promise;
  report({ kind: "done", fromMs, toMs: nowMs() });
}

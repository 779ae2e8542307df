import type { BrokerUnderTest } from "./brokers.ts";
import type { Program } from "./program.ts";

/**
 * The bodies of all that the program received from this queue until now, none left out and none too
 * many: a marker is put on the queue, and what comes before it is all there was.
 */
export async function deliveredUntilNow(
  broker: BrokerUnderTest,
  program: Program,
  queue: string,
): Promise<unknown[]> {
  const marker = "the end";
  const channel = await broker.observer.createChannel();
  channel.sendToQueue(queue, Buffer.from(marker));
  await channel.close();

  const bodies: unknown[] = [];
  while (bodies.at(-1) !== marker) bodies.push((await program.next("received"))["body"]);
  return bodies.slice(0, -1);
}

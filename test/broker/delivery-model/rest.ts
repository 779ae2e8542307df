/** Brings a run to rest, and compares what the broker says then with what the clients know. */
import type { ChannelModel } from "./channel-model.ts";
import type { QueueLife } from "./ledger.ts";
import type { World } from "./world.ts";

/** So often nothing must have come in between: what waits for room in an output comes a turn or two later. */
const quietTimes = 5;

/**
 * Lets all clients read until nothing comes any more: first without a word from them, since a reply could set a
 * connection going that was stuck; then with round trips, behind which nothing can be on its way.
 */
export async function comeToRest(world: World): Promise<void> {
  const { connections, ledger } = world;
  for (const connection of connections) connection.resume();
  await untilQuiet(world, async () => {
    await Promise.all(channelsOf(world).map((channel) => channel.replies.all()));
    await readyCounts(world);
  });
  const ready = await readyCounts(world);
  for (const [index, queue] of ledger.queues.entries()) if (ready[index] > 0) findStalled(world, queue);

  await untilQuiet(world, async () => {
    await readyCounts(world);
    await Promise.all(connections.map((connection) => connection.roundTrip()));
  });
}

/** What holds at rest; findings go to the ledger. */
export async function compare(world: World): Promise<void> {
  const { broker, ledger } = world;
  let stored = ledger.heldCount();
  const counts = await readyCounts(world);
  for (const [index, queue] of ledger.queues.entries()) {
    const ready = counts[index];
    const expected = ledger.readyCount(queue);
    stored += ready;
    if (ready !== expected) {
      ledger.find(`queue ${queue.name} has ${ready} messages ready, not ${expected}`);
    }
    if (ready > 0) findStalled(world, queue);
  }
  const { messages } = broker.usage();
  if (messages !== stored) {
    ledger.find(`the broker stores ${messages} messages, of which ${stored} are ready or held`);
  }
  ledger.atRest();
}

/** Settles everything: what the queues still have comes in the order in which it was published. */
export async function drain(world: World): Promise<void> {
  for (const channel of channelsOf(world)) {
    for (const { tag } of channel.liveConsumers) channel.cancel(tag);
    channel.recover();
  }
  await comeToRest(world);
  await compare(world);
  const [channel] = world.connections[0].channels;
  for (const queue of world.ledger.queues) channel.consume(queue, true);
  await comeToRest(world);
  await compare(world);
  for (const { queue, received } of channel.liveConsumers) {
    const isOrdered = received.every(
      ({ number }, index) => index === 0 || number > received[index - 1].number,
    );
    const numbers = received.map(({ number }) => number).join(" ");
    if (!isOrdered) world.ledger.find(`queue ${queue.name} was not in order: ${numbers}`);
  }
  for (const { tag } of channel.liveConsumers) channel.cancel(tag);
  await comeToRest(world);
}

async function untilQuiet(world: World, roundTrip: () => Promise<void>): Promise<void> {
  for (let quiet = 0; quiet < quietTimes;) {
    const before = world.ledger.arrivals;
    await roundTrip();
    const isQuiet = world.ledger.arrivals === before && world.broker.usage().unsentBytes === 0;
    quiet = isQuiet ? quiet + 1 : 0;
  }
}

/** Of all queues, by way of the publisher. */
async function readyCounts({ ledger, publisher }: World): Promise<number[]> {
  const counts: number[] = [];
  for (const queue of ledger.queues) counts.push(await publisher.readyCount(queue));
  return counts;
}

function findStalled(world: World, queue: QueueLife): void {
  for (const channel of channelsOf(world)) {
    for (const consumer of channel.liveConsumers) {
      if (consumer.queue !== queue || !channel.hasCredit(consumer)) continue;
      world.ledger.find(`${consumer.tag} has credit but is not sent what queue ${queue.name} has ready`);
    }
  }
}

function channelsOf(world: World): ChannelModel[] {
  return world.connections.flatMap((connection) => connection.channels);
}

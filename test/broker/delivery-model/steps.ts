/** What may happen next in a run, and how often. */
import type { Random } from "../../support/random.ts";
import { largestBodyBytes, smallestBodyBytes } from "./body.ts";
import type { ChannelModel } from "./channel-model.ts";
import type { ConnectionModel } from "./connection-model.ts";
import type { QueueLife } from "./ledger.ts";
import type { Delivery } from "./unacked.ts";
import { turns, type World } from "./world.ts";

interface Scene {
  readonly world: World;
  readonly random: Random;
  readonly connection: ConnectionModel;
  readonly channel: ChannelModel;
  readonly queue: QueueLife;
}

type Step = (scene: Scene) => void | Promise<void>;

const steps: readonly (readonly [weight: number, step: Step])[] = [
  [30, publish],
  [10, consume],
  [8, cancel],
  [10, qos],
  [20, withDelivery(({ channel }, delivery) => channel.ack(delivery, false))],
  [10, withDelivery(({ channel }, delivery) => channel.ack(delivery, true))],
  [10, withDelivery(nack)],
  [5, withDelivery(({ channel, random }, delivery) => channel.reject(delivery, random.chance(0.5)))],
  [10, ({ channel, queue, connection, random }) => channel.get(queue, mayForget(connection, random))],
  [3, ({ channel }) => channel.recover()],
  [10, pauseOrResume],
  [10, ackEverythingAtOnce],
  [4, ({ channel }) => channel.closeAndReopen()],
  [2, leave],
  [2, ({ world, queue }) => world.publisher.purge(queue)],
  [2, deleteAndRedeclare],
];
const allWeights = steps.reduce((sum, [weight]) => sum + weight, 0);

/** Takes one step. All its choices come from `random`, whether or not there is anything to be done. */
export async function takeStep(world: World, random: Random): Promise<void> {
  let remaining = random.below(allWeights);
  const [, step] = steps.find(([weight]) => (remaining -= weight) < 0)!;
  const connection = random.pick(world.connections);
  const channel = random.pick(connection.channels);
  const queue = random.pick(world.ledger.queues);
  // Requests would meet a closed channel, and acknowledgements deliveries that are given back.
  if (channel.givingBack) return;
  await step({ world, random, connection, channel, queue });
}

/** A burst for all queues; in some most bodies are large, which fills outputs and keeps others waiting. */
function publish({ world, random }: Scene): void {
  const count = 1 + random.below(random.chance(0.2) ? 60 : 6);
  const largeShare = random.chance(0.15) ? 0.7 : 0.05;
  for (let index = 0; index < count; index++) {
    world.publisher.publish(random.pick(world.ledger.queues), anySizeBytes(random, largeShare));
  }
}

function anySizeBytes(random: Random, largeShare: number): number {
  if (random.chance(0.01)) return largestBodyBytes - random.below(1000);
  if (random.chance(largeShare)) return 100_000 + random.below(300_000);
  if (random.chance(0.2)) return 40_000;
  return smallestBodyBytes + random.below(200);
}

function consume({ channel, queue, connection, random }: Scene): void {
  if (channel.liveConsumers.length < 3) channel.consume(queue, mayForget(connection, random));
}

/** Without acknowledgements. */
function mayForget(connection: ConnectionModel, random: Random): boolean {
  return !connection.options.acknowledgesAll && random.chance(0.3);
}

function cancel({ channel, random }: Scene): void {
  const consumers = channel.liveConsumers;
  if (consumers.length > 0) channel.cancel(random.pick(consumers).tag);
}

function qos({ channel, random }: Scene): void {
  const isGlobal = random.chance(0.5);
  channel.qos(random.chance(0.3) ? 0 : 1 + random.below(8), isGlobal);
}

function withDelivery(step: (scene: Scene, delivery: Delivery) => void): Step {
  return (scene) => {
    const { all } = scene.channel.unacked;
    if (all.length > 0) step(scene, scene.random.pick(all));
  };
}

function nack({ channel, random }: Scene, delivery: Delivery): void {
  const isMultiple = random.chance(0.5);
  channel.nack(delivery, isMultiple, random.chance(0.8));
}

function pauseOrResume({ connection }: Scene): void {
  if (connection.paused) connection.resume();
  else connection.pause();
}

/** The broker serves many consumers in one turn, and fills its output. */
function ackEverythingAtOnce({ connection }: Scene): void {
  connection.atOnce(() => {
    for (const channel of connection.channels) {
      const last = channel.unacked.all.at(-1);
      if (last && !channel.givingBack) channel.ack(last, true);
    }
  });
}

async function leave(scene: Scene): Promise<void> {
  const { world, connection, random } = scene;
  if (!connection.options.acknowledgesAll || random.chance(0.3)) await connection.close();
  else if (random.chance(0.5)) await connection.vanish("end", world.noticesEnd());
  else {
    await connection.roundTrip();
    connection.pause();
    publish(scene);
    await turns(random.below(10));
    await connection.vanish("reset", world.noticesEnd());
  }
  await world.replace(connection, random);
}

/** Only while no request names the queue, so that it is known which of the two each of them meets. */
async function deleteAndRedeclare({ world, queue }: Scene): Promise<void> {
  const channels = world.connections.flatMap((connection) => connection.channels);
  if (channels.some((channel) => channel.replies.names(queue))) return;
  await world.publisher.delete(queue);
  await world.publisher.declare(queue.name);
}

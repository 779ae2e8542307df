/** What may happen next in a life, and how often. */
import type { ExchangeTypeName } from "../../../src/broker/routing/index.ts";
import type { Random } from "../../support/random.ts";
import type { ConsumerModel } from "./clients.ts";
import * as declarations from "./declarations.ts";
import { nextTurn, type Life } from "./life.ts";
import type { BindingModel } from "./topology-model.ts";

/** What a seed is about, beside what all are. */
export interface Theme {
  /** Messages of many chunks, and of many segments. */
  readonly longShare: number;
  /** Queues to which one exchange sends all it gets. */
  readonly fanOut: number;
  readonly transientShare: number;
  /** Of bursts that fill a segment or more. */
  readonly bulkShare: number;
  /** Lives that end in the middle of a large commit, one after the other. */
  readonly isTearing: boolean;
  /** Definitions that are large enough for their log to be written anew. */
  readonly largeDefinitions: boolean;
  readonly mayFillDisk: boolean;
  readonly mayFail: boolean;
}

interface Scene {
  readonly life: Life;
  readonly random: Random;
  readonly theme: Theme;
}

type Step = (scene: Scene) => void | Promise<void>;

const steps: readonly (readonly [weight: number, step: Step])[] = [
  [30, publish],
  [14, withConsumer(ackSome)],
  [8, withConsumer(ackAll)],
  [5, withConsumer(nackSome)],
  [4, withConsumer(({ random }, consumer) => consumer.settle(some(random, consumer.unacked)))],
  [10, withConsumer(({ random }, consumer) => consumer.give(1 + random.below(20)))],
  [8, consume],
  [3, withConsumer(({ life }, consumer) => life.leave(consumer))],
  [4, declareQueue],
  [2, deleteQueue],
  [2, redeclareQueue],
  [6, bind],
  [2, unbind],
  [2, declareExchange],
  [1, deleteExchange],
  [2, purge],
  [5, ({ life }) => life.awaitCommit()],
  [10, ({ life, random }) => life.clock.advance(random.pick([5, 20, 20, 600]))],
  [4, ({ life }) => comeToRest(life)],
  [4, fillDisk],
  [1, breakDisk],
];
const allWeights = steps.reduce((sum, [weight]) => sum + weight, 0);

export async function takeStep(scene: Scene): Promise<void> {
  const { life, random } = scene;
  let remaining = random.below(allWeights);
  const [, step] = steps.find(([weight]) => (remaining -= weight) < 0)!;
  await step(scene);
  for (let turns = random.pick([0, 0, 0, 1, 2, 4, 12]); turns > 0 && life.goesOn; turns--) await nextTurn();
}

/** Of a new directory: what the steps need to begin with. */
export function setUp({ life, random, theme }: Scene): void {
  for (const type of ["fanout", "direct", "topic"] as const)
    declarations.declareExchange(life, type, type, true);
  for (const name of ["a", "b", "c"]) {
    declarations.declareQueue(life, name, "durable");
    declarations.bind(life, { exchange: "fanout", queue: name, key: "", noteBytes: 0 });
  }
  for (let index = 0; index < theme.fanOut; index++) {
    const name = `wide-${index}`;
    declarations.declareQueue(life, name, kindOf(random, theme));
    declarations.bind(life, { exchange: "amq.fanout", queue: name, key: "", noteBytes: 0 });
  }
  life.awaitDefinitions();
}

export async function comeToRest(life: Life): Promise<void> {
  await life.quiet();
  if (life.goesOn && !life.isDiskFull) life.assertQuiet();
}

/** Settles everything that the broker has. */
export async function drain(life: Life): Promise<void> {
  // What comes back to a queue may go to another consumer of it.
  for (let round = 0; round < 10 && life.model.messages.size > 0; round++) {
    for (const name of life.model.queues.keys()) life.consume(name, Infinity);
    for (const consumer of life.consumers) consumer.settle(consumer.unacked);
    await life.quiet();
    if (!life.goesOn) return;
  }
}

/** Lets many segments be used and freed, so that what a crash leaves of a commit is among what is left of others. */
export async function useSegments(scene: Scene): Promise<void> {
  const { life, random } = scene;
  for (let rounds = 1 + random.below(4); rounds > 0; rounds--) {
    for (let bursts = 1 + random.below(4); bursts > 0; bursts--) await burst(scene);
    await life.quiet();
    for (const name of life.goesOn ? life.model.queues.keys() : []) life.purge(name);
    if (rounds > 1 || random.chance(0.5)) await life.quiet();
    else await crashSoon(scene);
  }
}

/** A large commit, to be caught by the end of the life. */
export async function tear(scene: Scene): Promise<void> {
  for (let bursts = 1 + scene.random.below(2); bursts > 0; bursts--) await burst(scene);
  await crashSoon(scene);
}

/** In the middle of a commit, mostly. */
async function crashSoon({ life, random }: Scene): Promise<void> {
  const isWriting = (): boolean =>
    life.disk
      .pending()
      .some(
        ({ operation, file }) =>
          operation === "write" && life.log.segments.some((segment) => segment.file.name === file),
      );
  if (random.chance(0.5)) life.clock.advance(20);
  for (let turns = 60; turns > 0 && life.goesOn && !isWriting(); turns--) await nextTurn();
  for (let turns = random.below(life.disk.pending().length + 6); turns > 0 && life.goesOn; turns--)
    await nextTurn();
}

async function burst(scene: Scene): Promise<void> {
  const { life } = scene;
  for (let turns = 0; turns < 200 && life.goesOn && !life.log.hasRoom; turns++) await nextTurn();
  if (life.goesOn) publish(scene);
}

function publish({ life, random, theme }: Scene): void {
  const isBulk = random.chance(theme.bulkShare);
  const count = isBulk ? 20 + random.below(60) : 1 + random.below(random.chance(0.2) ? 30 : 6);
  const largeShare = isBulk ? 0.5 : random.pick([0, 0.1, 0.5]);
  for (let index = 0; index < count && life.goesOn; index++) {
    const persistent = !random.chance(theme.transientShare);
    const bodyBytes = anySizeBytes(random, largeShare, theme.longShare);
    life.publish(random.pick(life.publishers), anyRoute(life, random), { persistent, bodyBytes });
  }
}

function anySizeBytes(random: Random, largeShare: number, longShare: number): number {
  if (random.chance(longShare)) return random.pick([2000, 4000, 9000, 20_000, 40_000]) + random.below(400);
  if (random.chance(0.05)) return 0;
  if (random.chance(largeShare)) return 500 + random.below(1400);
  return random.below(200);
}

const routingKeys = ["a.b", "a.c", "x"];

function anyRoute({ model }: Life, random: Random): readonly [string, string] {
  if (random.chance(0.45)) return ["", random.pick([...model.queues.keys(), "nobody"])];
  return [random.pick([...model.topology.exchanges.keys()]), random.pick(routingKeys)];
}

function withConsumer(step: (scene: Scene, consumer: ConsumerModel) => void): Step {
  return (scene) => {
    const { consumers } = scene.life;
    if (consumers.length > 0) step(scene, scene.random.pick(consumers));
  };
}

function purge({ life, random }: Scene): void {
  const names = [...life.model.queues.keys()];
  if (names.length > 0) life.purge(random.pick(names));
}

function ackSome({ random }: Scene, consumer: ConsumerModel): void {
  consumer.settle(some(random, consumer.unacked));
}

function ackAll({ random }: Scene, consumer: ConsumerModel): void {
  consumer.settle(consumer.unacked.slice(0, Math.ceil(consumer.unacked.length * random.pick([0.5, 1]))));
}

function nackSome({ random }: Scene, consumer: ConsumerModel): void {
  const given = some(random, consumer.unacked);
  consumer.credit -= random.below(3);
  consumer.requeue(random.chance(0.5) ? given : given.toReversed());
}

function some<T>(random: Random, items: readonly T[]): T[] {
  const share = random.pick([0.1, 0.5, 0.9]);
  return items.filter(() => random.chance(share));
}

function consume({ life, random }: Scene): void {
  const names = [...life.model.queues.keys()];
  if (names.length > 0 && life.consumers.length < 8) life.consume(random.pick(names), random.below(30));
}

const queueNames = ["a", "b", "c", "d", "e", "f"];

function declareQueue({ life, random, theme }: Scene): void {
  const name = random.pick(queueNames);
  if (life.isDiskFull || life.model.queues.has(name)) return;
  declarations.declareQueue(life, name, kindOf(random, theme));
  if (random.chance(0.9)) life.awaitDefinitions();
}

function deleteQueue({ life, random }: Scene): void {
  const names = [...life.model.queues.keys()];
  if (life.isDiskFull || names.length === 0) return;
  declarations.deleteQueue(life, random.pick(names));
  life.awaitDefinitions();
}

function redeclareQueue({ life, random, theme }: Scene): void {
  const names = [...life.model.queues.keys()];
  if (life.isDiskFull || names.length === 0) return;
  const name = random.pick(names);
  declarations.deleteQueue(life, name);
  declarations.declareQueue(life, name, kindOf(random, theme));
  life.awaitDefinitions();
}

function kindOf(random: Random, { transientShare }: Theme): declarations.QueueKind {
  if (!random.chance(transientShare)) return "durable";
  return random.chance(0.5) ? "transient" : "exclusive";
}

function bind({ life, random, theme }: Scene): void {
  const { topology, queues } = life.model;
  if (life.isDiskFull || queues.size === 0) return;
  const exchange = random.pick([...topology.exchanges.keys()]);
  const key = random.pick([...routingKeys, "a.*", "#"]);
  const isPattern = key === "#" || key === "a.*";
  if (isPattern && topology.exchanges.get(exchange)!.type !== "topic") return;
  const noteBytes = theme.largeDefinitions ? 60_000 + random.below(40_000) : 0;
  declarations.bind(life, { exchange, queue: random.pick([...queues.keys()]), key, noteBytes });
  life.awaitDefinitions();
  if (theme.largeDefinitions && random.chance(0.8)) unbind({ life, random, theme });
}

function unbind({ life, random }: Scene): void {
  const bindings: BindingModel[] = [...life.model.topology.bindings.values()];
  if (life.isDiskFull || bindings.length === 0) return;
  const large = bindings.filter(({ noteBytes }) => noteBytes > 0);
  declarations.unbind(life, random.pick(large.length > 0 ? large : bindings));
  life.awaitDefinitions();
}

function declareExchange({ life, random }: Scene): void {
  const name: ExchangeTypeName = random.pick(["fanout", "direct", "topic"]);
  if (life.isDiskFull || life.model.topology.exchanges.has(name)) return;
  declarations.declareExchange(life, name, name, random.chance(0.8));
  life.awaitDefinitions();
}

function deleteExchange({ life, random }: Scene): void {
  const names = [...life.model.topology.exchanges.keys()].filter((name) => !name.startsWith("amq."));
  if (life.isDiskFull || names.length === 0) return;
  declarations.deleteExchange(life, random.pick(names));
  life.awaitDefinitions();
}

/** Or makes room again. */
async function fillDisk({ life, random, theme }: Scene): Promise<void> {
  if (!theme.mayFillDisk) return;
  const { disk } = life;
  if (life.isDiskFull) {
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    life.clock.advance(600);
    await life.quiet();
    life.isDiskFull = false;
    return;
  }
  await comeToRest(life);
  if (!life.goesOn) return;
  life.isDiskFull = true;
  const used = disk.capacityBytes - (await disk.freeBytes());
  disk.capacityBytes = used + random.below(40_000);
}

function breakDisk({ life, random, theme }: Scene): void {
  if (!theme.mayFail) return;
  life.mayFail = true;
  const operation = random.pick(["write", "sync"] as const);
  const file = random.pick([/^segment/, /^definitions/, /./]);
  life.disk.fail({ operation, file, code: "EIO", after: random.below(6), times: random.pick([1, Infinity]) });
}

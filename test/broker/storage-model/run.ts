/** A seed's run: several lives of a broker on one disk. */
import { geometry } from "../../../src/broker/storage/log/geometry.ts";
import { FaultyDisk } from "../../support/faulty-disk.ts";
import { Random } from "../../support/random.ts";
import { Life, nextTurn, type Setting } from "./life.ts";
import { Model, type Ending } from "./model.ts";
import { comeToRest, drain, setUp, takeStep, tear, useSegments, type Theme } from "./steps.ts";

const chunkBytes = 4096;
/** Far more than any of it takes. */
const mostTurns = 100_000;

/** Returns what the broker did wrong, the first things of it. */
export async function runSeed(seed: number): Promise<string[]> {
  const run = new Run(new Random(seed));
  const unhandled = (error: unknown): void =>
    void run.model.findings.push(`nobody handled: ${(error as Error).stack}`);
  process.on("unhandledRejection", unhandled);
  try {
    await run.all();
    await nextTurn();
  } catch (error) {
    run.model.findings.push(`in life ${run.lives}: ${(error as Error).stack}`);
  } finally {
    process.off("unhandledRejection", unhandled);
  }
  return run.model.findings.slice(0, 5);
}

/** There are findings. */
class Found extends Error {}

class Run {
  readonly model: Model = new Model();
  lives = 0;
  private readonly random: Random;
  private readonly theme: Theme;
  private readonly setting: Setting;
  private disk: FaultyDisk;
  private ending: Ending = "unclean";

  constructor(random: Random) {
    this.random = random;
    const diskRandom = new Random(random.below(0x1_0000_0000));
    this.disk = new FaultyDisk(diskRandom, { shortWrites: random.pick([0, 0, 0.3]) });
    this.setting = {
      geometry: geometry((4 + random.below(5)) * chunkBytes, chunkBytes),
      cachedChunks: 2 + random.below(7),
      crashWhenTold: random.pick([0, 0.03]),
    };
    const isTearing = random.chance(0.2);
    this.theme = {
      longShare: random.pick([0, 0.02, 0.2]),
      fanOut: random.chance(0.12) ? 28 + random.below(12) : 0,
      transientShare: random.pick([0, 0.1, 0.3]),
      bulkShare: isTearing ? 0.8 : random.pick([0, 0, 0.2]),
      isTearing,
      largeDefinitions: random.chance(0.02),
      mayFillDisk: random.chance(0.2),
      mayFail: random.chance(0.15),
    };
  }

  async all(): Promise<void> {
    const { random, theme } = this;
    for (let left = 2 + random.below(theme.isTearing ? 8 : 4); left > 0; left--) {
      const life = await this.begin();
      if (this.lives === 1 || life.model.queues.size === 0) setUp({ life, random, theme });
      if (theme.isTearing) await (random.chance(0.3) ? useSegments : tear)({ life, random, theme });
      for (let steps = theme.isTearing ? 0 : random.below(60); steps > 0 && life.goesOn; steps--) {
        // Each step has its own numbers, so that one that finds nothing to do changes no other.
        await takeStep({ life, random: new Random(random.below(0x1_0000_0000)), theme });
        this.check();
      }
      await this.end(life);
      this.check();
    }
    await this.lastLife();
  }

  /** Opens the disk, with crashes while it is being opened. */
  private async begin(): Promise<Life> {
    const { random, model } = this;
    while (random.chance(0.15)) await this.crashWhileOpening();
    if (this.theme.mayFail && random.chance(0.4)) await this.failToOpen();
    const life = await this.open(this.disk);
    this.lives++;
    model.judge(life.found, this.ending, this.theme.largeDefinitions);
    this.check();
    model.adopt(life.found);
    life.connect();
    return life;
  }

  private async open(disk: FaultyDisk): Promise<Life> {
    const life = this.newLife(disk);
    await within(life.open(this.random.chance(0.8)), "opening");
    return life;
  }

  private newLife(disk: FaultyDisk): Life {
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    disk.heal();
    return new Life(disk, this.model, this.setting, this.random);
  }

  private async crashWhileOpening(): Promise<void> {
    const { random } = this;
    const life = this.newLife(this.disk);
    const opening = life.open(false).catch((error: Error) => life.note(`opening failed: ${error.stack}`));
    const isOpen = await settles(opening, random.below(150));
    if (this.ending === "clean") this.ending = isOpen ? "unclean" : "perhaps clean";
    this.check();
    this.disk = random.chance(0.5) ? life.disk.crash() : life.disk.kill();
    life.after = this.disk;
  }

  /** The disk refuses something while it is being opened: nothing may be lost by it, and no file be left open. */
  private async failToOpen(): Promise<void> {
    const { random } = this;
    const life = this.newLife(this.disk);
    life.mayFail = true;
    const operation = random.pick([
      "list",
      "open",
      "size",
      "read",
      "write",
      "sync",
      "syncDirectory",
    ] as const);
    life.disk.fail({ operation, code: "EIO", after: random.below(random.pick([4, 60])), times: 1 });
    const isOpen = await within(
      life.open(false).then(
        () => true,
        () => false,
      ),
      "failing to open",
    );
    const open = life.disk.openFiles();
    if (!isOpen && open.length > 0) life.note(`left open by a failed opening: ${open.join(" ")}`);
    this.check();
    if (this.ending === "clean") this.ending = isOpen ? "unclean" : "perhaps clean";
    if (isOpen || operation === "write" || operation.startsWith("sync")) this.disk = life.crash();
  }

  private async end(life: Life): Promise<void> {
    const { random } = this;
    this.ending = "unclean";
    if (life.after) {
      this.disk = life.after;
    } else if (life.failure) {
      this.disk = random.chance(0.5) ? life.crash() : life.kill();
    } else if (random.chance(this.theme.isTearing ? 0.1 : 0.4)) {
      await this.stop(life);
    } else if (random.chance(0.3) && !life.mayFail) {
      this.disk = life.kill();
    } else {
      this.disk = life.crash();
    }
    // The same failure could have come out otherwise.
    const another = this.theme.isTearing ? 0.6 : 0.2;
    while (life.after && this.disk === life.after && random.chance(another) && this.ending === "unclean")
      await this.judgeAnother(life);
  }

  /** In order, unless the power or the disk fails before it is done. */
  private async stop(life: Life): Promise<void> {
    const { random } = this;
    life.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    if (this.theme.mayFail && random.chance(0.6)) {
      life.mayFail = true;
      const operation = random.pick(["write", "sync"] as const);
      life.disk.fail({ operation, code: "EIO", after: random.below(8), times: 1 });
    }
    const stopping = life.stop().catch((error: Error) => {
      if (!life.mayFail) life.note(`stopping failed: ${error.stack}`);
      life.failure ??= error;
    });
    const isInterrupted = random.chance(0.3);
    const isDone = await settles(stopping, isInterrupted ? random.below(60) : mostTurns, () => !life.after);
    if (!isDone && !isInterrupted && !life.after) life.note("stopping hangs");
    if (isDone && life.goesOn) {
      this.ending = "clean";
      const goOn = random.pick([() => life.disk, () => life.crash(), () => life.kill()]);
      this.disk = goOn();
    } else {
      this.ending = "perhaps clean";
      this.disk = life.after ?? (life.mayFail || random.chance(0.5) ? life.crash() : life.kill());
    }
  }

  private async judgeAnother(life: Life): Promise<void> {
    const other = await this.open(life.disk.crash());
    this.model.judge(other.found, this.ending, this.theme.largeDefinitions);
    other.after = other.disk.crash();
    this.check();
  }

  /** Everything is settled and stopped in order: nothing may be left. */
  private async lastLife(): Promise<void> {
    const life = await this.begin();
    await drain(life);
    await comeToRest(life);
    this.check();
    if (life.after) return;
    const { segments } = life.log;
    if (segments.length > 3) life.note(`the log of no messages has ${segments.length} segments`);
    const files = life.disk
      .names()
      .filter((name) => name.startsWith("segment-") && !name.endsWith(".broken"));
    if (files.length > 12) life.note(`the log of no messages has ${files.length} files`);
    this.check();
    await within(life.stop(), "stopping");
    this.check();
  }

  private check(): void {
    if (this.model.findings.length > 0) throw new Found(`theme ${JSON.stringify(this.theme)}`);
  }
}

/** @throws Error when it has not come after so many turns of the event loop that it never will. */
async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  if (!(await settles(promise, mostTurns))) throw new Error(`${what} hangs`);
  return promise;
}

/** Whether it does within so many turns, while there is hope. */
async function settles(
  promise: Promise<unknown>,
  turns: number,
  isHopeful: () => boolean = () => true,
): Promise<boolean> {
  const state = { isSettled: false };
  const settled = (): void => void (state.isSettled = true);
  promise.then(settled, settled);
  for (let left = turns; left > 0 && !state.isSettled && isHopeful(); left--) await nextTurn();
  return state.isSettled;
}

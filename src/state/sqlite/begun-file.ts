import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { begunTask } from "../task-operations.ts";
import type { TaskRow } from "../task-row.ts";

/** Whoever has not begun anything for so long has written to the database what it had begun, or is gone. */
const abandonedMs = 3_600_000;
/** What is taken over from it may have been done and forgotten meanwhile: it is kept so long, unless it begins again. */
const keptMs = 7 * 24 * 3_600_000;

type Entry = readonly [id: string, type: string, queue: string, attempt: number, fence: number, atMs: number];

/**
 * What a store has begun and not yet written to the database, in a file beside it. It survives the process, though not a power
 * failure, so that an attempt counts that takes its process with it; and costs a twentieth of a transaction.
 */
export class BegunFile {
  private readonly directory: string;
  private readonly prefix: string;
  private readonly path: string;
  private descriptor: number | undefined;
  private writtenAtMs = 0;

  constructor(database: string) {
    this.directory = dirname(database);
    this.prefix = `${basename(database)}-begun-`;
    this.path = join(this.directory, this.prefix + randomBytes(8).toString("hex"));
  }

  /** Instead of what it held. */
  write(tasks: Iterable<TaskRow>): void {
    const nowMs = performance.now();
    // Somebody may have taken it for abandoned.
    if (nowMs - this.writtenAtMs > abandonedMs / 2 && this.descriptor !== undefined) this.closeFile();
    this.writtenAtMs = nowMs;
    this.descriptor ??= openSync(this.path, "w", 0o600);
    const entries = Array.from(tasks, ({ id, type, queue, messageAttempt, fence, startedAtMs }): Entry => [
      id,
      type,
      queue,
      messageAttempt,
      fence,
      startedAtMs!,
    ]);
    // Behind the end of the line stands what is left of a longer one.
    const text = Buffer.from(`${JSON.stringify(entries)}\n`);
    if (writeSync(this.descriptor, text, 0, text.length, 0) < text.length)
      throw new Error(`the disk takes no more of ${this.path}`);
  }

  /** Those of the tasks that other stores have begun: perhaps they have written it since. */
  ofOthers(ids: ReadonlySet<string>): TaskRow[] {
    return this.otherPaths()
      .flatMap(read)
      .filter(({ id }) => ids.has(id));
  }

  /** What stores have begun that seem to be gone. `remove` is for when it is in the database. */
  abandoned(nowMs: number): { readonly tasks: readonly TaskRow[]; remove(): void } {
    const paths = this.otherPaths().filter((path) => {
      const { mtimeMs = nowMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
      return mtimeMs < nowMs - abandonedMs;
    });
    return {
      tasks: paths.flatMap(read).map((task) => ({ ...task, expiresAtMs: task.startedAtMs! + keptMs })),
      remove() {
        for (const path of paths) rmSync(path, { force: true });
      },
    };
  }

  close(): void {
    if (this.descriptor === undefined) return;
    this.closeFile();
    rmSync(this.path, { force: true });
  }

  private closeFile(): void {
    closeSync(this.descriptor!);
    this.descriptor = undefined;
  }

  private otherPaths(): string[] {
    return readdirSync(this.directory)
      .filter((name) => name.startsWith(this.prefix))
      .map((name) => join(this.directory, name))
      .filter((path) => path !== this.path);
  }
}

function read(path: string): TaskRow[] {
  try {
    const text = readFileSync(path, "utf8");
    const entries = JSON.parse(text.slice(0, text.indexOf("\n"))) as Entry[];
    return entries.map(([id, type, queue, attempt, fence, nowMs]) =>
      begunTask({ id, type, queue, attempt, nowMs }, fence),
    );
  } catch {
    // Removed meanwhile; or its owner is writing it, and so has it still in hand.
    return [];
  }
}

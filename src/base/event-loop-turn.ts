/**
 * Hot path: one instance per broker gathers what the current turn of the event loop left to be done, and does it once.
 * Benchmark: T16, P1K in bench/ (one socket write per delivery instead costs 9×, see HOT-PATH.md).
 *
 * The order is: commits that need no disk, then outputs (one write per connection), then readers that gave way to others.
 */
export interface EndOfTurn {
  endOfTurn(): void;
}

export class EventLoopTurn {
  private commits: EndOfTurn[] = [];
  private outputs: EndOfTurn[] = [];
  private readers: EndOfTurn[] = [];
  private scheduled = false;
  /** Grows with every turn that had something to do. */
  number = 0;
  private readonly run = (): void => this.end();

  /** Registers for the time before outputs are written. Callers register once per turn. */
  beforeFlush(task: EndOfTurn): void {
    this.commits.push(task);
    this.schedule();
  }

  flush(output: EndOfTurn): void {
    this.outputs.push(output);
    this.schedule();
  }

  afterFlush(reader: EndOfTurn): void {
    this.readers.push(reader);
    this.schedule();
  }

  /** `setImmediate` runs after all sockets that are readable now were read; `nextTick` would run between them. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.run);
  }

  private end(): void {
    this.scheduled = false;
    this.number++;
    // Each list is swapped before it is run: what registers meanwhile belongs to the next turn. Commits write confirms,
    // so that outputs are taken only after them.
    const { commits } = this;
    if (commits.length > 0) this.commits = [];
    for (const task of commits) task.endOfTurn();
    const { outputs } = this;
    if (outputs.length > 0) this.outputs = [];
    for (const output of outputs) output.endOfTurn();
    const { readers } = this;
    if (readers.length > 0) this.readers = [];
    for (const reader of readers) reader.endOfTurn();
  }
}

/** `native`: the backend does it; `emulated`: we do it with what it has, see docs/backends.md for the price; `none`: it is refused. */
export type Support = "native" | "emulated" | "none";

/** What a bus can do, by what it is connected to. */
export interface Capabilities {
  /** A task sent is on disk when `send` resolves. */
  readonly durability: Support;
  /** `delay`, `at`, and the waiting before retries. */
  readonly delay: Support;
  /** Tasks of a higher priority are taken first. */
  readonly priority: Support;
  /** `ttl`. */
  readonly expiry: Support;
  readonly deadLetters: Support;
  /** Looking at dead letters. Emulated: they are taken out and put back, which marks them as redelivered. */
  readonly browse: Support;
  /** Sending dead letters again. Emulated: a crash may leave one in both places. */
  readonly redrive: Support;
  /** `job.result()`. Emulated: by a reply, to the process that has sent the task. */
  readonly results: Support;
  /** `job.cancel()` of what has not started. */
  readonly cancel: Support;
  /** `job.state()`, `job.events()` and progress. */
  readonly state: Support;
  /** `ctx.step`. */
  readonly steps: Support;
  /** A worker that dies has used up an attempt. Emulated: an upper bound, other returns are counted too. */
  readonly crashAttempts: Support;
}

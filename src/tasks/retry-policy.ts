/** How a task is tried again after its handler has thrown. Times are milliseconds. */
export interface RetryOptions {
  /** Attempts after the first. Default 3. */
  readonly retries?: number;
  /** Grows by `factor` with each attempt, or stays. Default `exponential`. */
  readonly backoff?: "exponential" | "fixed";
  /** Before the first retry. Default 1 000. */
  readonly delay?: number;
  /** Default 2. */
  readonly factor?: number;
  /** No delay is longer. Default 300 000 (5 minutes). */
  readonly maxDelay?: number;
  /**
   * `full`: anything from nothing to the delay, so that what failed together does not come back together; `none`: the delay.
   * Default `full`. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
   */
  readonly jitter?: "full" | "none";
}

const defaults: Required<RetryOptions> = {
  retries: 3,
  backoff: "exponential",
  delay: 1_000,
  factor: 2,
  maxDelay: 300_000,
  jitter: "full",
};

export class RetryPolicy {
  readonly options: Required<RetryOptions>;
  private readonly random: () => number;

  constructor(options: RetryOptions | false | undefined, random: () => number = Math.random) {
    this.options = options === false ? { ...defaults, retries: 0 } : { ...defaults, ...options };
    this.random = random;
  }

  get mostAttempts(): number {
    return this.options.retries + 1;
  }

  /** How long to wait after the failure of this attempt, counted from 1, in whole milliseconds. */
  delayAfter(attempt: number): number {
    const { backoff, delay, factor, maxDelay, jitter } = this.options;
    const grown = backoff === "fixed" ? delay : delay * factor ** (attempt - 1);
    const capped = Math.min(grown, maxDelay);
    return Math.round(jitter === "full" ? capped * this.random() : capped);
  }
}

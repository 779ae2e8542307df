import { setTimeout as sleep } from "node:timers/promises";
import { systemClock, type Clock, type Timer } from "../../base/index.ts";
import { ModelError, type ModelReply, type ModelRequest } from "../model.ts";

/** How long a model is waited for, and how often it is asked again. Times are milliseconds. */
export interface PatienceOptions {
  /** How long it may say nothing: before the reply, and between two parts of it. Default 60 000; Node's `fetch` gives up at 300 000. */
  readonly timeout?: number;
  /**
   * How often it is asked again for a reply that has failed before any text of it was handed on, in a way that may pass. Default 2.
   * What fails afterwards is the turn's to try again, which takes back the text; so is what still fails after the last retry.
   */
  readonly retries?: number;
  /** A wait that the API asks for is kept here up to so long, and else in the turn's queue, where it holds nothing. Default 60 000. */
  readonly maxRetryAfter?: number;
}

/** Time and chance, handed in so that tests need not wait. */
export interface Surroundings {
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Keeps the process alive, as the clock's timers do not. @throws when the signal is aborted */
  readonly wait: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

const system: Surroundings = {
  clock: systemClock,
  random: Math.random,
  wait: (delayMs, signal) => sleep(delayMs, undefined, { signal }),
};

/** What one try may use. */
export interface Try {
  /** Aborted when the caller gives up, or the model has been silent for too long. */
  readonly signal: AbortSignal;
  /** The model lives: its time begins anew. */
  readonly heard: () => void;
  readonly onText: (delta: string) => void;
}

/** Before the first retry, doubled with each, and no longer than the second. */
const [firstDelayMs, longestDelayMs] = [1_000, 30_000];

/** Asks a model again while that may help and nobody has seen anything of its reply. */
export class Patience {
  private readonly model: string;
  private readonly options: Required<PatienceOptions>;
  private readonly surroundings: Surroundings;

  /** @param model - how errors call it */
  constructor(
    model: string,
    { timeout = 60_000, retries = 2, maxRetryAfter = 60_000 }: PatienceOptions,
    surroundings: Surroundings = system,
  ) {
    this.model = model;
    this.options = { timeout, retries, maxRetryAfter };
    this.surroundings = surroundings;
  }

  nowMs(): number {
    return this.surroundings.clock.nowMs();
  }

  /** @throws what the last try has thrown; a ModelError after silence; the request's signal's reason */
  async ask(request: ModelRequest, attempt: (tools: Try) => Promise<ModelReply>): Promise<ModelReply> {
    const { signal } = request;
    for (let retry = 0; ; retry++) {
      let hasText = false;
      const onText = (delta: string): void => {
        if (delta === "") return;
        hasText = true;
        request.onText(delta);
      };
      try {
        return await this.unlessSilent(signal, onText, attempt);
      } catch (error) {
        if (hasText || retry >= this.options.retries) throw error;
        await this.wait(error, retry, signal);
      }
    }
  }

  private async unlessSilent(
    given: AbortSignal,
    onText: (delta: string) => void,
    attempt: (tools: Try) => Promise<ModelReply>,
  ): Promise<ModelReply> {
    given.throwIfAborted();
    const { timeout } = this.options;
    const silence = new AbortController();
    const signal = AbortSignal.any([given, silence.signal]);
    let timer: Timer | undefined;
    const heard = (): void => {
      timer?.cancel();
      timer = this.surroundings.clock.after(timeout, () =>
        silence.abort(new ModelError(`${this.model} has said nothing for ${timeout} ms`)),
      );
    };
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    heard();
    try {
      // A model that does not heed the signal is not waited for, and not listened to.
      const heeded = (delta: string): void => (signal.aborted ? undefined : onText(delta));
      return await Promise.race([attempt({ signal, heard, onText: heeded }), aborted]);
    } finally {
      timer?.cancel();
      silence.abort();
    }
  }

  /** @throws the error, when it is not to be waited for */
  private async wait(error: unknown, retry: number, signal: AbortSignal): Promise<void> {
    const { random, wait } = this.surroundings;
    if (!(error instanceof ModelError) || error.isFinal) throw error;
    const { retryAfterMs } = error;
    if (retryAfterMs !== undefined && retryAfterMs > this.options.maxRetryAfter) throw error;
    // Full jitter: what was refused together does not come back together.
    const delayMs = retryAfterMs ?? Math.min(longestDelayMs, firstDelayMs * 2 ** retry) * random();
    try {
      await wait(Math.round(delayMs), signal);
    } finally {
      signal.throwIfAborted();
    }
  }
}

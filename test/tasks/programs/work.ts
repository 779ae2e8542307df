/** The task of the programs beside this file. */
import { defineTask, type ConnectOptions, type Task, type WorkerOptions } from "../../../src/tasks/index.ts";

export interface WorkerSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state" | "queueType">;
  /** One worker of the process for each. */
  readonly workers: readonly (WorkerOptions & {
    readonly queue: string;
    readonly act?: Act;
    readonly retries?: number;
  })[];
}

export interface SenderSettings {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state" | "queueType">;
  readonly queue: string;
  /** What the first of the tasks has for its value; each has one more than the one before. */
  readonly first: number;
  /** Stops by itself after so many confirms. Default: never. */
  readonly count?: number;
  readonly inFlight: number;
  /** After each confirm. */
  readonly pauseMs: number;
  /** How long each of the tasks takes. Default: no time. */
  readonly workMs?: number;
  /** `false` as in SendOptions. */
  readonly result?: boolean;
}

/**
 * What a handler does: nothing; wait until it is told to stop; kill its process; wait for some milliseconds, deaf to its signal;
 * keep its thread busy for so long.
 */
export type Act = "return" | "hold" | "crash" | "sleep" | "block";

export interface Work {
  readonly value: number;
  readonly act?: Act;
  readonly ms?: number;
}

/** A {@link Work} is its input, and the value doubled its output. Crashes count as attempts: tests that kill for long want many retries. */
export function workOn(queue: string, retries = 3): Task<undefined, undefined> {
  return defineTask("work", { queue, retry: { retries, delay: 100, jitter: "none" } });
}

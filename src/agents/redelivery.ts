import { Retry, type Context } from "../tasks/index.ts";

/** Who had it before may have recorded what it has done, and not published it. */
export function isAgain({ attempt, redelivered }: Context): boolean {
  return attempt > 1 || redelivered;
}

/**
 * Published twice, and the other one is at work: somebody has begun who has neither died nor handed it back, or the broker would say
 * so. (docs/tasks.md: an attempt's own message bears its number.)
 */
export function isCopy({ attempt, redelivered, headers }: Context): boolean {
  const number = Number(headers["x-warren-attempt"] ?? 1);
  return !redelivered && attempt > number;
}

/** By then whoever is at work is mostly done. */
const afterMs = 30_000;

/** What a copy does: it comes again, should the other one have died all the same. */
export function later(): Retry {
  const message = "somebody else is at work on this turn";
  return new Retry({ after: afterMs, countsAsAttempt: false, message });
}

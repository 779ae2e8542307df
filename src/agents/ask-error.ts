import type { Outcome } from "./entries.ts";

/** An agent that was asked has ended without an answer. */
export class AskError extends Error {
  override readonly name = "AskError";
  readonly outcome: Outcome;

  constructor(agent: string, outcome: Outcome, reason: string) {
    super(`agent '${agent}' gave no answer (${outcome})${reason === "" ? "" : `: ${reason}`}`);
    this.outcome = outcome;
  }
}

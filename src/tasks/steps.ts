import type { Clock } from "../base/index.ts";
import type { StateStore, StateTransaction } from "../state/index.ts";
import type { Effect, StepTools } from "./context.ts";
import { CapabilityError, ConnectionLostError, UnknownOutcomeError } from "./errors.ts";

/** The steps of one attempt: INVARIANT 16, effects are named honestly. */
export class Steps {
  private readonly state: StateStore;
  private readonly taskId: string;
  private readonly fence: number;
  private readonly idempotencyKey: string;
  private readonly signal: AbortSignal;
  private readonly clock: Clock;

  constructor(parts: {
    state: StateStore;
    taskId: string;
    fence: number;
    idempotencyKey: string;
    signal: AbortSignal;
    clock: Clock;
  }) {
    this.state = parts.state;
    this.taskId = parts.taskId;
    this.fence = parts.fence;
    this.idempotencyKey = parts.idempotencyKey;
    this.signal = parts.signal;
    this.clock = parts.clock;
  }

  async run<T>(name: string, effect: Effect, work: (tools: StepTools) => T | Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    if (effect === "transactional") return this.runInTransaction(name, work);
    const { steps } = this.state;
    const known = await steps.find(this.taskId, name);
    if (known?.status === "done") return parse(known.result) as T;
    if (effect === "once") {
      if (known?.status === "intended") throw this.unknownOutcome(name);
      if (!(await steps.intend(this.taskId, name, this.fence, this.clock.nowMs()))) throw this.lost();
    }
    const result = await this.doOnce(name, effect, work);
    const text = result === undefined ? undefined : JSON.stringify(result);
    if (!(await steps.record(this.taskId, name, this.fence, text, this.clock.nowMs()))) throw this.lost();
    return result;
  }

  private async doOnce<T>(
    name: string,
    effect: Effect,
    work: (tools: StepTools) => T | Promise<T>,
  ): Promise<T> {
    try {
      return await work(this.tools(name));
    } catch (error) {
      if (effect !== "once") throw error;
      // It has begun, and an error does not say how far it came.
      throw this.unknownOutcome(name, error);
    }
  }

  private async runInTransaction<T>(name: string, work: (tools: StepTools) => T | Promise<T>): Promise<T> {
    const text = await this.state.steps.transact(
      this.taskId,
      name,
      this.fence,
      (transaction) => work(this.tools(name, transaction)),
      this.clock.nowMs(),
    );
    return parse(text) as T;
  }

  private tools(name: string, transaction?: StateTransaction): StepTools {
    return {
      idempotencyKey: `${this.idempotencyKey}:${name}`,
      signal: this.signal,
      get transaction(): StateTransaction {
        if (transaction) return transaction;
        throw new CapabilityError(`step '${name}' is not transactional: give it { effect: "transactional" }`);
      },
    };
  }

  private unknownOutcome(name: string, cause?: unknown): UnknownOutcomeError {
    return new UnknownOutcomeError(
      `step '${name}' of task ${this.taskId} has begun and nobody knows whether it was done. It is not done again: ` +
        "look at its receiver, then discard the dead letter or send it again.",
      { cause },
    );
  }

  private lost(): ConnectionLostError {
    return new ConnectionLostError(`task ${this.taskId} has gone to another worker, or was cancelled`);
  }
}

function parse(text: string | undefined): unknown {
  return text === undefined ? undefined : JSON.parse(text);
}

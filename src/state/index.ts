export { openState, type StateLocation } from "./open-state.ts";
export { StaleFenceError, StateError } from "./errors.ts";
export type {
  Begun,
  Claim,
  CompletedOutcome,
  DeadOutcome,
  Journal,
  JournalAddition,
  JournalEntry,
  JournalSummary,
  Lease,
  Leases,
  NextAttempt,
  StateStore,
  StateTransaction,
  StepLedger,
  StepRecord,
  TaskEvent,
  TaskFailure,
  TaskFilter,
  TaskPhase,
  TaskRecord,
} from "./state-store.ts";

import type { StatementSync } from "node:sqlite";
import { columns, type TaskChange } from "../task-row.ts";

/**
 * Statements that write to a task only what changes, since each value takes its time: a fifth of that of writing the row
 * for those that complete does not change. There are as many as there are kinds of change.
 */
export class Writing {
  private readonly prepare: (columns: readonly string[]) => StatementSync;
  private readonly prepared: { fields: readonly string[]; statement: StatementSync }[] = [];

  constructor(prepare: (columns: readonly string[]) => StatementSync) {
    this.prepare = prepare;
  }

  /** Takes the values in the order in which they stand in `change`. */
  to(change: TaskChange): StatementSync {
    const fields = Object.keys(change) as (keyof TaskChange)[];
    const found = this.prepared.find((one) => isSame(one.fields, fields));
    if (found !== undefined) return found.statement;
    const statement = this.prepare(fields.map((field) => columns[field]));
    this.prepared.push({ fields, statement });
    return statement;
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((field, index) => field === others[index]);
}

import { lend } from "../lent-transaction.ts";
import type { Touched } from "../operation.ts";
import type { StateTransaction } from "../state-store.ts";
import { doneStep, recordedStep } from "../step-operations.ts";
import { isConnectionLoss, type Connections, type Query } from "./connections.ts";
import { PostgresRows, stepRecord, taskRow } from "./postgres-rows.ts";
import type { statements } from "./sql.ts";

const openingDelayMs = 200;

export interface StepTransaction<T> {
  readonly taskId: string;
  readonly name: string;
  readonly fence: number;
  readonly nowMs: number;
  readonly work: (tx: StateTransaction) => T | Promise<T>;
}

/**
 * The work and its record. The task's row is locked at the end only, when the fence is looked at again: whatever the work
 * waits for, other writes of the task do not wait for the work.
 */
export async function runStepTransaction<T>(
  connections: Connections,
  sql: ReturnType<typeof statements>,
  step: StepTransaction<T>,
): Promise<string | undefined> {
  const { taskId, name, fence, nowMs } = step;
  const touches: Touched = { task: taskId, step: name };
  const found = async (query: Query): Promise<{ result: string | undefined } | undefined> => {
    const { done } = recordedStep(await PostgresRows.lock(query, sql, [{ touches }]), taskId, name, fence);
    return done && { result: done.result };
  };

  for (;;) {
    let stage = "opening" as "opening" | "working" | "committing";
    try {
      return await connections.use(async (query, client) => {
        await query("BEGIN");
        const { done } = recordedStep(await look(query, sql, step), taskId, name, fence);
        if (done !== undefined) {
          await query("ROLLBACK");
          return done.result;
        }
        stage = "working";
        const ask: StateTransaction["query"] = async (text, parameters = []) =>
          (await client.query<Record<string, unknown>>(text, [...parameters])).rows;
        const result = JSON.stringify(await lend(ask, step.work)) as string | undefined;
        const rows = await PostgresRows.lock(query, sql, [{ touches }]);
        const now = recordedStep(rows, taskId, name, fence);
        if (now.done !== undefined) {
          await query("ROLLBACK");
          return now.done.result;
        }
        rows.saveStep(now.task, doneStep(name, fence, result, nowMs));
        await query(sql.save, rows.changes());
        stage = "committing";
        await query("COMMIT");
        return result;
      });
    } catch (error) {
      if (stage === "working" || !isConnectionLoss(error)) throw error;
      if (stage === "opening") {
        await connections.pause(openingDelayMs, error);
        continue;
      }
      // The lock waits for the lost connection's commit, so that what is found then is final.
      const committed = await connections.persist(() =>
        connections.use((query) => inTransaction(query, found)),
      );
      if (committed === undefined) throw error;
      return committed.result;
    }
  }
}

/** Without a lock. */
async function look(
  query: Query,
  sql: ReturnType<typeof statements>,
  { taskId, name }: { taskId: string; name: string },
): Promise<Pick<PostgresRows, "task" | "step">> {
  const [task] = await query(sql.task, [taskId]);
  const [step] = await query(sql.step, [taskId, name]);
  return { task: () => task && taskRow(task), step: () => step && stepRecord(step) };
}

async function inTransaction<T>(query: Query, work: (query: Query) => Promise<T>): Promise<T> {
  await query("BEGIN");
  const result = await work(query);
  await query("COMMIT");
  return result;
}

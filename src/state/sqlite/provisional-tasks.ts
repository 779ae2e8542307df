import type { TaskRow } from "../task-row.ts";

/**
 * Tasks that have begun and are not in the database yet. What a transaction writes of them counts when it is committed; one that
 * is rolled back leaves them as they were.
 */
export class ProvisionalTasks {
  private readonly tasks = new Map<string, TaskRow>();
  /** By the current transaction. */
  private readonly written = new Set<string>();

  get size(): number {
    return this.tasks.size;
  }

  all(): Iterable<TaskRow> {
    return this.tasks.values();
  }

  add(task: TaskRow): void {
    this.tasks.set(task.id, task);
  }

  remove(id: string): void {
    this.tasks.delete(id);
  }

  /** Undefined also when the current transaction has written it. */
  get(id: string): TaskRow | undefined {
    return this.written.has(id) ? undefined : this.tasks.get(id);
  }

  /** The current transaction writes it. */
  take(id: string): TaskRow | undefined {
    const task = this.get(id);
    if (task) this.written.add(id);
    return task;
  }

  get ids(): string[] {
    return [...this.tasks.keys()];
  }

  committed(): void {
    for (const id of this.written) this.tasks.delete(id);
    this.written.clear();
  }

  rolledBack(): void {
    this.written.clear();
  }
}

import { fork, type ChildProcess } from "node:child_process";
import type { Mark, Order, Report } from "./messages.ts";
import type { LoadPlan, Role } from "./plan.ts";

/** The runner's end of one worker process. */
export class WorkerProcess {
  readonly role: Role;
  /** Resolves when a counted run is through; rejects when the worker fails. */
  readonly done: Promise<Mark>;
  private readonly child: ChildProcess;
  private readonly settleDone: PromiseWithResolvers<Mark> = Promise.withResolvers<Mark>();
  private readonly ready: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  private readonly exited: Promise<void>;
  private awaitedMark: PromiseWithResolvers<Mark> | undefined;

  constructor(role: Role) {
    this.role = role;
    this.done = this.settleDone.promise;
    // Both may be rejected while nobody waits for them; whoever waits later still sees it.
    this.done.catch(() => {});
    this.ready.promise.catch(() => {});
    this.child = fork(new URL("./worker.ts", import.meta.url));
    this.child.on("message", (report: Report) => this.receive(report));
    this.exited = new Promise((resolve) => {
      this.child.once("exit", (code, signal) => {
        this.fail(`ended early (${signal ?? code})`);
        resolve();
      });
    });
  }

  /** Connects, and declares what each connection needs; resolves when `go` would start at once. */
  async prepare(plan: LoadPlan): Promise<void> {
    this.order({ kind: "prepare", role: this.role, plan });
    await this.ready.promise;
  }

  go(): void {
    this.order({ kind: "go" });
  }

  async mark(): Promise<Mark> {
    this.awaitedMark = Promise.withResolvers<Mark>();
    this.order({ kind: "mark" });
    return Promise.race([this.awaitedMark.promise, this.done]);
  }

  /** Its sockets close with it; stopping twice is fine. */
  async stop(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  private order(order: Order): void {
    if (this.child.connected) this.child.send(order);
  }

  private receive(report: Report): void {
    if (report.kind === "ready") this.ready.resolve();
    else if (report.kind === "mark") this.awaitedMark?.resolve(report.mark);
    else if (report.kind === "done") this.settleDone.resolve(report.mark);
    else this.fail(report.reason);
  }

  private fail(reason: string): void {
    const error = new Error(`${this.role}: ${reason}`);
    this.ready.reject(error);
    this.settleDone.reject(error);
  }
}

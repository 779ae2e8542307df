import { Worker } from "node:worker_threads";
import { silentLogger, type Clock, type Logger } from "../../base/index.ts";
import {
  serve,
  type LogLevels,
  type Order,
  type Report,
  type Serving,
  type ThreadData,
  type ToldError,
} from "./broker-thread.ts";
import type { Site } from "./site.ts";

/** Where a broker of this process runs. */
export interface BrokerHost {
  /** Starts a broker; undefined when another one has the data directory. @throws StorageError, Error */
  tryToServe(): Promise<Serving | undefined>;
  /** Gives back what trying has taken. Not while a broker serves. */
  dismiss(): Promise<void>;
}

export function hostFor(site: Site, logger: Logger, clock: Clock | undefined): BrokerHost {
  if (clock === undefined) return new ThreadHost(site, logger);
  return { tryToServe: () => serve(site, logger, clock), async dismiss() {} };
}

/** Runs it in a thread, which is kept from one try to the next: starting one takes longer than the rest of a try. */
class ThreadHost implements BrokerHost {
  private readonly site: Site;
  private readonly log: Logger;
  private thread: Worker | undefined;
  private answer: ((report: Report) => void) | undefined;

  constructor(site: Site, log: Logger) {
    this.site = site;
    this.log = log;
  }

  async tryToServe(): Promise<Serving | undefined> {
    const thread = (this.thread ??= this.start());
    tell(thread, "serve");
    const report = await this.report();
    if (report.kind === "in-use") return undefined;
    if (report.kind === "refused" || report.kind === "ended") throw heard(report.error!);
    return { ended: this.end(), stop: () => tell(thread, "stop") };
  }

  async dismiss(): Promise<void> {
    const { thread } = this;
    this.thread = undefined;
    await thread?.terminate();
  }

  private async end(): Promise<Error | undefined> {
    const report = await this.report();
    await this.dismiss();
    return report.kind === "ended" && report.error ? heard(report.error) : undefined;
  }

  private start(): Worker {
    const embeddedBroker = { site: this.site, levels: levelsOf(this.log) };
    const thread = new Worker(threadFile, {
      workerData: { embeddedBroker } satisfies ThreadData,
      name: "warren broker",
    });
    thread.on("message", (report: Report) => {
      if (report.kind === "log") this.log[report.level](report.fields, report.message);
      else this.answer?.(report);
    });
    let cause: Error | undefined;
    thread.on("error", (error: Error) => (cause = error));
    thread.on("exit", (code) =>
      this.died(thread, cause ?? new Error(`the broker's thread ended with code ${code}`)),
    );
    return thread;
  }

  /** The thread has ended, although nobody dismissed it. */
  private died(thread: Worker, error: Error): void {
    if (this.thread !== thread) return;
    this.thread = undefined;
    this.answer?.({ kind: "ended", error });
  }

  private report(): Promise<Report> {
    return new Promise((resolve) => {
      this.answer = (report) => {
        this.answer = undefined;
        resolve(report);
      };
    });
  }
}

/** As built it stands beside this file as JavaScript, in the sources as TypeScript. */
const threadFile = new URL(
  import.meta.url.endsWith(".ts") ? "broker-thread.ts" : "broker-thread.js",
  import.meta.url,
);

function tell(thread: Worker, order: Order): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows; this is a thread
  thread.postMessage(order);
}

function heard({ name, message, stack }: ToldError): Error {
  return Object.assign(new Error(message), { name, stack });
}

/** The broker says at debug what each client does: too much to send from thread to thread for a logger that does not want it. */
function levelsOf(logger: Logger): LogLevels {
  if (logger === silentLogger) return [];
  const { isLevelEnabled } = logger as { isLevelEnabled?: (level: string) => boolean };
  const wantsDebug = isLevelEnabled?.call(logger, "debug") ?? false;
  return [...(wantsDebug ? (["debug"] as const) : []), "info", "warn", "error"];
}

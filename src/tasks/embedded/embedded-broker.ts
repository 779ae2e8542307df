import { setTimeout as pause } from "node:timers/promises";
import { systemClock, type Clock, type Logger, type Timer } from "../../base/index.ts";
import { hostFor, type BrokerHost } from "./broker-host.ts";
import { lockHolder } from "./lock-holder.ts";
import { directorySite, leave, memorySite, type Site } from "./site.ts";
import { watchBroker } from "./watch-broker.ts";

export interface EmbeddedBrokerOptions {
  /** The data directory; undefined keeps everything in memory, private to this process. */
  readonly dataDir: string | undefined;
  readonly logger: Logger;
  /** For tests: the broker runs in this thread with this clock, instead of in a thread of its own. */
  readonly clock?: Clock;
}

/** What a process is for the data directory: its broker runs here, or in another process (or for another opener in this one). */
export type EmbeddedRole = "serving" | "attached";

/** A broker that the processes on a data directory have in common: one of them runs it, and another one when that has gone. */
export interface EmbeddedBroker extends AsyncDisposable {
  /** Where clients connect, as guest with the password guest; the same for the directory, whoever serves it. */
  readonly socketPath: string;
  /** Whether the broker runs here now. */
  readonly isServing: boolean;
  /**
   * Calls the listener when the broker before has gone and one answers again: here, or elsewhere. Clients have lost their
   * connections in between.
   */
  onChange(listener: (role: EmbeddedRole) => void): void;
  /**
   * Lets go. A broker that runs here stops in order: clients are told, everything is on the disk, and then another process
   * takes over. Until then this keeps the process alive, like a server. Twice is fine. Rejects when the data directory could
   * not be written to the end.
   */
  stop(): Promise<void>;
}

/**
 * Opens a data directory, or a broker in memory: resolves when a broker answers on `socketPath`.
 *
 * The first process to hold the directory's lock serves; the others attach to it and keep an idle connection open, which closes
 * when the broker ends, however it does. Then all try to serve, and the lock decides. A process that is stopped (SIGSTOP)
 * holds the lock: the others wait, and say so in the log after ten seconds.
 *
 * @throws StorageError when the directory is damaged or of another version; Error when the socket cannot be listened on.
 */
export async function openEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { dataDir, logger, clock } = options;
  const site = dataDir === undefined ? memorySite() : directorySite(dataDir);
  const participant = new Participant(site, hostFor(site, logger, clock), logger, clock ?? systemClock);
  await participant.opened;
  return participant;
}

/** Between tries while another process has the directory and does not answer yet: it is starting, or stopping. */
const inUsePause = { firstMs: 10, longestMs: 250 };
/** Between tries after a failure, which is logged each time. */
const failurePause = { firstMs: 100, longestMs: 5_000 };
const unansweredMs = 10_000;

class Participant implements EmbeddedBroker {
  /** Resolves when a broker answers for the first time. */
  readonly opened: Promise<void>;
  private readonly site: Site;
  private readonly host: BrokerHost;
  private readonly log: Logger;
  private readonly clock: Clock;
  private readonly listeners: ((role: EmbeddedRole) => void)[] = [];
  private readonly stopping = new AbortController();
  private readonly ended: Promise<void>;
  private readonly settleOpened: PromiseWithResolvers<void>;
  private role: EmbeddedRole | undefined;
  private hasOpened = false;
  /** Tries since there was a role. */
  private tries = 0;
  /** Never forgotten: a disk that fails again and again is tried every few seconds, by whoever is the first then. */
  private failures = 0;
  private complaint: Timer | undefined;
  /** What the last try to attach ended with. */
  private lastAnswer: string | undefined;

  constructor(site: Site, host: BrokerHost, log: Logger, clock: Clock) {
    this.site = site;
    this.host = host;
    this.log = log;
    this.clock = clock;
    this.settleOpened = Promise.withResolvers<void>();
    this.opened = this.settleOpened.promise;
    this.ended = this.takePart();
    // Told to whoever opens or stops.
    this.ended.catch(() => {});
  }

  get socketPath(): string {
    return this.site.socketPath;
  }

  get isServing(): boolean {
    return this.role === "serving";
  }

  onChange(listener: (role: EmbeddedRole) => void): void {
    this.listeners.push(listener);
  }

  stop(): Promise<void> {
    this.stopping.abort();
    return this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  private async takePart(): Promise<void> {
    this.lostRole();
    try {
      while (!this.stopping.signal.aborted) {
        // Most often there is a broker already, and trying to serve costs a thread.
        if (!(await this.attachUntilGone())) await this.serveUntilEnded();
      }
    } catch (error) {
      this.settleOpened.reject(error);
      throw error;
    } finally {
      this.complaint?.cancel();
      this.role = undefined;
      await this.host.dismiss();
      leave(this.site);
    }
  }

  /** Stays with the broker that answers on the socket. False when none does. */
  private async attachUntilGone(): Promise<boolean> {
    const watch = await watchBroker(this.socketPath, this.stopping.signal);
    if (watch.outcome === "refused") {
      this.lastAnswer = watch.reason;
      return false;
    }
    await this.host.dismiss();
    this.gained("attached");
    await watch.gone;
    this.lostRole();
    return true;
  }

  /** Serves if nobody else does. */
  private async serveUntilEnded(): Promise<void> {
    const { signal } = this.stopping;
    if (signal.aborted) return;
    const serving = await this.tryToServe();
    if (!serving) return;
    const stop = (): void => serving.stop();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    else this.gained("serving");
    const error = await serving.ended;
    signal.removeEventListener("abort", stop);
    this.lostRole();
    if (error && signal.aborted) throw error;
    if (error) await this.pauseAfter(error, "the embedded broker has failed: another one is started");
  }

  private async tryToServe(): ReturnType<BrokerHost["tryToServe"]> {
    try {
      const serving = await this.host.tryToServe();
      if (!serving) await this.pause(inUsePause, this.tries++);
      return serving;
    } catch (error) {
      if (!this.hasOpened) throw error;
      await this.pauseAfter(error as Error, "the embedded broker cannot be started: it is tried again");
      return undefined;
    }
  }

  private gained(role: EmbeddedRole): void {
    this.complaint?.cancel();
    this.tries = 0;
    this.role = role;
    this.log.info({ socketPath: this.socketPath, role }, "embedded broker ready");
    // Apart from this: what a listener throws is its program's to deal with.
    if (this.hasOpened) for (const listener of this.listeners) queueMicrotask(() => listener(role));
    this.hasOpened = true;
    this.settleOpened.resolve();
  }

  private lostRole(): void {
    this.role = undefined;
    this.waitForAnswer();
  }

  private waitForAnswer(): void {
    this.complaint?.cancel();
    this.complaint = this.clock.every(unansweredMs, () => this.complain());
  }

  private complain(): void {
    const { dataDir, socketPath } = this.site;
    if (dataDir === undefined) return;
    const pid = lockHolder(dataDir);
    this.log.error(
      { dataDir, socketPath, pid, lastAnswer: this.lastAnswer },
      `the data directory is held by ${pid === undefined ? "another process" : `process ${pid}`}, whose broker does not answer: ` +
        "it may be stopped, hang, or be reading a long log. Waiting for it to answer or to end",
    );
  }

  private async pauseAfter(error: Error, message: string): Promise<void> {
    this.log.error({ error: error.message, dataDir: this.site.dataDir }, message);
    // It is known what is wrong: nobody else is waited for.
    this.waitForAnswer();
    await this.pause(failurePause, this.failures++);
  }

  /** Longer each time, and never as long as another process that began at the same moment. */
  private async pause({ firstMs, longestMs }: typeof inUsePause, tries: number): Promise<void> {
    const mostMs = Math.min(longestMs, firstMs * 2 ** Math.min(tries, 16));
    const { signal } = this.stopping;
    await pause(mostMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
  }
}

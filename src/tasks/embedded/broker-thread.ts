/**
 * The thread that the embedded broker runs in (INVARIANTS 20), and the one place in `tasks` that knows the broker: everything
 * else speaks AMQP to it. The module is loaded in the program's thread as well, for the types and for tests with a clock; it
 * imports the broker only when it is to serve.
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import type { Clock, Logger } from "../../base/index.ts";
import type { Site } from "./site.ts";

/** A broker that answers. */
export interface Serving {
  /**
   * Resolves when it has ended and the data directory is free for the next: with the reason when it was not stopped, or could not
   * stop in order.
   */
  readonly ended: Promise<Error | undefined>;
  /** Stops it in order. */
  stop(): void;
}

/** Starts a broker; undefined when another one has the data directory. @throws StorageError, Error */
export async function serve(site: Site, logger: Logger, clock?: Clock): Promise<Serving | undefined> {
  const { startBroker } = await import("../../broker/index.ts");
  const failure = Promise.withResolvers<Error>();
  const ended = Promise.withResolvers<Error | undefined>();
  const { dataDir, socketPath } = site;
  try {
    const broker = await startBroker({
      port: false,
      socketPath,
      dataDir,
      // Whatever accounts the directory has: who may open the socket's file may do everything.
      user: "guest",
      password: "guest",
      // Clients on this machine need none, the kernel says when they end; one that is busy for minutes is not cut off.
      heartbeatSeconds: 0,
      // A task may take as long as it takes: its worker is watched by its connection.
      consumerTimeoutMs: Number.POSITIVE_INFINITY,
      logger,
      clock,
      onStorageFailure: failure.resolve,
    });
    const end = (timeoutMs: number | undefined, reason?: Error): void => {
      broker.stop(timeoutMs).then(
        () => ended.resolve(reason),
        (error: Error) => ended.resolve(reason ?? error),
      );
    };
    void failure.promise.then((error) => end(0, error));
    return { ended: ended.promise, stop: () => end(undefined) };
  } catch (error) {
    if ((error as { code?: unknown }).code === "in-use") return undefined;
    throw error;
  }
}

/** What the thread is started with. */
export interface ThreadData {
  readonly embeddedBroker: { readonly site: Site; readonly levels: LogLevels };
}

/** What its owner wants to see of its log. */
export type LogLevels = readonly (keyof Logger)[];

/** What it is told: to serve, if nobody else does; or, while it serves, to stop. */
export type Order = "serve" | "stop";

/** What it says: each order to serve is answered, and the end of serving is told. */
export type Report =
  | { readonly kind: "log"; readonly level: keyof Logger; readonly fields: object; readonly message: string }
  | { readonly kind: "serving" }
  | { readonly kind: "in-use" }
  | { readonly kind: "refused"; readonly error: ToldError }
  | { readonly kind: "ended"; readonly error: ToldError | undefined };

/** Of an error between threads only the message would arrive. */
export interface ToldError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
}

function obey(port: MessagePort, { site, levels }: ThreadData["embeddedBroker"]): void {
  const say = (report: Report): void => port.postMessage(report);
  const logger = loggerTo(say, levels);
  let serving: Serving | undefined;
  port.on("message", (order: Order) => {
    if (order === "stop") serving?.stop();
    else void tryToServe();
  });
  const tryToServe = async (): Promise<void> => {
    try {
      serving = await serve(site, logger);
    } catch (error) {
      return say({ kind: "refused", error: told(error as Error) });
    }
    if (!serving) return say({ kind: "in-use" });
    say({ kind: "serving" });
    const error = await serving.ended;
    say({ kind: "ended", error: error && told(error) });
  };
}

function loggerTo(say: (report: Report) => void, levels: LogLevels): Logger {
  const log =
    (level: keyof Logger) =>
    (fields: object, message: string): void => {
      if (levels.includes(level)) say({ kind: "log", level, fields, message });
    };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

function told({ name, message, stack }: Error): ToldError {
  return { name, message, stack };
}

function isThreadData(data: unknown): data is ThreadData {
  return typeof data === "object" && data !== null && "embeddedBroker" in data;
}

if (parentPort && isThreadData(workerData)) obey(parentPort, workerData.embeddedBroker);

import { Connection } from "rabbitmq-client";

export type Watch =
  /** The broker answers; `gone` resolves when its process, or it alone, has ended, or when the signal is given: with why. */
  | { readonly outcome: "attached"; readonly gone: Promise<string> }
  | { readonly outcome: "refused"; readonly reason: string };

/**
 * Logs in to the broker on a unix socket and stays connected without doing anything. One that has the socket and does not answer
 * is waited for: its end is noticed all the same, since the kernel closes the connection.
 */
export async function watchBroker(socketPath: string, signal: AbortSignal): Promise<Watch> {
  const connection = new Connection({
    socket: { path: socketPath } as never,
    connectionName: "watch",
    connectionTimeout: 0,
    heartbeat: 0,
  });
  const attached = new Promise<"attached">((resolve) =>
    connection.once("connection", () => resolve("attached")),
  );
  const gone = new Promise<string>((resolve) => {
    const end = (reason: string): void => {
      signal.removeEventListener("abort", stop);
      // It would connect again by itself, to whichever broker comes next.
      connection.unsafeDestroy();
      resolve(reason);
    };
    const stop = (): void => end("stopped");
    connection.on("error", (error: Error) => end(error.message));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  });
  const outcome = await Promise.race([attached, gone]);
  return outcome === "attached" ? { outcome, gone } : { outcome: "refused", reason: outcome };
}

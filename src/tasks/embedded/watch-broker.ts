import { Link } from "../../client/index.ts";

export type Watch =
  /** The broker answers; `gone` resolves when its process, or it alone, has ended, or when the signal is given: with why. */
  | { readonly outcome: "attached"; readonly gone: Promise<string> }
  | { readonly outcome: "refused"; readonly reason: string };

/**
 * Logs in to the broker on a unix socket and stays connected without doing anything. One that has the socket and does not answer
 * is waited for: its end is noticed all the same, since the kernel closes the connection.
 */
export async function watchBroker(socketPath: string, signal: AbortSignal): Promise<Watch> {
  let link: Link;
  try {
    link = await Link.open(
      { socketPath },
      {
        username: "guest",
        password: "guest",
        vhost: "/",
        connectionName: "watch",
        heartbeat: 0,
        channelMax: 1,
        connectionTimeoutMs: undefined,
      },
      signal,
    );
  } catch (error) {
    return { outcome: "refused", reason: (error as Error).message };
  }
  const stop = (): void => link.destroy();
  signal.addEventListener("abort", stop);
  const gone = link.ended.then((error) => {
    signal.removeEventListener("abort", stop);
    return error?.message ?? "stopped";
  });
  if (signal.aborted) stop();
  return { outcome: "attached", gone };
}

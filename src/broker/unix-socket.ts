import { once } from "node:events";
import { chmodSync, lstatSync, mkdtempSync, renameSync, rmSync, unlinkSync, type Stats } from "node:fs";
import { connect, type Server } from "node:net";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** The file of a unix socket that is listened on. */
export interface UnixSocketFile {
  /** Removes it, unless another one has taken its place. */
  remove(): void;
}

/**
 * Lets the server listen on a unix socket that only this user can open (mode 0600), from the first moment: the socket is
 * made in a directory of its own that nobody else may enter, gets its mode there, and is then moved to its place. A umask
 * around `listen` would do the same but cannot be set in a worker thread. Moving also replaces what a broker that died has
 * left there in one step.
 *
 * @throws Error when another program answers there, or something that is no socket stands there.
 */
export async function listenOnUnixSocket(
  server: Server,
  path: string,
  backlog: number,
): Promise<UnixSocketFile> {
  let privateDirectory: string | undefined;
  try {
    await assertFree(path);
    // Not join(): that would take the dot away, and make it beside the directory instead.
    privateDirectory = mkdtempSync(`${dirname(path)}/.`);
    const made = join(privateDirectory, madeAs);
    server.listen({ path: made, backlog });
    await once(server, "listening");
    chmodSync(made, 0o600);
    const { ino } = lstatSync(made);
    renameSync(made, path);
    return { remove: () => stateOf(path)?.ino === ino && unlinkSync(path) };
  } catch (error) {
    throw new Error(`Cannot listen on the unix socket ${path}: ${reason(error as NodeJS.ErrnoException)}`, {
      cause: error,
    });
  } finally {
    if (privateDirectory !== undefined) rmSync(privateDirectory, { recursive: true, force: true });
  }
}

/** Its name until it is moved, in a directory called by a dot and six characters. */
const madeAs = "s";
const madeBytes = ".123456/".length + madeAs.length;
/** Of `sun_path`, without the zero at its end. */
const longestPath = process.platform === "linux" ? 107 : 103;

/** @throws RangeError for a path that the kernel does not take. */
export function assertSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  // A name shorter than the one it is made under gains nothing.
  const longest = longestPath - Math.max(0, madeBytes - Buffer.byteLength(basename(path)));
  if (bytes <= longest) return;
  throw new RangeError(
    `socketPath is ${bytes} bytes long; the system allows ${longest} for the path of a unix socket. ` +
      `Choose a shorter one than ${path}`,
  );
}

async function assertFree(path: string): Promise<void> {
  const state = stateOf(path);
  if (!state) return;
  if (!state.isSocket())
    throw new Error("there is a file or directory that is no socket. Choose another path.");
  if (await isAnswered(path))
    throw new Error("another program listens there. Stop it, or choose another path.");
}

function stateOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/**
 * Whether a program takes connections at the socket. Asked for a second: a broker that was killed gives up the lock of its data
 * directory some time before its socket, and who took that over may be here in between.
 */
async function isAnswered(path: string): Promise<boolean> {
  const endMs = performance.now() + 1_000;
  while (await takesConnections(path)) {
    if (performance.now() > endMs) return true;
    await pause(20);
  }
  return false;
}

async function takesConnections(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    await once(socket, "connect");
    return true;
  } catch (error) {
    // Anything else, such as a full backlog or another user's socket, means that somebody is there.
    return !["ECONNREFUSED", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "");
  } finally {
    socket.destroy();
  }
}

function reason(error: NodeJS.ErrnoException): string {
  const hint: Record<string, string> = {
    ENOENT: "there is no such directory. Make it first.",
    ENOTDIR: "what should be its directory is none.",
    EACCES: "this user may not make files there.",
    EROFS: "the file system is read-only.",
  };
  return hint[error.code ?? ""] ?? error.message;
}

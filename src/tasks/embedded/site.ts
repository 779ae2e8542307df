import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";

/** What an embedded broker keeps, and where clients find it. */
export interface Site {
  /** Undefined: it keeps everything in memory. */
  readonly dataDir: string | undefined;
  readonly socketPath: string;
}

/** The same for all processes on the directory, by whatever path they know it. */
export function directorySite(path: string): Site {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const dataDir = realpathSync(path);
  const inside = join(dataDir, "warren.sock");
  const socketPath = isShort(inside) ? inside : join(ownDirectory(), `${hash(dataDir)}.sock`);
  return { dataDir, socketPath };
}

export function memorySite(): Site {
  const directory = mkdtempSync(join(temporary(), "warren-"));
  return { dataDir: undefined, socketPath: join(directory, "warren.sock") };
}

/** Takes away what only this process has used. */
export function leave({ dataDir, socketPath }: Site): void {
  if (dataDir === undefined) rmSync(dirname(socketPath), { recursive: true, force: true });
}

/** The kernel takes 107 bytes on Linux, 103 elsewhere. */
function isShort(path: string): boolean {
  return Buffer.byteLength(path) <= 103;
}

/** Where sockets of this user stand whose data directory has too long a path. */
function ownDirectory(): string {
  const { uid } = userInfo();
  const directory = join(temporary(), `warren-${uid}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Anybody may make files in the temporary directory: somebody else's directory, or a link, is not to be trusted.
  const state = lstatSync(directory);
  if (state.isDirectory() && state.uid === uid && (state.mode & 0o077) === 0) return directory;
  throw new Error(
    `${directory} must be a directory of this user's that nobody else may enter (mode 700), and is not. ` +
      "Remove it, or choose a data directory with a shorter path.",
  );
}

/** Some systems have one with a path too long for a socket. */
function temporary(): string {
  return isShort(join(tmpdir(), "warren-4294967295", `${hash("")}.sock`)) ? tmpdir() : "/tmp";
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

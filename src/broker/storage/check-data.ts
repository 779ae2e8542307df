import { definitionsFile, readDefinitions, type DefinitionsContent } from "./definitions-log.ts";
import type { Disk } from "./disk.ts";
import { readWholeLog } from "./log/recovery.ts";
import { SegmentFiles } from "./log/segment-files.ts";
import { StorageError } from "./storage-error.ts";

/** What a data directory holds, and what is wrong with it. */
export interface DataReport {
  /** Undefined when there are none that can be read. */
  readonly definitions:
    | { readonly entries: number; readonly values: ReadonlyMap<string, string> }
    | undefined;
  readonly segments: readonly SegmentReport[];
  /** Messages that queues still have. */
  readonly messages: number;
  readonly lastCommit: number;
  readonly wasStoppedInOrder: boolean;
  /** What a crash has left, and the next start will cut off: nobody was told that it is safe. */
  readonly leftovers: readonly string[];
  /** Why a broker would not start with this directory. */
  readonly damage: readonly string[];
}

interface SegmentReport {
  readonly file: string;
  /** Its place in the log; 0 for a file that was never used. */
  readonly generation: number;
  readonly isInLog: boolean;
  readonly messages: number;
  readonly usedBytes: number;
}

/**
 * Looks at a data directory without changing it. No broker may have it open.
 * @param queueIds the ids of the queues that the definitions name.
 */
export async function checkData(
  disk: Disk,
  queueIds: (definitions: ReadonlyMap<string, string>) => ReadonlySet<number>,
): Promise<DataReport> {
  const damage: string[] = [];
  const leftovers: string[] = [];
  const definitions = await tell(damage, () => readExisting(disk));
  const files = definitions && (await tell(damage, () => SegmentFiles.open(disk, definitions.nonce)));
  const known = queueIds(definitions?.values ?? new Map());
  const recovery =
    files && (await tell(damage, () => readWholeLog(files, definitions, (id) => known.has(id))));
  if (definitions && definitions.tornBytes > 0)
    leftovers.push(`${definitionsFile}: ${definitions.tornBytes} bytes of an entry`);
  for (const name of files?.unfinished ?? []) leftovers.push(`${name}: a segment that was being made`);
  for (const { file, offset, bytes } of recovery?.state.torn ?? []) {
    leftovers.push(`${file.name}: ${bytes} bytes of a commit at byte ${offset}`);
  }
  const inLog = new Map(recovery?.state.segments.map((segment) => [segment.slot, segment]));
  const blank = (files?.blank ?? []).map((file) => ({ ...file, generation: 0 }));
  const segments = [...(files?.used ?? []), ...blank].map(({ slot, file, generation }) => {
    const segment = inLog.get(slot);
    return {
      file: file.name,
      generation,
      isInLog: segment !== undefined,
      messages: segment?.live ?? 0,
      usedBytes: segment?.chunkEnds.reduce((sum, end) => sum + end, 0) ?? 0,
    };
  });
  await files?.close();
  return {
    definitions: definitions && { entries: definitions.count, values: definitions.values },
    segments,
    messages: recovery?.messages.table.count ?? 0,
    lastCommit: recovery?.state.lastCommit ?? 0,
    wasStoppedInOrder: recovery?.wasClean ?? false,
    leftovers,
    damage,
  };
}

async function readExisting(disk: Disk): Promise<DefinitionsContent> {
  if (!(await disk.list()).includes(definitionsFile)) {
    throw new StorageError(
      `${disk.path} has no ${definitionsFile}: it is not a data directory, or has lost it`,
    );
  }
  const file = await disk.open(definitionsFile);
  try {
    return await readDefinitions(disk, file);
  } finally {
    await file.close();
  }
}

/** Notes an error that is about the data; others are thrown. */
async function tell<T>(damage: string[], read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    damage.push(error.message);
    return undefined;
  }
}

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** An empty data directory that is removed at the end of the test. */
export function dataDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "warren-data-"));
  onTestFinished(() => rmSync(directory, { recursive: true, maxRetries: 5 }));
  return directory;
}

/** Where users and permissions are written down, as named values. */
export interface AccessRecords {
  put(key: string, value: string): void;
  delete(key: string): void;
}

/** The values of one kind, with the rest of their keys: `["user", name]` is of the kind "user". */
export function* recordsOf(
  kind: string,
  stored: ReadonlyMap<string, string>,
): Generator<{ key: string[]; value: unknown }> {
  const start = `["${kind}",`;
  for (const [text, value] of stored) {
    if (!text.startsWith(start)) continue;
    const [, ...key] = JSON.parse(text) as string[];
    yield { key, value: JSON.parse(value) };
  }
}

export function recordKey(...parts: string[]): string {
  return JSON.stringify(parts);
}

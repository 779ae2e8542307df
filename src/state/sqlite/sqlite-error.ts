/** Another connection holds the lock. https://sqlite.org/rescode.html#busy */
export function isBusy(error: unknown): boolean {
  const primaryResultCode = ((error as { errcode?: number }).errcode ?? 0) & 0xff;
  return primaryResultCode === 5;
}

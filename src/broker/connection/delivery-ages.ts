/**
 * How long deliveries have been waiting for an acknowledgement, without a time for each: now and then it is noted how many
 * there have been, and a delivery is at least as old as the first note that counts it.
 */
export class DeliveryAges {
  private readonly notes: { readonly timeMs: number; readonly nextTag: number }[] = [];

  /**
   * Notes that the next delivery at this time will have the tag `nextTag`, and says whether the one that has waited longest,
   * `firstTag`, has waited for longer than `mostMs`.
   */
  isOverdue(nowMs: number, nextTag: number, firstTag: number, mostMs: number): boolean {
    const { notes } = this;
    while (notes.length > 0 && notes[0].nextTag <= firstTag) notes.shift();
    if (firstTag < nextTag && (notes.at(-1)?.nextTag ?? 0) < nextTag) notes.push({ timeMs: nowMs, nextTag });
    return notes.length > 0 && nowMs - notes[0].timeMs >= mostMs;
  }
}

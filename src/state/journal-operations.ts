import type { Operation } from "./operation.ts";
import type { JournalAddition } from "./state-store.ts";

export function append(name: string, after: number, addition: JournalAddition): Operation<boolean> {
  return {
    touches: { journal: name },
    isLasting: true,
    run(rows) {
      if (rows.journalLength(name) !== after) return false;
      rows.addToJournal(name, after, addition);
      return true;
    },
  };
}

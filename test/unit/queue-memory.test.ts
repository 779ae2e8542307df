import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UnackedDeliveries } from "../../src/broker/connection/unacked-deliveries.ts";
import { ReadyMessages } from "../../src/broker/queues/ready-messages.ts";
import { MessageTable } from "../../src/broker/storage/message-table.ts";

describe("ready messages", () => {
  it("leave in the order of their sequences, whatever is taken and put back", () => {
    const step = fc.oneof(fc.constant("push"), fc.constant("take"), fc.nat(50));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const ready = new ReadyMessages();
        let waiting: number[] = [];
        const taken: number[] = [];
        let sequence = 0;
        for (const what of steps) {
          if (what === "push") {
            sequence++;
            ready.push(sequence * 10, 0, sequence, timeOf(sequence));
            waiting.push(sequence);
          } else if (what === "take" && waiting.length > 0) {
            ready.shift();
            expect(ready.sequence).toBe(waiting.shift());
            expect(ready.handle).toBe(ready.sequence * 10);
            expect(ready.timeMs).toBe(timeOf(ready.sequence));
            taken.push(ready.sequence);
          } else if (typeof what === "number" && taken.length > 0) {
            const [back] = taken.splice(what % taken.length, 1);
            ready.putBack(back * 10, 1, back, timeOf(back));
            waiting = [...waiting, back].toSorted((a, b) => a - b);
          }
          expect(ready.count).toBe(waiting.length);
          expect(ready.headTimeMs()).toBe(waiting.length > 0 ? timeOf(waiting[0]) : 0);
        }
      }),
    );
  });
});

describe("unacknowledged deliveries", () => {
  it("are found by tag, singly and up to a tag, like in a map", () => {
    const step = fc.tuple(fc.constantFrom("push", "skip", "one", "upTo"), fc.nat(300));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
        const unacked = new UnackedDeliveries();
        const model = new Map<number, number>();
        const holder = { queue: null as never, settled() {}, acknowledged() {} };
        let tag = 1;
        for (const [what, number] of steps) {
          const got: number[] = [];
          const visit = (_holder: unknown, handle: number, flags: number, sequence: number): void => {
            expect([flags, sequence]).toEqual([handle % 2, handle * 3]);
            got.push(handle);
          };
          if (what === "push") {
            unacked.push(tag, holder, tag + 7, (tag + 7) % 2, (tag + 7) * 3);
            model.set(tag, tag + 7);
            tag++;
          } else if (what === "skip") {
            tag += number;
          } else if (what === "one") {
            const wanted = Math.max(1, tag - number);
            const expected = model.get(wanted);
            model.delete(wanted);
            expect(unacked.takeOne(wanted, visit)).toBe(expected !== undefined);
            expect(got).toEqual(expected === undefined ? [] : [expected]);
          } else {
            const expected = [...model].filter(([one]) => one <= tag - number);
            for (const [one] of expected) model.delete(one);
            unacked.takeUpTo(tag - number, visit);
            expect(got).toEqual(expected.map(([, handle]) => handle));
          }
          expect(unacked.count).toBe(model.size);
        }
      }),
    );
  });
});

describe("message table", () => {
  it("gives a handle again only when its last reference is gone", () => {
    const table = new MessageTable();
    const first = table.add(1, 2, 2);
    const second = table.add(4, 5, 1);
    expect(table.release(first)).toBe(false);
    expect(table.release(first)).toBe(true);
    const third = table.add(7, 8, 1);
    expect(third).toBe(first);
    expect([table.slab(second), table.offset(second)]).toEqual([4, 5]);
    expect(table.count).toBe(2);
  });
});

/** A third of the messages expires, but none of the first few. */
function timeOf(sequence: number): number {
  return sequence > 5 && sequence % 3 === 0 ? sequence * 100 : 0;
}
